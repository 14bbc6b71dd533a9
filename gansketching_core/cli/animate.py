"""The command `animate`: film a walk through latents, or along a direction."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

import torch

from ..latents.ganspace import edit
from ..latents.interpolation import walk
from ..latents.latent_files import load_latents
from ..latents.sampling import SampleConfig, render, sample_z
from ..latents.spaces import Latents, truncate
from ..networks.stylegan2 import GanModel
from .arguments import add_model, device_of, load_generator
from .directions import _add_layers, _directions
from .film import add_film, check_film, save_film
from .flags import add_flags, build, read_flags
from .progress import with_bar


def animate(parser: ArgumentParser, argv: list[str]) -> None:
    """A film: a walk through random images or saved latents; with --component, one image moved along a direction."""
    add_model(parser)
    parser.add_argument("--latents", type=Path, metavar="FILE", help="saved latents to pass through, in their order")
    parser.add_argument("--keys", type=int, default=6, metavar="N", help="else: random images to pass (default: 6)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which ones (default: 0)")
    parser.add_argument("--loop", action=BooleanOptionalAction, default=True, help="return to the first (default: yes)")
    parser.add_argument("--component", type=int, metavar="N", help="move the first image along this direction instead")
    parser.add_argument("--load", type=Path, metavar="FILE", help="the directions; without, they are fitted")
    parser.add_argument("--samples", type=int, default=100_000, metavar="N", help="to fit on (default: 100000)")
    parser.add_argument("--reach", type=float, default=3.0, metavar="X", help="standard deviations (default: 3)")
    _add_layers(parser)
    add_film(parser, 96, "animation.webp")
    add_flags(parser, SampleConfig, "images")
    args = parser.parse_args(argv)

    check_film(args)
    config = build(SampleConfig, **read_flags(args, SampleConfig))
    model = load_generator(args.model, args.base, device_of(args))
    keys = _keys(model, args)
    if args.component is None:
        way = walk(keys, args.frames, loop=args.loop)
    else:
        way = _swing(model, keys[0], config, args)
        config = config.model_copy(update={"truncation": 1.0, "truncation_cutoff": 0})
    frames = with_bar(
        args.frames,
        "frame",
        lambda on_batch: render(model, way, config, seed=args.seed, on_batch=on_batch),
    )
    save_film(frames, args.output, args.fps, args.size)
    print(args.output)


def _keys(model: GanModel, args: Namespace) -> Latents:
    if args.latents is not None:
        return load_latents(args.latents)
    return sample_z(model, max(args.keys, 1), args.seed, args.label)


def _swing(model: GanModel, one: Latents, config: SampleConfig, args: Namespace) -> Latents:
    """There and back along a direction, as a pendulum swings."""
    args.components = args.component + 1
    strengths = args.reach * torch.sin(torch.arange(args.frames) * (2 * torch.pi / args.frames))
    one = truncate(model, one, config.truncation, config.truncation_cutoff)
    layers = {"first": args.first_layer, "last": args.last_layer}
    return edit(model, one, _directions(model, args), args.component, strengths, **layers)
