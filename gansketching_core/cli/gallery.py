from argparse import ArgumentParser
from pathlib import Path

from ..gallery.gallery import GalleryConfig, write_gallery
from ..latents.latent_files import load_directions
from .arguments import MODEL_HELP, add_base, load_generator, load_original
from .flags import parse
from .progress import batch_bar


def gallery(parser: ArgumentParser, argv: list[str]) -> None:
    """Write a web page that shows a model: one folder, whose index.html opens by a double click, without a server. Its
    sliders move truncation, the main directions of variation and, of a customised model, the sketch strength."""
    add = parser.add_argument
    add("model", nargs="?", default="fruit", help=f"{MODEL_HELP}, or a customised one")
    add("--output", type=Path, default=Path("page"), metavar="DIR", help="folder to write")
    add("--load", type=Path, metavar="FILE", help="directions fitted before, or a GANSpace .npz (default: fitted now)")
    add_base(parser)
    args, config = parse(parser, argv, GalleryConfig, "page")

    model = load_generator(args.model, args.base, args.device)
    original = load_original(args.model, args.base, args.device)
    directions = load_directions(args.load) if args.load else None
    options = {"original": original, "directions": directions, "label": args.label}
    with batch_bar(0, "image") as on_batch:
        page = write_gallery(model, args.output, config, **options, on_batch=on_batch)
    how = "computed by the page" if page.live else "stored in the folder"
    print(f"{page.index} ({page.size / 1e6:.1f} MB, images {how}): open it in a browser")
