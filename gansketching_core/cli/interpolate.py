import math
from argparse import ArgumentParser, BooleanOptionalAction, Namespace

import torch
from torch import Tensor

from ..checkpoints.native import save_customised
from ..images import grid
from ..latents.model_mixing import interpolate_models, render_between
from ..latents.sampling import SampleConfig, sample_z
from ..networks.stylegan2 import GanModel
from .arguments import MODEL_HELP, add_base, load_generator
from .film import add_film, check_film, save_film
from .flags import parse
from .progress import batch_bar


def interpolate(parser: ArgumentParser, argv: list[str]) -> None:
    """A film of one model turning into another of the same base; or with a .safetensors --output the model between."""
    add = parser.add_argument
    add("first", help=f"{MODEL_HELP}, or a customised one")
    add("second", help="the same")
    add("--alpha", type=float, default=0.5, metavar="X", help="for .safetensors: 0 is the first model, 1 the second")
    add("--mode", choices=["w", "weights"], default="w", help="what a film mixes")
    add("--count", type=int, default=9, metavar="N", help="images in a film")
    add("--seed", type=int, default=0, metavar="N", help="which images")
    add("--back", action=BooleanOptionalAction, default=True, help="return to the first")
    add_film(parser, 24, "interpolated.webp")
    add_base(parser)
    args, config = parse(parser, argv, SampleConfig, "images")

    check_film(args, ".safetensors")
    first = load_generator(args.first, args.base, args.device)
    second = load_generator(args.second, args.base, args.device)
    if args.output.suffix == ".safetensors":
        save_customised(interpolate_models(first, second, args.alpha), args.output)
    else:
        save_film(_frames(first, second, config, args), args)
    print(args.output)


def _frames(first: GanModel, second: GanModel, config: SampleConfig, args: Namespace) -> Tensor:
    """Frames [B,3,h,w], each a grid of the images of one model."""
    z = sample_z(first, args.count, args.seed, args.label)
    alphas = torch.linspace(0, 1, args.frames).tolist()
    with batch_bar(args.count * args.frames, "image") as on_batch:
        images = render_between(first, second, z, alphas, config, mode=args.mode, seed=args.seed, on_batch=on_batch)
    columns = math.ceil(math.sqrt(args.count))
    frames = torch.cat([grid(images_of_frame, columns) for images_of_frame in images.split(args.count)])
    return torch.cat([frames, frames[1:-1].flip(0)]) if args.back else frames
