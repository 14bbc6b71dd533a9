from argparse import ArgumentParser, BooleanOptionalAction
from collections import Counter
from pathlib import Path

import torch

from ..checkpoints.native import save_model
from ..datasets import ImageSet, hold_out, image_names
from ..images import grid, save_png
from ..latents.sampling import render, sample_z
from ..networks.feature_networks import EfficientNetLite1
from ..training import loop
from ..training.backgrounds import cut_out
from ..training.placement import PlacementConfig
from ..training.pretrain import PretrainConfig, Pretrainer
from .arguments import add_device, load_generator
from .flags import add_flags, build, parse, read_flags
from .processes import join
from .progress import training_bar


def pretrain(parser: ArgumentParser, argv: list[str]) -> None:
    """Train a StyleGAN2 from scratch on your own pictures: a base model that sketches can customise. Ctrl-C stops the
    training after a step; the same command goes on from there."""
    add = parser.add_argument
    add("pictures", type=Path, help="folder or zip of pictures")
    add("--output", type=Path, default=Path("model.safetensors"), metavar="FILE", help="file to write")
    add("--name", help="the model's name (default: that of the file)")
    add("--licence", default="", help="licence of the pictures and the model, kept in the file")
    add("--balance", action="store_true", help="choose each kind, a folder's name up to the first _, equally often")
    add("--oversample", nargs="+", default=[], metavar="KIND=N", help="with --balance: choose a kind N times as often")
    add("--backgrounds", type=Path, metavar="PATH", help="put pictures on white before those of this folder or zip")
    add("--base", metavar="MODEL", help="train this model further, not a new one; its networks must be the same")
    add("--hold-out", action="store_true", help="leave out every tenth picture, for evaluation")
    add("--dtype", choices=["float32", "float16"], default="float16", help="of the file")
    add("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add("--keep-state", action="store_true", help="keep the state: the same command with more --images continues")
    add_device(parser)
    add_flags(parser, PretrainConfig, "training")
    args, placement = parse(parser, argv, PlacementConfig, "placement of the pictures")

    config = build(PretrainConfig, **read_flags(args, PretrainConfig))
    if config.feature_weight:
        EfficientNetLite1.check()
    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: models are written as .safetensors")
    team, device = join(args.device)
    names = image_names(args.pictures)
    names = hold_out(names)[0] if args.hold_out else names
    pictures = ImageSet(args.pictures, 2 * config.resolution, names=names)
    weights = _balanced(pictures.classes, args.oversample) if args.balance else None
    base = load_generator(args.base, None, torch.device("cpu")) if args.base else None
    backgrounds = ImageSet(args.backgrounds, 2 * config.resolution).data if args.backgrounds else None
    data = pictures.data if backgrounds is None else cut_out(pictures.data)
    trainer = Pretrainer(
        data,
        config,
        placement=placement,
        weights=weights,
        backgrounds=backgrounds,
        base=base,
        device=device,
        team=team,
    )
    state_file = args.output.with_name(args.output.name + ".state.pt")
    history = loop.resume(trainer, state_file) if args.resume else []

    def save_samples() -> None:
        model = trainer.result()
        save_png(grid(render(model, sample_z(model, 32)), 8), args.output.with_suffix(".png"))

    with training_bar(trainer.steps_total, shown=team.writes) as (on_step, _):
        loop.train(trainer, trainer.steps_total, state_file, history, on_step=on_step, on_checkpoint=save_samples)
    model = trainer.result(args.name or args.output.stem)
    about = {
        "training": config.model_dump_json(),
        "placement": placement.model_dump_json(),
        "pictures": str(len(pictures)),
        "licence": args.licence,
    }

    def save() -> None:
        dtype = getattr(torch, args.dtype)
        save_model(model, args.output, dtype=dtype, metadata={k: v for k, v in about.items() if v})
        if not args.keep_state:
            state_file.unlink(missing_ok=True)

    team.first(save)
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB)\n{args.output.with_suffix('.png')} (samples)")


def _balanced(classes: list[str], oversample: list[str]) -> torch.Tensor:
    """Sampling weights [N] that make all kinds equally likely, but for factors such as "banana=2"."""
    kinds = [name.split("_")[0] for name in classes]
    weight = {kind: 1 / count for kind, count in Counter(kinds).items()}
    for entry in oversample:
        kind, _, factor = entry.partition("=")
        if kind not in weight:
            raise ValueError(f'--oversample {entry}: there is no kind "{kind}"; use one of {", ".join(sorted(weight))}')
        try:
            weight[kind] *= float(factor)
        except ValueError:
            raise ValueError(f"--oversample {entry}: write a kind and a number, as in banana=2") from None
    return torch.tensor([weight[kind] for kind in kinds])
