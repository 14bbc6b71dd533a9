import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from ..experiments.study import Study
from ..experiments.study_plan import METHODS, Cell, plan
from ..experiments.study_report import environment, sheet, tables
from ..files import atomic_write
from ..networks.feature_networks import EXTRACTORS, OFFLINE, load_extractor
from ..training.distributed import Team
from ..training.placement import PlacementConfig, placement_of
from .arguments import SKETCHER_HELP, load_generator, load_sketcher
from .pack import pack_root
from .processes import join
from .progress import interruptible


@dataclass(frozen=True)
class _Defaults:
    """What a study measures, unless the options say otherwise."""

    model: str
    sketcher: str
    classes: tuple[str, ...]
    placed: bool  # whether photos are placed at random, as the model's training pictures were


STUDIES = {
    "fruit": _Defaults("fruit", "sketcher", ("banana", "pineapple", "strawberry", "avocado", "lemon"), placed=True),
    "poses": _Defaults(
        "horse",
        "sketcher_scenes",
        ("rearing", "galloping", "standing", "from-the-front", "head-down"),
        placed=False,  # tools/horse_pictures.py has done it
    ),
}


def study(parser: ArgumentParser, argv: list[str]) -> None:
    """Measure how near the samples of models that were customised with sketches of a class are to photos of that
    class: the method, its baselines and ablations. Takes hours on a CPU. Ctrl-C keeps all that has been measured, and
    the same command goes on. Several processes (torchrun) share out the measurements, each of a method for a class
    with a seed: these are called cells."""
    add = parser.add_argument
    add("name", choices=list(STUDIES), help="fruit: kinds of fruit; poses: horses in five poses")
    add("--data", type=Path, required=True, help="folder or zip of photos, a folder for each variety or pose")
    add("--output", type=Path, default=Path("study"), metavar="FOLDER", help="folder of results")
    add("--model", help="model file, or the name of a bundled model (default: the study's)")
    add("--sketcher", metavar="NAME", help=f"{SKETCHER_HELP} (default: the study's)")
    add("--extractor", choices=list(EXTRACTORS), default=OFFLINE, help="network that images are compared by")
    add("--classes", nargs="+", metavar="CLASS", help="what is measured (default: five of the study's)")
    add("--methods", nargs="+", default=list(METHODS), metavar="METHOD", help="what is compared")
    add("--seeds", type=int, default=3, metavar="N", help="seeds of the main table")
    add("--samples", type=int, default=500, metavar="N", help="samples in each cell")
    add("--steps", type=int, metavar="N", help="length of every training, to try things out")
    add("--report-only", action="store_true", help="write the tables of what has been measured")
    args = parser.parse_args(argv)

    defaults = STUDIES[args.name]
    args.classes = args.classes or list(defaults.classes)
    if args.seeds < 1:
        raise ValueError(f"--seeds {args.seeds}: use 1 or more")
    human = {folder.name: folder for folder in (pack_root() / "samples" / "sketches").iterdir() if folder.is_dir()}
    cells = plan(args.classes, args.methods, args.seeds, human)
    team, cpu = join(torch.device("cpu"))
    model = load_generator(args.model or defaults.model, None, cpu)
    with interruptible() as poll:
        sketcher = load_sketcher(args.sketcher or defaults.sketcher, cpu)
        extractor = load_extractor(args.extractor)
        options = {"samples": args.samples, "human": human, "steps": args.steps, "poll": poll}
        placement = placement_of(model) if defaults.placed else PlacementConfig(flip=False)
        task = Study(args.data, model, sketcher, extractor, args.output, placement=placement, **options)
        task.check(args.classes)
        try:
            if not args.report_only:
                todo = team.first(lambda: [cell for cell in cells if task.kept(cell) is None])
                team.agree(lambda: _measure(task, todo, team))
        except KeyboardInterrupt:
            print("Stopped; all measured cells are kept: the same command goes on.", file=sys.stderr)
            raise
        finally:
            if team.writes:
                _report(task, cells, args)


def _measure(task: Study, cells: list[Cell], team: Team) -> None:
    """Measures those cells that no other process measures."""
    with tqdm(total=len(cells), desc="study", unit="cell", dynamic_ncols=True, disable=not team.writes) as bar:
        for number, cell in team.claim(list(enumerate(cells))):
            bar.update(number - bar.n)  # those before are measured, or being measured by other processes
            bar.set_postfix_str(str(cell))
            result = task.measure(cell)
            bar.write(f"{cell}: Frechet distance {result['frechet']:.1f}, {result['seconds']:.0f} s", file=sys.stderr)
        bar.update(len(cells) - bar.n)


def _report(task: Study, cells: list[Cell], args: Namespace) -> None:
    kept = {cell: task.kept(cell) for cell in cells}
    results = {cell: result for cell, result in kept.items() if result}
    if not results:
        return
    extractor = next(iter(results.values()))["extractor"]
    head = f"Extractor: {extractor}; {args.samples} samples in each cell. {environment()}.\n\n"
    page = head + tables(results, args.classes)
    atomic_write(args.output / "tables.md", lambda path: path.write_text(page, "utf-8"))
    for target in args.classes:
        sheet(task, target, args.output / f"{target}.jpg")
    print(f"{args.output / 'tables.md'}: {len(results)} of {len(cells)} cells")
