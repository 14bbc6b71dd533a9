import math
from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from ..checkpoints.native import save_customised
from ..images import grid, save_png
from ..latents.model_mixing import MixMode, compose_models
from ..latents.sampling import SampleConfig, render, sample_z
from .arguments import MODEL_HELP, add_base, load_generator
from .flags import parse
from .progress import batch_bar


def compose(parser: ArgumentParser, argv: list[str]) -> None:
    """Mix customised models of one base: base + sum of weight * (what the model changes), such as
    banana.safetensors=0.5 strawberry.safetensors=0.5 apple.safetensors=-1. One weight 1 gives exactly that model."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL=WEIGHT", help="customised model and its weight, which may be negative")
    add("--original", default="fruit", metavar="MODEL", help=f"what they were customised from: {MODEL_HELP}")
    add("--mode", choices=get_args(MixMode), default="weights", help="weights: one network. w: exact, pictures only")
    add("--output", type=Path, default=Path("composed.png"), metavar="FILE", help=".safetensors, or .png for samples")
    add("--count", type=int, default=16, metavar="N", help="images in a .png")
    add("--seed", type=int, default=0, metavar="N", help="which images")
    add_base(parser)
    args, config = parse(parser, argv, SampleConfig, "images")

    if args.output.suffix not in (".safetensors", ".png"):
        raise ValueError(f"--output {args.output}: a model is written as .safetensors, samples as .png")
    if args.output.suffix == ".safetensors" and args.mode == "w":
        raise ValueError("--mode w runs several networks, which no model file holds; use --mode weights, or a .png")
    names, weights = zip(*map(_name_and_weight, args.models))
    original = load_generator(args.original, args.base, args.device)
    models = [load_generator(name, args.base or args.original, args.device) for name in names]
    mixture = compose_models(original, models, weights, args.mode)
    if args.output.suffix == ".safetensors":
        save_customised(mixture, args.output)
    else:
        z = sample_z(mixture, args.count, args.seed, args.label)
        with batch_bar(len(z), "image") as on_batch:
            images = render(mixture, z, config, seed=args.seed, on_batch=on_batch)
        save_png(grid(images, math.ceil(math.sqrt(len(images)))), args.output)
    print(f"{args.output} ({mixture.name})")


def _name_and_weight(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not name or not math.isfinite(weight):
        raise ValueError(f'"{text}" is no model with a weight; write for example banana.safetensors=0.5')
    return name, weight
