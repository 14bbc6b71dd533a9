"""The command `directions`: find what a model can vary (GANSpace)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from ..images import grid, save_png
from ..latents import ganspace
from ..latents.ganspace import Directions, fit_directions
from ..latents.latent_files import load_directions, save_directions
from ..latents.sampling import sample_z
from ..networks.stylegan2 import GanModel
from .arguments import add_model, device_of, load_generator
from .progress import with_bar


def directions(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the main directions in which a model's images vary (GANSpace), and show what each one does."""
    add_model(parser)
    parser.add_argument("--load", type=Path, metavar="FILE", help="directions fitted before, or a GANSpace .npz")
    parser.add_argument("--components", type=int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--samples", type=int, default=100_000, metavar="N", help="to fit on (default: 100000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which image the sheet shows (default: 0)")
    parser.add_argument("--rows", type=int, default=10, metavar="N", help="directions on the sheet (default: 10)")
    parser.add_argument("--reach", type=float, default=2.0, metavar="X", help="standard deviations (default: 2)")
    parser.add_argument("--truncation", type=float, default=1.0, metavar="X", help="of the image (default: 1)")
    _add_layers(parser)
    parser.add_argument("--output", type=Path, default=Path("directions.safetensors"), metavar="FILE")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="the picture (default: OUTPUT.png)")
    args = parser.parse_args(argv)

    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: directions are written as .safetensors")
    model = load_generator(args.model, args.base, device_of(args))
    found = _directions(model, args)
    z = sample_z(model, 1, args.seed, args.label)
    rows, strengths = min(args.rows, len(found)), tuple(torch.linspace(-args.reach, args.reach, 5).tolist())
    options = {"components": rows, "strengths": strengths, "psi": args.truncation}
    options |= {"first": args.first_layer, "last": args.last_layer}
    sheet = with_bar(5 * rows, "image", lambda on_batch: ganspace.sheet(model, z, found, **options, on_batch=on_batch))
    save_directions(found, args.output)
    picture = args.sheet or args.output.with_suffix(".png")
    save_png(grid(sheet, 5), picture)
    print(f"{args.output} ({len(found)} directions)\n{picture} (a row for each of the first {rows}, from 0)")


def _add_layers(parser: ArgumentParser) -> None:
    parser.add_argument("--first-layer", type=int, default=0, metavar="N", help="first layer to change (default: 0)")
    parser.add_argument("--last-layer", type=int, metavar="N", help="last layer to change (default: the model's last)")


def _directions(model: GanModel, args: Namespace) -> Directions:
    """Those of --load, else new ones."""
    if args.load is not None:
        return load_directions(args.load)
    count = min(args.components, model.config.w_dim)
    fit = {"components": count, "samples": args.samples}
    return with_bar(args.samples, "sample", lambda on_batch: fit_directions(model, **fit, on_batch=on_batch))
