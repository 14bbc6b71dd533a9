"""Damaged copies of a file's bytes, for tests that feed readers with broken files. The seed decides the damage."""

import random

_LENGTHS = (0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def mutated(data: bytes, seed: int) -> bytes:
    """One to four random changes to `data`; the same seed gives the same bytes, which always differ from `data`."""
    rng = random.Random(seed)
    result = data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        result = rng.choice(_CHANGES)(result, rng)
    return result if result != data else data[:-1]


def _position(data: bytes, rng: random.Random) -> int:
    """An offset into `data`; every second one is near an end, where headers, tables and end marks are."""
    end = max(len(data) - 1, 0)
    near = min(rng.randrange(256), end)
    return rng.choice((rng.randint(0, end), rng.randint(0, end), near, end - near))


def _range(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = _position(data, rng)
    longest = rng.choice((1, 4, 32, 512, len(data)))
    return start, start + rng.randint(1, max(longest, 1))


def _flip_bit(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    changed[_position(changed, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _replace_bytes(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + rng.randbytes(len(data[start:end])) + data[end:]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: _position(data, rng)]


def _delete(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:start] + data[end:]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    start, end = _range(data, rng)
    return data[:end] + data[start:]


def _change_length(data: bytes, rng: random.Random) -> bytes:
    """Overwrite 1, 2, 4 or 8 bytes, where a length or an offset may stand, with a number that is an edge case."""
    start = _position(data, rng)
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(_LENGTHS) % 256**size
    return data[:start] + number.to_bytes(size, rng.choice(("little", "big"))) + data[start + size :]


_CHANGES = (_flip_bit, _replace_bytes, _truncate, _delete, _duplicate, _change_length)
