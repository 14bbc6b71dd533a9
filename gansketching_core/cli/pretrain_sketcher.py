from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path

from ..training.sketcher import SketcherConfig, train_sketcher
from .arguments import add_device
from .flags import parse
from .processes import join
from .progress import training_bar


def pretrain_sketcher(parser: ArgumentParser, argv: list[str]) -> None:
    """Train a small photo-to-sketch network on photos of single objects on white. Ctrl-C keeps what has been trained;
    the same command goes on from there."""
    add = parser.add_argument
    add("photos", nargs="+", type=Path, help="folders or zips of photos on white, shown equally often")
    add("--backgrounds", type=Path, metavar="PATH", help="folder or zip of pictures to put behind the objects")
    add("--pairs", type=Path, metavar="FILE", help=".npz with `photo` and `sketch` (bytes)")
    add("--output", type=Path, default=Path("sketcher.safetensors"), metavar="FILE", help="file to write")
    add("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add_device(parser)
    args, config = parse(parser, argv, SketcherConfig, "training")

    team, device = join(args.device)
    with training_bar(config.steps, shown=team.writes) as (on_step, _):
        options = {"on_step": on_step, "resume": args.resume, "device": device, "team": team}
        train_sketcher(config, args.photos, args.pairs, args.output, backgrounds=args.backgrounds, **options)
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")
