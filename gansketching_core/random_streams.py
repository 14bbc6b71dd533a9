"""Named streams of random numbers, which depend only on a seed, a purpose and a position: they make resuming exact."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

# Purpose -> the number that distinguishes its streams from others of the same seed and position. Purposes that never
# meet in one run may share one (None: the seed and position alone). Bump `finetune_run.REVISION` when a number of
# fine-tuning changes.
PURPOSES: dict[str, int | None] = {
    "latents": None,  # z of sample i
    "noise": 1,  # noise maps of sample i
    "pca": None,  # z of a chunk of samples
    "fitted noise": 1,
    "latent jitter": 2,  # of step k of an inversion
    "phase": None,  # of fine-tuning: (step, number of the phase in it)
    "shared images": 1000,  # of a fine-tuning step: the batch for all networks
    "generator's images": 1001,  # of a fine-tuning step: a batch for the generator alone
    "pretraining": None,  # of step k
    "codes": 4,  # z of the warm-up of a pretraining
    "sketcher training": None,  # of step k
    "photo placement": None,
    "bridge": 3,  # pairs of a step of the training of a bridge's network
    "study drawings": 2001,
    "study held-out photos": 2002,
    "study training photos": 2003,
    "study regularisation": 2004,
    "study kinds network": 2005,  # of a step of its training
    "study accuracy of kinds": 2006,
}


@dataclass(frozen=True)
class Part:
    """One of `count` equal parts of a batch.

    A network may compare the samples of a group with each other: samples i, i + B / group, i + 2 B / group ... of B. A
    part is made of whole groups.
    """

    index: int = 0
    count: int = 1
    group: int = 1

    def of(self, values: Tensor, axis: int = 0) -> Tensor:
        """The part's samples along an axis of the whole batch."""
        if self.count == 1:
            return values
        size = values.shape[axis] // self.count
        rows = math.gcd(self.group, size) if self.group > 1 else size
        return values.unflatten(axis, (rows, self.count, -1)).select(axis + 1, self.index).flatten(axis, axis + 1)


class PartStream(torch.Generator):
    """A random stream for a part of a batch; `random_samples` gives the part what it gives the whole batch."""

    part = Part()


def stream(seed: int, purpose: str, *position: int, part: Part | None = None) -> torch.Generator:
    """A torch.Generator on the CPU for one of PURPOSES at one position of a run, such as a step or a sample.

    part: the part of the batch it is for, see `random_samples`.
    """
    number = PURPOSES[purpose]
    suffix = () if number is None else (number,)
    digest = hashlib.sha256(repr((int(seed), *map(int, position), *suffix)).encode()).digest()
    generator = torch.Generator()
    if part is not None:
        generator = PartStream()
        generator.part = part
    return generator.manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def part_of(rng: torch.Generator) -> Part:
    """The part of a batch that a stream is for: the whole of it, unless it is a PartStream."""
    return rng.part if isinstance(rng, PartStream) else Part()


def random_samples(
    function: Callable[..., Tensor], shape: Sequence[int], rng: torch.Generator, *, axis: int = 0
) -> Tensor:
    """function(shape, generator=rng), such as torch.randn, in which samples of a batch lie along `axis`.

    The numbers of a sample depend on its place in the whole batch, not on the parts that the batch is computed in.
    """
    part = part_of(rng)
    whole = [size * part.count if number == axis else size for number, size in enumerate(shape)]
    return part.of(function(tuple(whole), generator=rng), axis)


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Networks made on the CPU in this context get initial weights from `seed`; no global generator changes."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        yield
