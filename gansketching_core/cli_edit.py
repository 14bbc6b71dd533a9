"""Commands on latents: project, project-sketch, interpolate, directions, animate."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from . import checkpoints, ganspace, images, latents, runs
from .cli_flags import add_flags, build, read_flags
from .cli_interrupt import interruptible
from .cli_models import MODEL_HELP, SKETCHER_HELP, add_device, device_of, load_generator, load_pictures, load_sketcher
from .latents import Latents, SampleConfig
from .project import ProjectConfig, Projector, SketchSearch, SketchSearchConfig
from .stylegan2 import GanModel

FILMS = {".webp": {"quality": 90, "method": 4}, ".gif": {}, ".png": {}}


# ------------------------------------------------------------------------------------------------------------- shared


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument("--model", default="fruit", metavar="MODEL", help=f"{MODEL_HELP} (default: fruit)")
    parser.add_argument("--base", metavar="MODEL", help="for a customised --model: the model it was made from")
    parser.add_argument("--label", type=int, metavar="N", help="class, for class-conditional models")
    add_device(parser)


def _add_film(parser: ArgumentParser, frames: int, output: str) -> None:
    parser.add_argument("--frames", type=int, default=frames, metavar="N", help=f"frames of a film (default: {frames})")
    parser.add_argument("--fps", type=float, default=24.0, metavar="X", help="frames a second (default: 24)")
    parser.add_argument("--size", type=int, metavar="N", help="longer side of a film in pixels (default: at least 256)")
    parser.add_argument(
        "--output", type=Path, default=Path(output), metavar="FILE", help=f"{', '.join(FILMS)} (default: {output})"
    )


def _with_bar(total: int, unit: str, work: Callable[[Callable[[int, int], None]], Tensor]) -> Tensor:
    """work(on_batch) with a progress bar; Ctrl-C stops it after a batch."""
    with tqdm(total=total, unit=unit, dynamic_ncols=True) as bar, interruptible() as poll:

        def on_batch(done: int, _: int) -> None:
            poll()
            bar.update(done - bar.n)

        return work(on_batch)


def _search(search: Projector | SketchSearch, show: Callable[[object], str]) -> None:
    """All steps of a search. Ctrl-C ends it early and keeps the best so far."""
    with tqdm(total=search.steps_total, unit="step", dynamic_ncols=True) as bar, interruptible() as poll:
        search.poll = poll
        try:
            while not search.finished:
                bar.set_postfix_str(show(search.step()))
                bar.update()
        except KeyboardInterrupt:
            if not search.steps_done:
                raise
            bar.write("stopped: going on with the best so far", file=sys.stderr)


def _save_film(frames: Tensor, path: Path, fps: float, size: int | None) -> None:
    """[B,3,h,w] in -1..1 as an animated picture that repeats. size: of the longer side, by default 256 or more."""
    longer = max(frames.shape[2:])
    sides = [round(side * (size or max(256, longer)) / longer) for side in frames.shape[2:]]
    pictures = []
    for part in frames.split(16):
        scaled = F.interpolate(part.float(), sides, mode="bicubic", antialias=True, align_corners=False)
        pictures += [Image.fromarray((frame * 255).round().byte().numpy()) for frame in images.to_comfy(scaled)]
    options = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / fps), "loop": 0}
    kind = path.suffix.removeprefix(".")
    checkpoints.atomic_write(path, lambda partial: pictures[0].save(partial, kind, **options, **FILMS[path.suffix]))


def _check_film(args: Namespace, also: str = "") -> None:
    suffix = args.output.suffix
    if suffix not in FILMS and suffix != also:
        raise ValueError(f"--output {args.output}: films are written as {', '.join(FILMS)}")
    if args.frames < 2 or not 0 < args.fps <= 1000 or (args.size is not None and not 16 <= args.size <= 4096):
        raise ValueError("a film needs --frames 2 or more, --fps above 0 up to 1000, and --size 16 to 4096")


def _square(count: int) -> int:
    """Columns of an about square grid."""
    return round(count**0.5 + 0.499)


# ------------------------------------------------------------------------------------------------------------ project


def project(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the latents from which a model makes images like the given photos. Use --space z (the default) with an
    original model to see a photo through its customised versions: gansketching animate or sample --latents."""
    parser.add_argument("photos", nargs="+", type=Path, help="files, folders or zips")
    parser.add_argument("--output", type=Path, default=Path("output/projected"), metavar="DIR")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="only what is white in this picture counts")
    _add_model(parser)
    add_flags(parser, ProjectConfig, "projection")
    args = parser.parse_args(argv)

    config = build(ProjectConfig, **read_flags(args, ProjectConfig))
    model = load_generator(args.model, args.base, device_of(args))
    size = model.config.resolution
    sets = [images.ImageSet(path, size) for path in args.photos]
    targets = torch.cat([photos.batch(range(len(photos))) for photos in sets]).to(model.w_mean)
    names = [Path(name).stem for photos in sets for name in photos.names]
    mask = None if args.mask is None else (images.ImageSet(args.mask, size).batch([0])[:, :1] + 1) / 2
    search = Projector(model, targets, config, mask=mask, label=args.label)
    _search(search, lambda report: f"loss {report.loss:.3f}, PSNR {report.psnr:.1f} dB")

    found = search.result()
    latents.save_latents(found.latents, args.output / "latents.safetensors")
    pairs = torch.stack([targets, found.images], dim=1).flatten(0, 1)
    images.save_png(images.grid(pairs, 2 * _square(len(names))), args.output / "projected.png")
    for name, decibels in zip(names, found.psnr.tolist()):
        print(f"{name}: PSNR {decibels:.1f} dB")
    print(f"{args.output}/latents.safetensors\n{args.output}/projected.png (photo and reconstruction in turn)")


def project_sketch(parser: ArgumentParser, argv: list[str]) -> None:
    """Find images of a model, original or customised, whose line drawing looks like a sketch. No training."""
    parser.add_argument("sketches", nargs="+", type=Path, help="drawings: files, folders or zips")
    parser.add_argument("--sketcher", default="sketcher", help=f"{SKETCHER_HELP} (default: sketcher)")
    parser.add_argument("--output", type=Path, default=Path("output/from_sketch"), metavar="DIR")
    _add_model(parser)
    add_flags(parser, SketchSearchConfig, "search")
    args = parser.parse_args(argv)

    config = build(SketchSearchConfig, **read_flags(args, SketchSearchConfig))
    device = device_of(args)
    model, sketcher = load_generator(args.model, args.base, device), load_sketcher(args.sketcher, device)
    sketches = runs.sketches_for(model, load_pictures(args.sketches), sketcher)
    search = SketchSearch(model, sketches, sketcher, config, label=args.label)
    _search(search, lambda report: f"distance {report.distance:.3f}")

    found = search.result()
    latents.save_latents(found.latents, args.output / "latents.safetensors")
    for index, image in enumerate(found.images):
        images.save_png(image, args.output / f"{index:05}.png")
    drawings = found.drawings.expand(-1, 3, -1, -1)
    sheet = images.grid(torch.cat([found.images, drawings.to(found.images)]), len(drawings))
    images.save_png(sheet, args.output / "sheet.png")
    near, far = float(found.distance.min()), float(found.distance.max())
    print(f"distance of the lines: {near:.3f} to {far:.3f} of the image side")
    print(f"{args.output} ({len(drawings)} images, sheet.png, latents.safetensors)")


# -------------------------------------------------------------------------------------------------------- interpolate


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
    _add_film(parser, 24, "interpolated.webp")
    add_device(parser)
    add_flags(parser, SampleConfig, "images")
    args = parser.parse_args(argv)

    _check_film(args, ".safetensors")
    config, device = build(SampleConfig, **read_flags(args, SampleConfig)), device_of(args)
    first, second = (load_generator(name, args.base, device) for name in (args.first, args.second))
    if args.output.suffix == ".safetensors":
        mixed = latents.interpolate_models(first, second, args.alpha)
        checkpoints.save_customised(mixed, args.output)
    else:
        frames = _between(first, second, config, args)
        _save_film(frames, args.output, args.fps, args.size)
    print(args.output)


def _between(first: GanModel, second: GanModel, config: SampleConfig, args: Namespace) -> Tensor:
    """Frames [B,3,h,w]: a grid of images each."""
    z = latents.sample_z(first, args.count, args.seed, args.label)
    alphas = torch.linspace(0, 1, args.frames).tolist()
    x = _with_bar(
        args.count * args.frames,
        "image",
        lambda on_batch: latents.render_between(
            first, second, z, alphas, config, mode=args.mode, seed=args.seed, on_batch=on_batch
        ),
    )
    frames = [images.grid(part, _square(args.count)) for part in x.split(args.count)]
    return torch.cat(frames + frames[-2:0:-1] if args.back else frames)


# --------------------------------------------------------------------------------------------------------- directions


def directions(parser: ArgumentParser, argv: list[str]) -> None:
    """Find the main directions in which a model's images vary (GANSpace), and show what each one does."""
    _add_model(parser)
    parser.add_argument("--load", type=Path, metavar="FILE", help="directions fitted before, or a GANSpace .npz")
    parser.add_argument("--components", type=int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--samples", type=int, default=100_000, metavar="N", help="to fit on (default: 100000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which image the sheet shows (default: 0)")
    parser.add_argument("--rows", type=int, default=10, metavar="N", help="directions on the sheet (default: 10)")
    parser.add_argument("--reach", type=float, default=2.0, metavar="X", help="standard deviations (default: 2)")
    parser.add_argument("--truncation", type=float, default=1.0, metavar="X", help="of the image (default: 1)")
    _add_layers(parser)
    parser.add_argument("--output", type=Path, default=Path("directions.safetensors"), metavar="FILE")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="the picture (default: OUTPUT.png)")
    args = parser.parse_args(argv)

    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: directions are written as .safetensors")
    model = load_generator(args.model, args.base, device_of(args))
    found = _directions(model, args)
    z = latents.sample_z(model, 1, args.seed, args.label)
    rows, strengths = min(args.rows, len(found)), tuple(torch.linspace(-args.reach, args.reach, 5).tolist())
    options = {"components": rows, "strengths": strengths, "psi": args.truncation}
    options |= {"first": args.first_layer, "last": args.last_layer}
    sheet = _with_bar(5 * rows, "image", lambda on_batch: ganspace.sheet(model, z, found, **options, on_batch=on_batch))
    ganspace.save_directions(found, args.output)
    picture = args.sheet or args.output.with_suffix(".png")
    images.save_png(images.grid(sheet, 5), picture)
    print(f"{args.output} ({len(found)} directions)\n{picture} (a row for each of the first {rows}, from 0)")


def _add_layers(parser: ArgumentParser) -> None:
    parser.add_argument("--first-layer", type=int, default=0, metavar="N", help="first layer to change (default: 0)")
    parser.add_argument("--last-layer", type=int, metavar="N", help="last layer to change (default: the model's last)")


def _directions(model: GanModel, args: Namespace) -> ganspace.Directions:
    """Those of --load, else new ones."""
    if args.load is not None:
        return ganspace.load_directions(args.load)
    count = min(args.components, model.config.w_dim)
    fit = {"components": count, "samples": args.samples}
    return _with_bar(args.samples, "sample", lambda on_batch: ganspace.fit_directions(model, **fit, on_batch=on_batch))


# ------------------------------------------------------------------------------------------------------------ animate


def animate(parser: ArgumentParser, argv: list[str]) -> None:
    """A film: a walk through random images or saved latents; with --component, one image moved along a direction."""
    _add_model(parser)
    parser.add_argument("--latents", type=Path, metavar="FILE", help="saved latents to pass through, in their order")
    parser.add_argument("--keys", type=int, default=6, metavar="N", help="else: random images to pass (default: 6)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which ones (default: 0)")
    parser.add_argument("--loop", action=BooleanOptionalAction, default=True, help="return to the first (default: yes)")
    parser.add_argument("--component", type=int, metavar="N", help="move the first image along this direction instead")
    parser.add_argument("--load", type=Path, metavar="FILE", help="the directions; without, they are fitted")
    parser.add_argument("--samples", type=int, default=100_000, metavar="N", help="to fit on (default: 100000)")
    parser.add_argument("--reach", type=float, default=3.0, metavar="X", help="standard deviations (default: 3)")
    _add_layers(parser)
    _add_film(parser, 96, "animation.webp")
    add_flags(parser, SampleConfig, "images")
    args = parser.parse_args(argv)

    _check_film(args)
    config = build(SampleConfig, **read_flags(args, SampleConfig))
    model = load_generator(args.model, args.base, device_of(args))
    keys = _keys(model, args)
    if args.component is None:
        way = latents.walk(keys, args.frames, loop=args.loop)
    else:
        way = _swing(model, keys[0], config, args)
        config = config.model_copy(update={"truncation": 1.0, "truncation_cutoff": 0})
    frames = _with_bar(
        args.frames,
        "frame",
        lambda on_batch: latents.render(model, way, config, seed=args.seed, on_batch=on_batch),
    )
    _save_film(frames, args.output, args.fps, args.size)
    print(args.output)


def _keys(model: GanModel, args: Namespace) -> Latents:
    if args.latents is not None:
        return latents.load_latents(args.latents)
    return latents.sample_z(model, max(args.keys, 1), args.seed, args.label)


def _swing(model: GanModel, one: Latents, config: SampleConfig, args: Namespace) -> Latents:
    """There and back along a direction, as a pendulum swings."""
    args.components = args.component + 1
    strengths = args.reach * torch.sin(torch.arange(args.frames) * (2 * torch.pi / args.frames))
    one = latents.truncate(model, one, config.truncation, config.truncation_cutoff)
    layers = {"first": args.first_layer, "last": args.last_layer}
    return ganspace.edit(model, one, _directions(model, args), args.component, strengths, **layers)
