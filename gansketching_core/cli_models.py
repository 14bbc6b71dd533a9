"""Commands on models: finetune, sample, sketch, info, convert."""

from __future__ import annotations

import itertools
import re
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from . import checkpoints, images, latents, runs
from .cli_flags import add_flags, build, read_flags
from .cli_interrupt import interruptible
from .cli_pack import find_file, pack_root
from .finetune import PRESETS, FinetuneConfig, SketchFinetuner, StepReport
from .photosketch import LineExtractor
from .stylegan2 import GanModel

LINES = "lines"
MODEL_HELP = "model file, or the name of a bundled model"
SKETCHER_HELP = f'photo-to-sketch network: a file, the name of a bundled one, or "{LINES}", a filter without weights'
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


# ----------------------------------------------------------------------------------------------------------- loading


def device_of(args: Namespace) -> torch.device:
    """The device of --device."""
    if args.device != "auto":
        return torch.device(args.device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def add_device(parser: ArgumentParser) -> None:
    """--device."""
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, cuda:1 ... (default: auto)")


def load_generator(name: str, base: str | None, device: torch.device) -> GanModel:
    """A whole model, or a customised one on its base: `base`, else the bundled model it was made from."""
    path = find_file(name, "weights", ".safetensors")
    about = checkpoints.describe(path) if path.suffix == ".safetensors" else {}
    if about.get("kind") != "customised model":
        model = checkpoints.load_model(path)
    elif base is not None:
        model = checkpoints.load_customised(path, load_generator(base, None, torch.device("cpu")))
    else:
        model = checkpoints.load_customised(path, _find_base(path, about))
    discriminator = model.discriminator and model.discriminator.to(device)
    return replace(
        model, generator=model.generator.to(device), discriminator=discriminator, w_mean=model.w_mean.to(device)
    )


def _find_base(path: Path, about: dict[str, str]) -> GanModel:
    for candidate in sorted((pack_root() / "weights").glob("*.safetensors")):
        if checkpoints.describe(candidate).get("hash") == about["base hash"]:
            return checkpoints.load_model(candidate)
    raise ValueError(
        f'{path} was customised from "{about["base"]}", which is not bundled: give that model\'s file with --base'
    )


def load_sketcher(name: str, device: torch.device) -> nn.Module:
    """The network of --sketcher."""
    if name == LINES:
        return LineExtractor().to(device)
    return checkpoints.load_photosketch(find_file(name, "weights", ".safetensors")).to(device)


def load_pictures(paths: list[Path]) -> list[Tensor]:
    """Images [H,W,C] of files, folders and zips."""
    return [image for path in paths for image in images.load_images(path)]


# ---------------------------------------------------------------------------------------------------------- finetune


def finetune(parser: ArgumentParser, argv: list[str]) -> None:
    """Customise a generator so that its images follow one or a few sketches. Ctrl-C keeps what has been trained; the
    same command goes on from there, and returns at once when nothing has changed."""
    parser.add_argument("--model", default="fruit", metavar="MODEL", help=f"{MODEL_HELP} (default: fruit)")
    parser.add_argument("--base", metavar="MODEL", help="for a customised --model: the model it was made from")
    parser.add_argument(
        "--sketches", nargs="+", required=True, type=Path, metavar="PATH", help="drawings: files, folders or zips"
    )
    parser.add_argument("--sketcher", default="sketcher", help=f"{SKETCHER_HELP} (default: sketcher)")
    parser.add_argument(
        "--images", type=Path, metavar="PATH", help="folder or zip of photos like those the model was trained on"
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="fast", help="where the options start")
    parser.add_argument(
        "--output", type=Path, default=Path("customised.safetensors"), metavar="FILE", help="the customised model"
    )
    parser.add_argument(
        "--preview", type=Path, metavar="FILE", help="picture of before and after (default: OUTPUT.png)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="state of unfinished trainings")
    parser.add_argument("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add_device(parser)
    add_flags(parser, FinetuneConfig, "training")
    add_flags(parser, images.SketchConfig, "preparation of the sketches")
    args = parser.parse_args(argv)

    config = build(lambda **given: FinetuneConfig.preset(args.preset, **given), **read_flags(args, FinetuneConfig))
    sketch_config = build(images.SketchConfig, **read_flags(args, images.SketchConfig))
    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: models are written as .safetensors")
    device = device_of(args)
    model = load_generator(args.model, args.base, device)
    sketcher = load_sketcher(args.sketcher, device)
    sketches = runs.sketches_for(model, load_pictures(args.sketches), sketcher, config, sketch_config)
    photos = images.ImageSet(args.images, model.config.resolution) if args.images else None
    result = _customise(model, sketches, sketcher, config, photos, args)

    checkpoints.save_customised(result.model, args.output, moves=config.moves, settings=config.model_dump())
    preview = args.preview or args.output.with_suffix(".png")
    images.save_png(before_and_after(model, result.model, sketches, config.class_index), preview)
    took = "kept from before" if result.from_cache else f"{config.steps} steps, {result.seconds:.0f} s"
    print(f"{result.match}\n{args.output} ({took})\n{preview} (sketches, before, after)")


def _customise(
    model: GanModel,
    sketches: Tensor,
    sketcher: nn.Module,
    config: FinetuneConfig,
    photos: images.ImageSet | None,
    args: Namespace,
) -> runs.RunResult:
    """runs.customise with a progress bar that shows the losses."""
    bar = tqdm(total=config.steps, desc="finetune", unit="step", dynamic_ncols=True)
    with bar, interruptible() as poll:

        def on_step(report: StepReport, finetuner: SketchFinetuner) -> None:
            if bar.n == 0 and report.step:
                bar.initial = bar.n = report.step
                bar.write(f"going on after step {report.step}", file=sys.stderr)
            bar.set_postfix({name: f"{value:.2f}" for name, value in report.losses.items() if name[0] in "DG"})
            bar.update(report.step + 1 - bar.n)

        try:
            return runs.customise(
                model,
                sketches,
                sketcher,
                config,
                images=photos,
                folder=args.runs,
                on_step=on_step,
                poll=poll,
                resume=args.resume,
            )
        except KeyboardInterrupt:
            bar.close()
            print(f"Stopped after {bar.n} steps, kept in {args.runs}: the same command goes on.", file=sys.stderr)
            raise


def before_and_after(
    before: GanModel, after: GanModel, sketches: Tensor, class_index: int = 0, count: int = 8
) -> Tensor:
    """Rows of `count`: sketches, samples of both models from the same latents -> [1,3,h,w] in -1..1."""
    z = latents.sample_z(before, count, labels=class_index if before.config.class_count else None)
    rows = [latents.render(model, z).clamp(-1, 1).cpu() for model in (before, after)]
    paper = torch.ones_like(rows[0])
    paper[: len(sketches)] = sketches[:count].cpu()
    return images.grid(torch.cat([paper, *rows]), count)


# ------------------------------------------------------------------------------------------------------------ sample


def sample(parser: ArgumentParser, argv: list[str]) -> None:
    """Generate images. Sample i depends on the seed and i alone: models with a common base can be compared image by
    image, and a larger count only adds images."""
    parser.add_argument("model", nargs="?", default="fruit", help=f"{MODEL_HELP}, or a customised one (default: fruit)")
    parser.add_argument("--base", metavar="MODEL", help="for a customised model: the one it was made from")
    parser.add_argument("--count", type=int, default=16, metavar="N", help="how many images (default: 16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which images (default: 0)")
    parser.add_argument("--label", type=int, metavar="N", help="class, for class-conditional models")
    parser.add_argument("--latents", type=Path, metavar="FILE", help="saved latents, in place of new ones")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images at a time (default: 8)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="one PNG for each image (default: ./output/samples)")
    parser.add_argument("--grid", type=Path, metavar="FILE", help="all images in one PNG; alone, only that is written")
    add_device(parser)
    add_flags(parser, latents.SampleConfig, "images")
    args = parser.parse_args(argv)

    config = build(latents.SampleConfig, **read_flags(args, latents.SampleConfig))
    model = load_generator(args.model, args.base, device_of(args))
    if args.latents is None:
        z = latents.sample_z(model, args.count, args.seed, args.label)
    else:
        z = latents.load_latents(args.latents)
    with tqdm(total=len(z), desc="sample", unit="image", dynamic_ncols=True) as bar:
        x = latents.render(
            model, z, config, seed=args.seed, batch=args.batch, on_batch=lambda done, _: bar.update(done - bar.n)
        )
    folder = args.output or (None if args.grid else Path("output/samples"))
    if folder is not None:
        stem = Path(args.model).stem
        for index, image in enumerate(x):
            images.save_png(image, folder / f"{stem}_seed{args.seed}_{index:05}.png")
        print(f"{folder} ({len(x)} images)")
    if args.grid is not None:
        images.save_png(images.grid(x, round(len(x) ** 0.5 + 0.499)), args.grid)
        print(args.grid)


# ------------------------------------------------------------------------------------------------------------ sketch


def sketch(parser: ArgumentParser, argv: list[str]) -> None:
    """Turn photos into line drawings, as fine-tuning sees them."""
    parser.add_argument("photos", nargs="+", type=Path, help="files, folders or zips")
    parser.add_argument("--sketcher", default="sketcher", help=f"{SKETCHER_HELP} (default: sketcher)")
    parser.add_argument("--size", type=int, default=256, metavar="N", help="longer side in pixels (default: 256)")
    parser.add_argument(
        "--output", type=Path, default=Path("output/sketches"), metavar="DIR", help="(default: output/sketches)"
    )
    add_device(parser)
    args = parser.parse_args(argv)

    if not 32 <= args.size <= 2048:
        raise ValueError(f"--size {args.size} is out of range: use 32 to 2048")
    device = device_of(args)
    network = load_sketcher(args.sketcher, device)
    names = [(path, name) for path in args.photos for name in images.image_names(path)]
    written: set[Path] = set()
    for path, name in tqdm(names, desc="sketch", unit="image", dynamic_ncols=True):
        (photo,) = images.load_images(path, [name])
        with torch.no_grad():
            drawing = network(_scaled(photo, args.size).to(device))
        target = _new_name(args.output, name, written)
        images.save_png(drawing, target)
        written.add(target)
    print(f"{args.output} ({len(written)} drawings)")


def _new_name(folder: Path, name: str, taken: set[Path]) -> Path:
    """A PNG in `folder` named after a photo, with its subfolders; entries of a zip never lead out of it."""
    parts = [part for part in re.split(r"[/\\:]", name) if part not in ("", ".", "..")]
    stem = folder.joinpath(*parts[:-1], Path(parts[-1]).stem)
    choices = (
        stem.with_name(f"{stem.name}{end}.png") for end in itertools.chain([""], map("_{}".format, itertools.count(2)))
    )
    return next(path for path in choices if path not in taken)


def _scaled(photo: Tensor, size: int) -> Tensor:
    """[H,W,C] in 0..1 -> [1,3,h,w] in -1..1, the longer side `size`; both multiples of 4, at least 32."""
    x = images.from_comfy(photo[None])
    factor = size / max(x.shape[2:])
    sides = [max(32, round(side * factor / 4) * 4) for side in x.shape[2:]]
    return F.interpolate(x, sides, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)


# ----------------------------------------------------------------------------------------------------- info, convert


def info(parser: ArgumentParser, argv: list[str]) -> None:
    """Say what a model file is: kind, resolution, channels, base, training settings, licence."""
    parser.add_argument("files", nargs="+", help="model files, or names of bundled ones")
    args = parser.parse_args(argv)
    for name in args.files:
        path = find_file(name, "weights", ".safetensors")
        about = checkpoints.describe(path)
        width = max(map(len, about))
        print(path)
        for key, value in about.items():
            print(f"  {key:<{width}}  {value}")


def convert(parser: ArgumentParser, argv: list[str]) -> None:
    """Write a model file of any supported format as .safetensors, which loads faster and carries no code."""
    parser.add_argument("source", help="model file")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.add_argument("--base", metavar="MODEL", help="for a customised model: the one it was made from")
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32", help="float16 halves the file")
    args = parser.parse_args(argv)

    if args.target.suffix != ".safetensors":
        raise ValueError(f"{args.target}: models are written as .safetensors")
    path = find_file(args.source, "weights", ".safetensors")
    if checkpoints.describe(path)["kind"] == "PhotoSketch network":
        checkpoints.save_photosketch(checkpoints.load_photosketch(path), args.target, dtype=DTYPES[args.dtype])
    else:
        model = load_generator(args.source, args.base, torch.device("cpu"))
        checkpoints.save_model(model, args.target, dtype=DTYPES[args.dtype])
    print(f"{args.target} ({args.target.stat().st_size / 1e6:.1f} MB)")
