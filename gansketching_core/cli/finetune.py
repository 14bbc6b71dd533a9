from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.native import save_customised
from ..datasets import ImageSet
from ..images import grid, save_png
from ..latents.sampling import render, sample_z
from ..networks.stylegan2 import GanModel
from ..sketches.prepare import SketchConfig
from ..training.finetune_config import PRESETS, FinetuneConfig
from ..training.finetune_run import customise
from .arguments import MODEL_HELP, SKETCHER_HELP, add_device, load_generator, load_sketches
from .flags import add_flags, build, parse, read_flags
from .processes import join
from .progress import training_bar


def finetune(parser: ArgumentParser, argv: list[str]) -> None:
    """Customise a generator so that its images follow one or a few sketches. Ctrl-C stops the training; the same
    command goes on from there, and returns at once if it has finished before."""
    add = parser.add_argument
    add("--model", default="fruit", metavar="MODEL", help=MODEL_HELP)
    add("--base", metavar="MODEL", help="for a customised --model: the model it was made from")
    add("--sketches", nargs="+", required=True, type=Path, metavar="PATH", help="drawings: files, folders or zips")
    add("--sketcher", default="sketcher", help=SKETCHER_HELP)
    add("--images", type=Path, metavar="PATH", help="folder or zip of photos like those the model was trained on")
    add("--preset", choices=list(PRESETS), default="fast", help="the values of options that are not given")
    add("--output", type=Path, default=Path("customised.safetensors"), metavar="FILE", help="the customised model")
    add("--preview", type=Path, metavar="FILE", help="sketches, and samples before and after (default: OUTPUT.png)")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of unfinished and finished trainings")
    add("--resume", action=BooleanOptionalAction, default=True, help="go on with an unfinished run")
    add_device(parser)
    add_flags(parser, FinetuneConfig, "training options")
    args, sketch_config = parse(parser, argv, SketchConfig, "preparation of the sketches")

    config = build(lambda **given: FinetuneConfig.preset(args.preset, **given), **read_flags(args, FinetuneConfig))
    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: models are written as .safetensors")
    team, device = join(args.device)
    model = load_generator(args.model, args.base, device)
    label = config.class_index if model.config.class_count else None
    sketcher, sketches = load_sketches(args, model, sketch_config, label)
    sketches = team.first(lambda: sketches)  # the last bits may differ between machines
    photos = ImageSet(args.images, model.config.resolution) if args.images else None
    with training_bar(config.steps, shown=team.writes) as (on_step, poll):
        options = {"folder": args.runs, "images": photos, "poll": poll, "resume": args.resume, "team": team}
        result = customise(
            model, sketches, sketcher, config, device=device, on_step=lambda report, _: on_step(report), **options
        )
    preview = args.preview or args.output.with_suffix(".png")

    def save() -> None:
        save_customised(result.model, args.output, trainable=config.trainable, settings=config.model_dump())
        save_png(before_and_after(model, result.model, sketches, config.class_index), preview)

    team.first(save)
    took = "kept from before" if result.from_cache else f"{config.steps} steps, {result.seconds:.0f} s"
    print(f"{result.match}\n{args.output} ({took})\n{preview} (sketches, before, after)")


def before_and_after(
    before: GanModel, after: GanModel, sketches: Tensor, class_index: int = 0, count: int = 8
) -> Tensor:
    """Rows of `count`: sketches, samples of both models from the same latents -> [1,3,h,w] in -1..1."""
    z = sample_z(before, count, labels=class_index if before.config.class_count else None)
    rows = [render(model, z).clamp(-1, 1).cpu() for model in (before, after)]
    paper = torch.ones_like(rows[0])
    paper[: len(sketches)] = sketches[:count].cpu()
    return grid(torch.cat([paper, *rows]), count)
