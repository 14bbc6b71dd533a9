"""The command `pretrain`: train a StyleGAN2 from scratch."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from ..checkpoints.native import save_model
from ..datasets import ImageSet, hold_out, image_names
from ..files import atomic_write
from ..images import grid, save_png
from ..latents.sampling import render, sample_z
from ..networks.feature_networks import EfficientNetLite1
from ..training.placement import PlacementConfig
from ..training.pretrain import PretrainConfig, Pretrainer
from .arguments import add_device, device_of, load_generator
from .flags import add_flags, build, read_flags
from .interrupt import interruptible

CHECKPOINT_SECONDS = 120.0


def pretrain(parser: ArgumentParser, argv: list[str]) -> None:
    """Train a StyleGAN2 from scratch on your own pictures: a base model that sketches can customise. Ctrl-C keeps what
    has been trained; the same command goes on from there."""
    parser.add_argument("pictures", type=Path, help="folder or zip of pictures")
    parser.add_argument(
        "--output", type=Path, default=Path("model.safetensors"), metavar="FILE", help="(default: model.safetensors)"
    )
    parser.add_argument("--name", help="the model's name (default: that of the file)")
    parser.add_argument("--licence", default="", help="licence of the pictures and the model, kept in the file")
    parser.add_argument(
        "--balance",
        action="store_true",
        help="draw every kind equally often; a kind is a folder's name up to the first _ (apple_red, apple_golden)",
    )
    parser.add_argument(
        "--oversample", nargs="+", default=[], metavar="KIND=N", help="with --balance: draw a kind N times as often"
    )
    parser.add_argument(
        "--base",
        metavar="MODEL",
        help="train this model on (file or bundled name) in place of a new one; same networks",
    )
    parser.add_argument("--hold-out", action="store_true", help="leave out every tenth picture, for evaluation")
    parser.add_argument(
        "--dtype", choices=["float32", "float16"], default="float16", help="of the file (default: float16)"
    )
    parser.add_argument("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    parser.add_argument(
        "--keep-state",
        action="store_true",
        help="keep the state at the end, so that the same command with more --images trains on",
    )
    add_device(parser)
    add_flags(parser, PretrainConfig, "training")
    add_flags(parser, PlacementConfig, "placement of the pictures")
    args = parser.parse_args(argv)

    config = build(PretrainConfig, **read_flags(args, PretrainConfig))
    placement = build(PlacementConfig, **read_flags(args, PlacementConfig))
    if config.feature_weight:
        EfficientNetLite1.check()
    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: models are written as .safetensors")
    names = image_names(args.pictures)
    names = hold_out(names)[0] if args.hold_out else names
    pictures = ImageSet(args.pictures, 2 * config.resolution, names=names)
    weights = _balanced(pictures.classes, args.oversample) if args.balance else None
    base = load_generator(args.base, None, torch.device("cpu")) if args.base else None
    trainer = Pretrainer(pictures.data, config, placement=placement, weights=weights, base=base, device=device_of(args))
    _train(trainer, args)
    model = trainer.result(args.name or args.output.stem)
    about = {
        "training": config.model_dump_json(),
        "placement": placement.model_dump_json(),
        "pictures": str(len(pictures)),
        "licence": args.licence,
    }
    dtype = getattr(torch, args.dtype)
    save_model(model, args.output, dtype=dtype, metadata={k: v for k, v in about.items() if v})
    if not args.keep_state:
        _state_file(args).unlink(missing_ok=True)
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB)\n{args.output.with_suffix('.png')} (samples)")


def _balanced(classes: list[str], oversample: list[str]) -> torch.Tensor:
    """Sampling weights [N] that make all kinds equally likely, but for factors such as "banana=2"."""
    kinds = [name.split("_")[0] for name in classes]
    weight = {kind: 1 / count for kind, count in Counter(kinds).items()}
    for entry in oversample:
        kind, _, factor = entry.partition("=")
        if kind not in weight:
            raise ValueError(f'--oversample {entry}: there is no kind "{kind}"; there are {", ".join(sorted(weight))}')
        try:
            weight[kind] *= float(factor)
        except ValueError:
            raise ValueError(f"--oversample {entry}: write a kind and a number, as in banana=2") from None
    return torch.tensor([weight[kind] for kind in kinds])


def _state_file(args: Namespace) -> Path:
    return args.output.with_name(args.output.name + ".state.pt")


def _train(trainer: Pretrainer, args: Namespace) -> None:
    """The training loop, with checkpoints and pictures of a fixed set of latents beside the output."""
    saved_state = _state_file(args)
    if args.resume and saved_state.exists():
        trainer.load_state_dict(torch.load(saved_state, map_location="cpu", weights_only=True))
        print(f"going on after step {trainer.steps_done}", file=sys.stderr)

    def keep() -> None:
        atomic_write(saved_state, lambda path: torch.save(trainer.state_dict(), path))
        model = trainer.result()
        x = render(model, sample_z(model, 32))
        save_png(grid(x, 8), args.output.with_suffix(".png"))

    kept = time.monotonic()
    bar = tqdm(total=trainer.steps_total, initial=trainer.steps_done, desc="pretrain", unit="step", dynamic_ncols=True)
    try:
        with bar, interruptible() as poll:
            while trainer.steps_done < trainer.steps_total:
                report = trainer.step()
                bar.set_postfix({name: f"{value:.2f}" for name, value in report.losses.items()})
                bar.update()
                poll()
                if time.monotonic() - kept > CHECKPOINT_SECONDS:
                    keep()
                    kept = time.monotonic()
    except KeyboardInterrupt:
        keep()
        print(f"Stopped after {trainer.steps_done} steps: the same command goes on.", file=sys.stderr)
        raise
    keep()
