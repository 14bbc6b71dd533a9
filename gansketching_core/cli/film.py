"""Films: the flags of commands that write one, and animated pictures."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..files import atomic_write
from ..images import to_comfy

FORMATS = {".webp": {"quality": 90, "method": 4}, ".gif": {}, ".png": {}}  # suffix -> options of Pillow's writer
SMALLEST_SIDE = 256  # of a film by default: smaller ones are enlarged to it


def add_film(parser: ArgumentParser, frames: int, output: str) -> None:
    """--frames, --fps, --size and --output with these defaults."""
    add = parser.add_argument
    add("--frames", type=int, default=frames, metavar="N", help="frames of a film")
    add("--fps", type=float, default=24.0, metavar="X", help="frames a second")
    add("--size", type=int, metavar="N", help="longer side of a film in pixels (default: at least 256)")
    add("--output", type=Path, default=Path(output), metavar="FILE", help=", ".join(FORMATS))


def check_film(args: Namespace, other_suffix: str = "") -> None:
    """Raises ValueError if a flag of add_film is out of range. --output may also have the other suffix."""
    suffix = args.output.suffix
    if suffix not in FORMATS and suffix != other_suffix:
        raise ValueError(f"--output {args.output}: films are written as {', '.join(FORMATS)}")
    if args.frames < 2 or not 0 < args.fps <= 1000 or (args.size is not None and not 16 <= args.size <= 4096):
        raise ValueError("a film needs --frames 2 or more, --fps above 0 up to 1000, and --size 16 to 4096")


def save_film(frames: Tensor, args: Namespace) -> None:
    """Writes frames [B,3,h,w] in -1..1 to args.output, as an animated picture that repeats."""
    height, width = frames.shape[2:]
    longer = max(height, width)
    scale = (args.size or max(SMALLEST_SIDE, longer)) / longer
    size = (round(width * scale), round(height * scale))
    pictures = []
    for frame in to_comfy(frames):
        picture = Image.fromarray((frame * 255).round().byte().numpy())
        pictures.append(picture.resize(size, Image.Resampling.BICUBIC))
    options = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / args.fps), "loop": 0}
    suffix = args.output.suffix
    file_format = suffix.removeprefix(".")
    atomic_write(args.output, lambda path: pictures[0].save(path, file_format, **options, **FORMATS[suffix]))
