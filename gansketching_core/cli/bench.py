import itertools
import json
import math
import platform
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..experiments import bench as benchmark
from ..experiments import live_tensors
from ..files import atomic_write
from ..networks.stylegan2 import GanConfig
from ..training.distributed import Team
from ..training.finetune_config import PRESETS, FinetuneConfig
from ..training.micro_batches import MicroBatches
from .arguments import add_device
from .flags import build

SETTINGS = ("resolution", "batch", "micro_batch", "precision", "gradient_checkpointing", "processes")
RESULTS = {"discriminators": "D", "r1": "R1", "generator": "G", "iteration": "step", "training_memory": "GiB"}
RESULTS |= {"live_tensors": "tensors", "sample": "sample", "sampling_memory": "GiB"}


def bench(parser: ArgumentParser, argv: list[str]) -> None:
    """Measure fine-tuning steps and sampling on full-size StyleGAN2 networks with random weights, a row for each
    combination of settings: medians in seconds, peak memory in GiB. The columns D, R1 and G are the parts of a step;
    `step` has its share of R1. `tensors` is the memory of the tensors alone, counted without computing them; what
    libraries and the allocator use comes on top. Memory is that of one process."""
    add = parser.add_argument
    add("--resolution", type=int, nargs="+", default=[64], metavar="N", help="sides of the images")
    add("--batch", type=int, nargs="+", default=[4], metavar="N", help="images a step")
    add("--micro-batch", type=int, nargs="+", default=[0], metavar="N", help="images at a time; 0: the batch")
    add("--precision", choices=["auto", "float32", "bfloat16"], nargs="+", help="(default: the preset's)")
    add("--gradient-checkpointing", choices=["auto", "on", "off"], nargs="+", default=["auto"], help="less memory")
    add("--processes", type=int, nargs="+", default=[1], metavar="N", help="processes; they share the CPU's threads")
    add("--sketch-scale", type=float, choices=[1.0, 0.5, 0.25], default=1.0, help="size at which the sketcher draws")
    add("--steps", type=int, default=2, metavar="N", help="steps that count")
    add("--preset", choices=list(PRESETS), default="fast", help="training options")
    add("--memory-only", action="store_true", help="only count the tensors, which takes seconds")
    add("--json", type=Path, metavar="FILE", help="write the table to a file")
    add("--compare", type=Path, metavar="FILE", help="a file of an earlier run, to show what has changed")
    add_device(parser)
    args = parser.parse_args(argv)

    if args.steps < 1:
        raise ValueError(f"--steps {args.steps}: use 1 or more")
    earlier = _read(args.compare) if args.compare else {}
    precisions = args.precision or [FinetuneConfig.preset(args.preset).precision]
    values = (args.resolution, args.batch, args.micro_batch, precisions, args.gradient_checkpointing, args.processes)
    cases = [_case(dict(zip(SETTINGS, row)), args.preset, args.sketch_scale) for row in itertools.product(*values)]
    machine = {
        "device": str(args.device),
        "processor": torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "preset": args.preset,
        "sketch_scale": args.sketch_scale,
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items() if value != ""))
    print(f"{'px':>5} {'batch':>5} {'micro':>5} {'precision':>9} {'ckpt':>4} {'procs':>5} " + _cells(RESULTS.values()))
    rows = []
    for settings, gan, config in tqdm(cases, leave=False, dynamic_ncols=True):
        row: dict[str, Any] = {**settings, "live_tensors": live_tensors.count_live_tensors(gan, config) / 2**30}
        if not args.memory_only:
            processes = settings["processes"]
            report = benchmark.bench(
                gan, config.batch, config, device=args.device, steps=args.steps, processes=processes
            )
            row |= {name: getattr(report, name) for name in RESULTS if name != "live_tensors"}
        rows.append(row)
        tqdm.write(_line(row, [_number(row.get(name)) for name in RESULTS]))
        if before := earlier.get(_key(row)):
            tqdm.write(_line(row, [_change(before.get(name), row.get(name)) for name in RESULTS]))
    if args.json:
        text = json.dumps({"machine": machine, "rows": rows}, indent=1)
        atomic_write(args.json, lambda path: path.write_text(text, "utf-8"))


def _case(settings: dict[str, Any], preset: str, sketch_scale: float) -> tuple[dict, GanConfig, FinetuneConfig]:
    gan = build(GanConfig, resolution=settings["resolution"])
    options = {name: value for name, value in settings.items() if name not in ("resolution", "processes")}
    options["batch_statistics"] = False  # which micro-batches would change
    config = build(lambda **given: FinetuneConfig.preset(preset, **given), sketch_scale=sketch_scale, **options)
    team = Team()
    team.size = settings["processes"]
    if team.size < 1:
        raise ValueError(f"--processes {team.size}: use 1 or more")
    MicroBatches(config.batch, config.micro_batch, group=gan.stddev_group, team=team)  # raises before long work
    return settings, gan, config


def _read(path: Path) -> dict[tuple, dict[str, Any]]:
    """Settings -> the row of an earlier run."""
    try:
        return {_key(row): row for row in json.loads(path.read_text("utf-8"))["rows"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--compare {path} is not a file that bench --json has written ({error!r})") from error


def _key(row: dict[str, Any]) -> tuple:
    return tuple(row[name] for name in SETTINGS)


def _line(row: dict[str, Any], cells: list[str]) -> str:
    px, batch, micro_batch, precision, checkpointing, processes = _key(row)
    settings = f"{px:>5} {batch:>5} {micro_batch:>5} {precision:>9} {checkpointing:>4} {processes:>5} "
    return settings + _cells(cells)


def _cells(values: Iterable[str]) -> str:
    return " ".join(f"{value:>8}" for value in values)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _change(before: float | None, now: float | None) -> str:
    return f"{now / before - 1:+.0%}" if before and now else "-"
