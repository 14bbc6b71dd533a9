from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from ..images import grid, save_png
from ..latents.ganspace import Directions, fit_directions, sheet
from ..latents.latent_files import load_directions, save_directions
from ..latents.sampling import sample_z
from ..networks.stylegan2 import GanModel
from .arguments import add_model, load_generator
from .progress import batch_bar

COLUMNS = 5  # of the sheet: strengths from -reach to +reach


def directions(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the main directions in which a model's images vary (GANSpace), and show what each one does."""
    add_model(parser)
    add_directions(parser, reach=2.0)
    add = parser.add_argument
    add("--components", type=int, default=20, metavar="N", help="how many")
    add("--seed", type=int, default=0, metavar="N", help="which image the sheet shows")
    add("--rows", type=int, default=10, metavar="N", help="directions on the sheet")
    add("--truncation", type=float, default=1.0, metavar="X", help="of the image")
    add("--output", type=Path, default=Path("directions.safetensors"), metavar="FILE", help="file to write")
    add("--sheet", type=Path, metavar="FILE", help="the picture (default: OUTPUT.png)")
    args = parser.parse_args(argv)

    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: directions are written as .safetensors")
    model = load_generator(args.model, args.base, args.device)
    z = sample_z(model, 1, args.seed, args.label)
    fitted = load_or_fit(model, min(args.components, model.config.w_dim), args)
    rows = min(args.rows, len(fitted))
    with batch_bar(COLUMNS * rows, "image") as on_batch:
        strengths = tuple(torch.linspace(-args.reach, args.reach, COLUMNS).tolist())
        options = {"components": rows, "strengths": strengths, "first": args.first_layer, "last": args.last_layer}
        images = sheet(model, z, fitted, **options, psi=args.truncation, on_batch=on_batch)
    save_directions(fitted, args.output)
    picture = args.sheet or args.output.with_suffix(".png")
    save_png(grid(images, COLUMNS), picture)
    print(f"{args.output} ({len(fitted)} directions)\n{picture} (a row for each of the first {rows}, from 0)")


def add_directions(parser: ArgumentParser, reach: float) -> None:
    """The flags of commands that use directions."""
    add = parser.add_argument
    add("--load", type=Path, metavar="FILE", help="directions fitted before, or a GANSpace .npz")
    add("--samples", type=int, default=100_000, metavar="N", help="to fit on")
    add("--reach", type=float, default=reach, metavar="X", help="largest strength, in standard deviations")
    add("--first-layer", type=int, default=0, metavar="N", help="first layer to change")
    add("--last-layer", type=int, metavar="N", help="last layer to change (default: the model's last)")


def load_or_fit(model: GanModel, components: int, args: Namespace) -> Directions:
    """The directions of --load, or new ones."""
    if args.load is not None:
        return load_directions(args.load)
    with batch_bar(args.samples, "sample") as on_batch:
        return fit_directions(model, components=components, samples=args.samples, on_batch=on_batch)
