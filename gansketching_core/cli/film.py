"""Films: the flags of commands that write one, and animated pictures."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..files import atomic_write
from ..images import to_comfy

FILMS = {".webp": {"quality": 90, "method": 4}, ".gif": {}, ".png": {}}


def add_film(parser: ArgumentParser, frames: int, output: str) -> None:
    parser.add_argument("--frames", type=int, default=frames, metavar="N", help=f"frames of a film (default: {frames})")
    parser.add_argument("--fps", type=float, default=24.0, metavar="X", help="frames a second (default: 24)")
    parser.add_argument("--size", type=int, metavar="N", help="longer side of a film in pixels (default: at least 256)")
    parser.add_argument(
        "--output", type=Path, default=Path(output), metavar="FILE", help=f"{', '.join(FILMS)} (default: {output})"
    )


def save_film(frames: Tensor, path: Path, fps: float, size: int | None) -> None:
    """[B,3,h,w] in -1..1 as an animated picture that repeats. size: of the longer side, by default 256 or more."""
    longer = max(frames.shape[2:])
    sides = [round(side * (size or max(256, longer)) / longer) for side in frames.shape[2:]]
    pictures = []
    for part in frames.split(16):
        scaled = F.interpolate(part.float(), sides, mode="bicubic", antialias=True, align_corners=False)
        pictures += [Image.fromarray((frame * 255).round().byte().numpy()) for frame in to_comfy(scaled)]
    options = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / fps), "loop": 0}
    kind = path.suffix.removeprefix(".")
    atomic_write(path, lambda partial: pictures[0].save(partial, kind, **options, **FILMS[path.suffix]))


def check_film(args: Namespace, also: str = "") -> None:
    suffix = args.output.suffix
    if suffix not in FILMS and suffix != also:
        raise ValueError(f"--output {args.output}: films are written as {', '.join(FILMS)}")
    if args.frames < 2 or not 0 < args.fps <= 1000 or (args.size is not None and not 16 <= args.size <= 4096):
        raise ValueError("a film needs --frames 2 or more, --fps above 0 up to 1000, and --size 16 to 4096")


def square_columns(count: int) -> int:
    """Columns of an about square grid."""
    return round(count**0.5 + 0.499)
