"""The command `pretrain-sketcher`: train a small photo-to-sketch network."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path

from ..training.sketcher import SketcherConfig, train_sketcher
from .arguments import add_device, device_of
from .flags import add_flags, build, read_flags
from .progress import training_bar


def pretrain_sketcher(parser: ArgumentParser, argv: list[str]) -> None:
    """Train a small photo-to-sketch network on photos of single objects on white. Ctrl-C keeps what has been trained;
    the same command goes on from there."""
    add = parser.add_argument
    add("photos", type=Path, help="folder or zip of photos on white")
    add("--pairs", type=Path, metavar="FILE", help=".npz with `photo` and `sketch` (bytes)")
    add("--output", type=Path, default=Path("sketcher.safetensors"), metavar="FILE", help="file to write")
    add("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add_device(parser)
    add_flags(parser, SketcherConfig, "training")
    args = parser.parse_args(argv)

    config = build(SketcherConfig, **read_flags(args, SketcherConfig))
    with training_bar(config.steps) as (on_step, _):
        device = device_of(args)
        train_sketcher(config, args.photos, args.pairs, args.output, on_step=on_step, resume=args.resume, device=device)
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")
