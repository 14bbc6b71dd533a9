import math
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

import torch

from ..latents.ganspace import edit
from ..latents.interpolation import walk
from ..latents.latent_files import load_latents
from ..latents.sampling import SampleConfig, render, sample_z
from ..latents.spaces import Latents, truncate
from ..networks.stylegan2 import GanModel
from .arguments import add_model, load_generator
from .directions import add_directions, load_or_fit
from .film import add_film, check_film, save_film
from .flags import parse
from .progress import batch_bar


def animate(parser: ArgumentParser, argv: list[str]) -> None:
    """A film: a walk through random images or saved latents; with --component, one image edited along a direction."""
    add_model(parser)
    add = parser.add_argument
    add("--latents", type=Path, metavar="FILE", help="saved latents to pass through, in their order")
    add("--keys", type=int, default=6, metavar="N", help="else: random images to pass")
    add("--seed", type=int, default=0, metavar="N", help="which ones")
    add("--loop", action=BooleanOptionalAction, default=True, help="return to the first")
    add("--component", type=int, metavar="N", help="instead: edit the first image along this direction")
    add_directions(parser, reach=3.0)
    add_film(parser, 96, "animation.webp")
    args, config = parse(parser, argv, SampleConfig, "images")

    check_film(args)
    model = load_generator(args.model, args.base, args.device)
    keys = load_latents(args.latents) if args.latents else sample_z(model, args.keys, args.seed, args.label)
    if args.component is None:
        latents = walk(keys, args.frames, loop=args.loop)
    else:
        latents = _swing(model, keys[0], config, args)
        config = SampleConfig(noise=config.noise)  # _swing has truncated
    with batch_bar(args.frames, "frame") as on_batch:
        frames = render(model, latents, config, seed=args.seed, on_batch=on_batch)
    save_film(frames, args)
    print(args.output)


def _swing(model: GanModel, latents: Latents, config: SampleConfig, args: Namespace) -> Latents:
    """Edits along a direction and back, both ways, as a pendulum swings."""
    strengths = args.reach * torch.sin(torch.arange(args.frames) * (2 * math.pi / args.frames))
    truncated = truncate(model, latents, config.truncation, config.truncation_cutoff)
    directions = load_or_fit(model, args.component + 1, args)
    return edit(model, truncated, directions, args.component, strengths, first=args.first_layer, last=args.last_layer)
