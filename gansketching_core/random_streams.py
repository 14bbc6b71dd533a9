"""Named random streams that depend on nothing but a seed, a purpose and a position: what makes resuming exact."""

from __future__ import annotations

import hashlib

import torch

# Purpose -> the number that sets its streams apart from others of the same seed and position. Purposes that never meet
# in one run may share one (None: the seed and position alone). A changed number changes results: bump
# `finetune_run.REVISION` with it.
PURPOSES: dict[str, int | None] = {
    "latents": None,  # z of sample i
    "noise": 1,  # noise maps of sample i
    "pca": None,  # z of a chunk of samples
    "fitted noise": 1,
    "latent jitter": 2,  # of descent step k
    "phase": None,  # of fine-tuning: (step, number of the phase in it)
    "shared images": 1000,  # of a fine-tuning step: those that all networks see
    "generator's images": 1001,  # of a fine-tuning step: a batch of the generator's own
    "pretraining": None,  # of step k
    "sketcher training": None,  # of step k
    "photo placement": None,
    "study drawings": 2001,
    "study held-out photos": 2002,
    "study training photos": 2003,
    "study regularisation": 2004,
}


def stream(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A torch.Generator on the CPU for one purpose at one position of a run.

    Args:
        seed: the run's seed.
        purpose: a name of PURPOSES.
        position: where in the run, such as the step or the number of the sample.
    """
    number = PURPOSES[purpose]
    suffix = () if number is None else (number,)
    digest = hashlib.sha256(repr((int(seed), *map(int, position), *suffix)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
