from argparse import ArgumentParser

from ..checkpoints.describe import describe
from .pack import find_file


def info(parser: ArgumentParser, argv: list[str]) -> None:
    """Describe model files: kind, resolution, channels, base model, training settings, licence."""
    parser.add_argument("files", nargs="+", help="model files, or names of bundled ones")
    args = parser.parse_args(argv)
    for name in args.files:
        path = find_file(name, "weights", ".safetensors")
        about = describe(path)
        width = max(map(len, about))
        print(path)
        for key, value in about.items():
            print(f"  {key:<{width}}  {value}")
