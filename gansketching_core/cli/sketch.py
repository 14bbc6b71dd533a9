import re
from argparse import ArgumentParser
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..datasets import image_names, load_images
from ..images import from_comfy, save_png
from .arguments import SKETCHER_HELP, add_device, load_sketcher


def sketch(parser: ArgumentParser, argv: list[str]) -> None:
    """Turn photos into line drawings with the network that fine-tuning uses."""
    parser.add_argument("photos", nargs="+", type=Path, help="files, folders or zips")
    parser.add_argument("--sketcher", default="sketcher", help=SKETCHER_HELP)
    parser.add_argument("--size", type=int, default=256, metavar="N", help="longer side in pixels")
    parser.add_argument("--output", type=Path, default="output/sketches", metavar="DIR", help="folder of results")
    add_device(parser)
    args = parser.parse_args(argv)

    if not 32 <= args.size <= 2048:
        raise ValueError(f"--size {args.size} is out of range: use 32 to 2048")
    network = load_sketcher(args.sketcher, args.device)
    photos = [(path, name) for path in args.photos for name in image_names(path)]
    written: set[Path] = set()
    for path, name in tqdm(photos, desc="sketch", unit="image", dynamic_ncols=True):
        (photo,) = load_images(path, [name])
        with torch.no_grad():
            drawing = network(_scaled(photo, args.size).to(args.device))
        target = _new_name(args.output, name, written)
        save_png(drawing, target)
        written.add(target)
    print(f"{args.output} ({len(written)} drawings)")


def _new_name(folder: Path, name: str, taken: set[Path]) -> Path:
    """A free path in `folder` named after a photo, subfolders included. Names in a zip cannot lead outside."""
    parts = [part for part in re.split(r"[/\\:]", name) if part not in ("", ".", "..")]
    stem = folder.joinpath(*parts[:-1], Path(parts[-1]).stem)
    path = stem.with_name(f"{stem.name}.png")
    number = 2
    while path in taken:
        path = stem.with_name(f"{stem.name}_{number}.png")
        number += 1
    return path


def _scaled(photo: Tensor, size: int) -> Tensor:
    """[H,W,C] in 0..1 -> [1,3,h,w] in -1..1: longer side `size`, both sides multiples of 4 and at least 32."""
    x = from_comfy(photo[None])
    factor = size / max(x.shape[2:])
    sides = [max(32, round(side * factor / 4) * 4) for side in x.shape[2:]]
    return F.interpolate(x, sides, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
