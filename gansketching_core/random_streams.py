"""Named streams of random numbers, which depend only on a seed, a purpose and a position: they make resuming exact."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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
    "sketcher training": None,  # of step k
    "photo placement": None,
    "study drawings": 2001,
    "study held-out photos": 2002,
    "study training photos": 2003,
    "study regularisation": 2004,
}


def stream(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A torch.Generator on the CPU for one of PURPOSES at one position of a run, such as a step or a sample."""
    number = PURPOSES[purpose]
    suffix = () if number is None else (number,)
    digest = hashlib.sha256(repr((int(seed), *map(int, position), *suffix)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Networks made on the CPU in this context get initial weights from `seed`; no global generator changes."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
        yield
