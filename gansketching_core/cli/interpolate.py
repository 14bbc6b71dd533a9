"""The command `interpolate`: mix two models, or film one turning into the other."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace

import torch
from torch import Tensor

from ..checkpoints.native import save_customised
from ..images import grid
from ..latents.model_mixing import interpolate_models, render_between
from ..latents.sampling import SampleConfig, sample_z
from ..networks.stylegan2 import GanModel
from .arguments import MODEL_HELP, add_device, device_of, load_generator
from .film import add_film, check_film, save_film, square_columns
from .flags import add_flags, build, read_flags
from .progress import with_bar


def interpolate(parser: ArgumentParser, argv: list[str]) -> None:
    """A film of one model turning into another of the same base; or, with an --output that ends in .safetensors, the
    model between them."""
    parser.add_argument("first", help=f"{MODEL_HELP}, or a customised one")
    parser.add_argument("second", help="the same")
    parser.add_argument("--base", metavar="MODEL", help="for customised models: the one they were made from")
    parser.add_argument(
        "--alpha", type=float, default=0.5, metavar="X", help="for .safetensors: 0 is the first model, 1 the second"
    )
    parser.add_argument("--mode", choices=["w", "weights"], default="w", help="what a film mixes (default: w)")
    parser.add_argument("--count", type=int, default=9, metavar="N", help="images in a film (default: 9)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which images (default: 0)")
    parser.add_argument("--label", type=int, metavar="N", help="class, for class-conditional models")
    parser.add_argument("--back", action=BooleanOptionalAction, default=True, help="add the way back (default: yes)")
    add_film(parser, 24, "interpolated.webp")
    add_device(parser)
    add_flags(parser, SampleConfig, "images")
    args = parser.parse_args(argv)

    check_film(args, ".safetensors")
    config, device = build(SampleConfig, **read_flags(args, SampleConfig)), device_of(args)
    first, second = (load_generator(name, args.base, device) for name in (args.first, args.second))
    if args.output.suffix == ".safetensors":
        mixed = interpolate_models(first, second, args.alpha)
        save_customised(mixed, args.output)
    else:
        frames = _between(first, second, config, args)
        save_film(frames, args.output, args.fps, args.size)
    print(args.output)


def _between(first: GanModel, second: GanModel, config: SampleConfig, args: Namespace) -> Tensor:
    """Frames [B,3,h,w]: a grid of images each."""
    z = sample_z(first, args.count, args.seed, args.label)
    alphas = torch.linspace(0, 1, args.frames).tolist()
    x = with_bar(
        args.count * args.frames,
        "image",
        lambda on_batch: render_between(
            first, second, z, alphas, config, mode=args.mode, seed=args.seed, on_batch=on_batch
        ),
    )
    frames = [grid(part, square_columns(args.count)) for part in x.split(args.count)]
    return torch.cat(frames + frames[-2:0:-1] if args.back else frames)
