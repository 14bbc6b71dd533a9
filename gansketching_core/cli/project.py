"""The command `project`: find the latents of photos."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import torch

from ..datasets import ImageSet
from ..images import grid, save_png
from ..inversion.image import ProjectConfig, Projector
from ..latents.latent_files import save_latents
from .arguments import add_model, device_of, load_generator
from .film import square_columns
from .flags import add_flags, build, read_flags
from .progress import run_search


def project(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the latents from which a model makes images like the given photos. Use --space z (the default) with an
    original model to see a photo through its customised versions: gansketching animate or sample --latents."""
    parser.add_argument("photos", nargs="+", type=Path, help="files, folders or zips")
    parser.add_argument("--output", type=Path, default=Path("output/projected"), metavar="DIR")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="only what is white in this picture counts")
    add_model(parser)
    add_flags(parser, ProjectConfig, "projection")
    args = parser.parse_args(argv)

    config = build(ProjectConfig, **read_flags(args, ProjectConfig))
    model = load_generator(args.model, args.base, device_of(args))
    size = model.config.resolution
    sets = [ImageSet(path, size) for path in args.photos]
    targets = torch.cat([photos.batch(range(len(photos))) for photos in sets]).to(model.w_mean)
    names = [Path(name).stem for photos in sets for name in photos.names]
    mask = None if args.mask is None else (ImageSet(args.mask, size).batch([0])[:, :1] + 1) / 2
    search = Projector(model, targets, config, mask=mask, label=args.label)
    run_search(search, lambda report: f"loss {report.loss:.3f}, PSNR {report.psnr:.1f} dB")

    found = search.result()
    save_latents(found.latents, args.output / "latents.safetensors")
    pairs = torch.stack([targets, found.images], dim=1).flatten(0, 1)
    save_png(grid(pairs, 2 * square_columns(len(names))), args.output / "projected.png")
    for name, decibels in zip(names, found.psnr.tolist()):
        print(f"{name}: PSNR {decibels:.1f} dB")
    print(f"{args.output}/latents.safetensors\n{args.output}/projected.png (photo and reconstruction in turn)")
