"""Commands that train from scratch or measure: pretrain, pretrain-sketcher, bench."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from . import bench as benchmark
from . import checkpoints, images, latents
from .cli_flags import add_flags, build, read_flags
from .cli_interrupt import interruptible
from .cli_models import add_device, device_of, load_generator
from .features import EfficientNetLite1
from .finetune import PRESETS, FinetuneConfig
from .pretrain import PretrainConfig, Pretrainer
from .pretrain_sketcher import SketcherConfig, train_sketcher
from .stylegan2 import GanConfig

CHECKPOINT_SECONDS = 120.0


# ---------------------------------------------------------------------------------------------------------- pretrain


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
    args = parser.parse_args(argv)

    config = build(PretrainConfig, **read_flags(args, PretrainConfig))
    if config.feature_weight:
        EfficientNetLite1.check()
    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: models are written as .safetensors")
    names = images.image_names(args.pictures)
    names = images.hold_out(names)[0] if args.hold_out else names
    pictures = images.ImageSet(args.pictures, 2 * config.resolution, names=names)
    weights = _balanced(pictures.classes, args.oversample) if args.balance else None
    base = load_generator(args.base, None, torch.device("cpu")) if args.base else None
    trainer = Pretrainer(pictures.data, config, weights=weights, base=base, device=device_of(args))
    _train(trainer, args)
    model = trainer.result(args.name or args.output.stem)
    about = {"training": config.model_dump_json(), "pictures": str(len(pictures)), "licence": args.licence}
    dtype = getattr(torch, args.dtype)
    checkpoints.save_model(model, args.output, dtype=dtype, metadata={k: v for k, v in about.items() if v})
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
        checkpoints.atomic_write(saved_state, lambda path: torch.save(trainer.state_dict(), path))
        model = trainer.result()
        x = latents.render(model, latents.sample_z(model, 32))
        images.save_png(images.grid(x, 8), args.output.with_suffix(".png"))

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


# ------------------------------------------------------------------------------------------------- pretrain-sketcher


def pretrain_sketcher(parser: ArgumentParser, argv: list[str]) -> None:
    """Train a small photo-to-sketch network on photos of single objects on white. Ctrl-C keeps what has been trained;
    the same command goes on from there."""
    parser.add_argument("photos", type=Path, help="folder or zip of photos on white")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=".npz with `photo` and `sketch` (bytes)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("sketcher.safetensors"),
        metavar="FILE",
        help="(default: sketcher.safetensors)",
    )
    parser.add_argument("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add_device(parser)
    add_flags(parser, SketcherConfig, "training")
    args = parser.parse_args(argv)

    config = build(SketcherConfig, **read_flags(args, SketcherConfig))
    bar = tqdm(total=config.steps, desc="pretrain-sketcher", unit="step", dynamic_ncols=True)
    with bar, interruptible() as poll:

        def on_step(done: int, losses: dict[str, float]) -> None:
            poll()
            bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
            if bar.n == 0 and done > 1:
                bar.initial = bar.n = done - 1
            bar.update(done - bar.n)

        try:
            train_sketcher(
                config,
                args.photos,
                args.pairs,
                args.output,
                on_step=on_step,
                resume=args.resume,
                device=str(device_of(args)),
            )
        except KeyboardInterrupt:
            bar.close()
            print(f"Stopped after {bar.n} steps: the same command goes on.", file=sys.stderr)
            raise
    print(f"{args.output} ({args.output.stat().st_size / 1e6:.1f} MB)")


# ------------------------------------------------------------------------------------------------------------- bench


def bench(parser: ArgumentParser, argv: list[str]) -> None:
    """Measure fine-tuning steps and sampling on full-size StyleGAN2 networks with random weights: medians in seconds,
    peak memory in GiB. The columns D, R1 and G are the parts of a step; `step` has its share of R1."""
    parser.add_argument("--resolution", type=int, nargs="+", default=[64], metavar="N", help="(default: 64)")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="images a step (default: 4)")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="steps that count (default: 2)")
    parser.add_argument("--preset", choices=list(PRESETS), default="fast", help="training options (default: fast)")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], help="(default: the preset's)")
    add_device(parser)
    args = parser.parse_args(argv)

    if args.steps < 1:
        raise ValueError(f"--steps {args.steps}: use 1 or more")
    changes = {"precision": args.precision} if args.precision else {}
    config = build(lambda **given: FinetuneConfig.preset(args.preset, **given), batch=args.batch, **changes)
    for resolution in args.resolution:
        build(GanConfig, resolution=resolution)
    device = device_of(args)
    print(
        f"{device}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, batch {args.batch}, {args.preset}"
    )
    print(f"{'px':>5} {'D':>8} {'R1':>8} {'G':>8} {'step':>8} {'GiB':>7} {'sample':>8} {'GiB':>7}")
    for resolution in sorted(args.resolution):  # peak memory only grows
        with tqdm(total=args.steps + 1, desc=f"{resolution} px", leave=False, dynamic_ncols=True) as bar:
            report = benchmark.bench(
                resolution, args.batch, config, device=device, steps=args.steps, on_step=lambda _, bar=bar: bar.update()
            )
        seconds = [report.discriminators, report.r1, report.generator, report.iteration]
        cells = [f"{value:8.3f}" for value in seconds] + [f"{report.training_memory:7.2f}"]
        print(f"{resolution:>5} {' '.join(cells)} {report.sample:8.3f} {report.sampling_memory:7.2f}")
