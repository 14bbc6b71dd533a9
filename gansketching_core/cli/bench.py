from __future__ import annotations

from argparse import ArgumentParser

import torch
from tqdm import tqdm

from ..experiments import bench as benchmark
from ..networks.stylegan2 import GanConfig
from ..training.finetune_config import PRESETS, FinetuneConfig
from .arguments import add_device
from .flags import build


def bench(parser: ArgumentParser, argv: list[str]) -> None:
    """Measure fine-tuning steps and sampling on full-size StyleGAN2 networks with random weights: medians in seconds,
    peak memory in GiB. The columns D, R1 and G are the parts of a step; `step` has its share of R1."""
    add = parser.add_argument
    add("--resolution", type=int, nargs="+", default=[64], metavar="N", help="sides of the images")
    add("--batch", type=int, default=4, metavar="N", help="images a step")
    add("--steps", type=int, default=2, metavar="N", help="steps that count")
    add("--preset", choices=list(PRESETS), default="fast", help="training options")
    add("--precision", choices=["auto", "float32", "bfloat16"], help="(default: the preset's)")
    add_device(parser)
    args = parser.parse_args(argv)

    if args.steps < 1:
        raise ValueError(f"--steps {args.steps}: use 1 or more")
    changes = {"precision": args.precision} if args.precision else {}
    config = build(lambda **given: FinetuneConfig.preset(args.preset, **given), batch=args.batch, **changes)
    sizes = [build(GanConfig, resolution=resolution) for resolution in args.resolution]
    software = f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    print(f"{args.device}, {software}, batch {args.batch}, {args.preset}")
    print(f"{'px':>5} {'D':>8} {'R1':>8} {'G':>8} {'step':>8} {'GiB':>7} {'sample':>8} {'GiB':>7}")
    for gan in tqdm(sizes, leave=False, dynamic_ncols=True):
        report = benchmark.bench(gan, args.batch, config, device=args.device, steps=args.steps)
        times = [report.discriminators, report.r1, report.generator, report.iteration]
        cells = " ".join(f"{value:8.3f}" for value in times)
        tqdm.write(
            f"{gan.resolution:>5} {cells} {report.training_memory:7.2f} {report.sample:8.3f} "
            f"{report.sampling_memory:7.2f}"
        )
