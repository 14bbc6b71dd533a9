import math
from argparse import ArgumentParser, Namespace
from pathlib import Path

from torch import Tensor

from ..images import grid, save_png
from ..latents.latent_files import load_latents
from ..latents.sampling import SampleConfig, render, sample_z
from .arguments import MODEL_HELP, add_base, load_generator
from .flags import parse
from .processes import join
from .progress import batch_bar


def sample(parser: ArgumentParser, argv: list[str]) -> None:
    """Generate images. Sample i depends on the seed and i alone: models with a common base can be compared image by
    image, and a larger count only adds images."""
    add = parser.add_argument
    add("model", nargs="?", default="fruit", help=f"{MODEL_HELP}, or a customised one")
    add("--count", type=int, default=16, metavar="N", help="how many images")
    add("--seed", type=int, default=0, metavar="N", help="which images")
    add("--latents", type=Path, metavar="FILE", help="saved latents, instead of random ones")
    add("--batch", type=int, default=8, metavar="N", help="images at a time")
    add("--output", type=Path, metavar="DIR", help="one PNG for each image (default: output/samples)")
    add("--grid", type=Path, metavar="FILE", help="all images in one PNG; alone, only that is written")
    add_base(parser)
    args, config = parse(parser, argv, SampleConfig, "images")

    team, device = join(args.device)
    model = load_generator(args.model, args.base, device)
    z = load_latents(args.latents) if args.latents else sample_z(model, args.count, args.seed, args.label)
    with batch_bar(len(z), "image", shown=team.writes) as on_batch:
        images = render(model, z, config, seed=args.seed, batch=args.batch, on_batch=on_batch, share=team.map)
    team.first(lambda: _save(images, args))


def _save(images: Tensor, args: Namespace) -> None:
    folder = args.output or (None if args.grid else Path("output/samples"))
    if folder is not None:
        stem = Path(args.model).stem
        for index, image in enumerate(images):
            save_png(image, folder / f"{stem}_seed{args.seed}_{index:05}.png")
        print(f"{folder} ({len(images)} images)")
    if args.grid is not None:
        save_png(grid(images, math.ceil(math.sqrt(len(images)))), args.grid)
        print(args.grid)
