"""Memory of a fine-tuning: how much it needs, how much is free, and gradient checkpointing for less."""

import math
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import GanConfig

MEMINFO = Path("/proc/meminfo")
SHARE = 0.8  # of the free memory that a training may plan with: libraries take some, and memory is fragmented
# Live tensors per image, as multiples of the activations of one convolution at each resolution (docs/performance.md).
GENERATOR, R1, PHOTOSKETCH = 7, 8, 20
NETWORKS = 9  # copies of a discriminator's weights: gradients, Adam, two discriminators, the generator


def use_gradient_checkpointing(*networks: nn.Module) -> None:
    """From now on the larger parts of the networks keep their inputs alone for the backward pass, which computes their
    activations again: the same numbers from less memory, in more time (Chen et al. 2016, arXiv 1604.06174)."""
    for network in networks:
        for module in network.modules():
            if getattr(module, "can_be_recomputed", False):
                module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)


def needed_bytes(
    gan: GanConfig, photosketch: nn.Module, images: int, *, bfloat16: bool = False, sketch_scale: float = 1.0
) -> int:
    """About how much memory a fine-tuning step of `images` at a time takes, without gradient checkpointing."""
    sides = [4 * 2**k for k in range(gan.block_count)]
    activations = (GENERATOR + R1) * sum(c * side**2 for c, side in zip(gan.channels, sides))
    if isinstance(photosketch, PhotoSketch):
        activations += PHOTOSKETCH * photosketch.width * round(gan.resolution * sketch_scale) ** 2
    weights = NETWORKS * sum(9 * (a * a + a * b) for a, b in zip(gan.channels, gan.channels[1:]))
    return round(images * activations * (4 * 0.65 if bfloat16 else 4) + 4 * weights)


def free_bytes(device: torch.device) -> float:
    """Memory that `device` has free for tensors; infinity where it is unknown."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if device.type == "cpu" and MEMINFO.is_file():
        fields = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        return int(fields["MemAvailable"].removesuffix("kB")) * 1024
    return math.inf
