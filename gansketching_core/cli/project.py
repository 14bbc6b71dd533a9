import math
from argparse import ArgumentParser
from pathlib import Path

import torch
from einops import rearrange

from ..datasets import ImageSet
from ..images import grid, save_png
from ..inversion.image import ProjectConfig, Projector
from ..latents.latent_files import save_latents
from .arguments import add_model, load_generator
from .flags import parse
from .progress import run_search


def project(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the latents from which a model makes images like the given photos. Use --space z (the default) with an
    original model to see a photo through its customised versions: gansketching animate or sample --latents."""
    add = parser.add_argument
    add("photos", nargs="+", type=Path, help="files, folders or zips")
    add("--output", type=Path, default=Path("output/projected"), metavar="DIR", help="folder of results")
    add("--mask", type=Path, metavar="FILE", help="only what is white in this picture counts")
    add_model(parser)
    args, config = parse(parser, argv, ProjectConfig, "projection")

    model = load_generator(args.model, args.base, args.device)
    size = model.config.resolution
    image_sets = [ImageSet(path, size) for path in args.photos]
    targets = torch.cat([images.batch(range(len(images))) for images in image_sets]).to(model.w_mean)
    mask = (ImageSet(args.mask, size).batch([0])[:, :1] + 1) / 2 if args.mask else None
    search = Projector(model, targets, config, mask=mask, label=args.label)
    run_search(search)

    result = search.result()
    save_latents(result.latents, args.output / "latents.safetensors")
    pairs = rearrange([targets, result.images], "pair n c h w -> (n pair) c h w")
    save_png(grid(pairs, 2 * math.ceil(math.sqrt(len(targets)))), args.output / "projected.png")
    names = [Path(name).stem for images in image_sets for name in images.names]
    for name, decibels in zip(names, result.psnr.tolist()):
        print(f"{name}: PSNR {decibels:.1f} dB")
    print(f"{args.output}/latents.safetensors\n{args.output}/projected.png (photo and reconstruction in turn)")
