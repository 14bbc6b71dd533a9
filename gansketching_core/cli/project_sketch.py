from argparse import ArgumentParser
from pathlib import Path

import torch

from ..images import grid, save_png
from ..inversion.sketch import SketchSearch, SketchSearchConfig
from ..latents.latent_files import save_latents
from ..sketches.prepare import SketchConfig
from .arguments import SKETCHER_HELP, add_model, load_generator, load_sketches
from .flags import add_flags, build, parse, read_flags
from .progress import run_search


def project_sketch(parser: ArgumentParser, argv: list[str]) -> None:
    """Find images of a model, original or customised, whose line drawing looks like a sketch. No training."""
    add = parser.add_argument
    add("sketches", nargs="+", type=Path, help="sketches: files, folders or zips")
    add("--sketcher", default="sketcher", help=SKETCHER_HELP)
    add("--output", type=Path, default=Path("output/from_sketch"), metavar="DIR", help="folder of results")
    add_model(parser)
    add_flags(parser, SketchSearchConfig, "search")
    args, sketch_config = parse(parser, argv, SketchConfig, "preparation of the sketches")

    config = build(SketchSearchConfig, **read_flags(args, SketchSearchConfig))
    model = load_generator(args.model, args.base, args.device)
    sketcher, sketches = load_sketches(args, model, sketch_config, args.label)
    search = SketchSearch(model, sketches, sketcher, config, label=args.label)
    run_search(search)

    result = search.result()
    save_latents(result.latents, args.output / "latents.safetensors")
    for index, image in enumerate(result.images):
        save_png(image, args.output / f"{index:05}.png")
    drawings = result.drawings.expand(-1, 3, -1, -1)
    save_png(grid(torch.cat([result.images, drawings]), len(drawings)), args.output / "sheet.png")
    nearest, farthest = float(result.distance.min()), float(result.distance.max())
    print(f"distance of the lines: {nearest:.3f} to {farthest:.3f} of the image side")
    print(f"{args.output} ({len(drawings)} images, sheet.png, latents.safetensors)")
