from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import torch

from ..checkpoints.load import load_photosketch
from ..checkpoints.native import save_model, save_photosketch
from ..checkpoints.summary import kind_of
from .arguments import load_generator
from .pack import find_file


def convert(parser: ArgumentParser, argv: list[str]) -> None:
    """Write a model file of any supported format as .safetensors, which loads faster and carries no code."""
    parser.add_argument("source", help="model file")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--base", metavar="MODEL", help="for a customised model: the one it was made from")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    args = parser.parse_args(argv)

    if args.target.suffix != ".safetensors":
        raise ValueError(f"{args.target}: models are written as .safetensors")
    dtype = getattr(torch, args.dtype)
    path = find_file(args.source, "weights", ".safetensors")
    if kind_of(path) == "photosketch":
        save_photosketch(load_photosketch(path), args.target, dtype=dtype)
    else:
        model = load_generator(args.source, args.base, torch.device("cpu"))
        save_model(model, args.target, dtype=dtype)
    print(f"{args.target} ({args.target.stat().st_size / 1e6:.1f} MB)")
