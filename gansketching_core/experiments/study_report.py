"""The study as a page: tables in Markdown, and a sheet of samples for each class."""

import os
import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ..images import decode_image, grid, to_comfy
from .study import SHOWN, Study
from .study_plan import METHODS, Cell

COLUMNS = {  # number of a cell: heading, format
    "frechet": ("Frechet distance", "{:.1f}"),
    "frechet_kinds": ("in the kinds' features", "{:.2f}"),
    "kid": ("KID x 1000", "{:.0f}"),
    "precision": ("precision", "{:.2f}"),
    "recall": ("recall", "{:.2f}"),
    "distance": ("sketch distance", "{:.4f}"),
    "beats": ("beat the median", "{:.2f}"),
    "shape": ("have the shape", "{:.2f}"),
    "colours": ("colours kept", "{:.2f}"),
    "steps": ("steps", "{:.0f}"),
    "seconds": ("seconds", "{:.0f}"),
}
BY_CLASS = {  # heading of the table of a number by classes; but for the first, of the main table alone
    "frechet": "Frechet distance to held-out photos",
    "frechet_kinds": "Frechet distance in the features of a network that saw no ImageNet",
    "shape": "share of samples that have the shape of a sketch",
    "colours": "colours kept",
}
GROUPS = {
    "Against the original and the baselines": "main",
    "Against the preset `paper`, cut short": "paper",
    "Ablations of the preset `fast`": "ablations",
    "Number and kind of sketches": "sketches",
}
SHEET = ("original", "shift", "shift-features", "w-shift", "fast", "paper")
LABEL, TILE = 170, 66  # widths in pixels

Results = dict[Cell, dict]


def tables(results: Results, targets: Sequence[str]) -> str:
    """Markdown tables of what has been measured; missing cells are "-".

    A table compares like with like: only the seeds, and in its means only the classes, that all its rows have.
    """
    parts = []
    for heading, group in GROUPS.items():
        methods = [name for name, method in METHODS.items() if method.group == group and _of(results, name)]
        if not methods:
            continue
        if group != "main" and _of(results, "fast"):
            methods.insert(0, "fast")
        shared = _with_shared_seeds(results, methods)
        by_class = [_by_class(shared, targets, methods, key) for key in BY_CLASS if group == "main" or key == "frechet"]
        parts += [f"## {heading}", *by_class, _all_numbers(shared, targets, methods)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _of(results: Results, method: str, target: str | None = None) -> list[dict]:
    return [r for cell, r in results.items() if cell.method == method and target in (None, cell.target)]


def _with_shared_seeds(results: Results, methods: Sequence[str]) -> Results:
    seeds = set.intersection(*({cell.seed for cell in results if cell.method == name} for name in methods))
    return {cell: result for cell, result in results.items() if cell.seed in seeds}


def _by_class(results: Results, targets: Sequence[str], methods: Sequence[str], key: str = "frechet") -> str:
    """One number: a row for each method, a column for each class; mean and spread over the seeds."""
    form = COLUMNS[key][1]
    rows = [[BY_CLASS[key], *targets, "mean"]]
    for name in methods:
        row, means = [METHODS[name].title], []
        for target in targets:
            values = [result[key] for result in _of(results, name, target)]
            row.append(_spread(values, form))
            means += [statistics.mean(values)] if values else []
        row.append(form.format(statistics.mean(means)) if len(means) == len(targets) else "-")
        rows.append(row)
    return _markdown(rows)


def _all_numbers(results: Results, targets: Sequence[str], methods: Sequence[str]) -> str:
    """Every number: a row for each method, means over the classes that all of them were measured for."""
    shared = [target for target in targets if all(_of(results, name, target) for name in methods)]
    if not shared:
        return ""
    rows = [[f"mean over {', '.join(shared)}", *(heading for heading, _ in COLUMNS.values()), "seeds"]]
    for name in methods:
        per_class = [_of(results, name, target) for target in shared]
        row = [METHODS[name].title]
        for key, (_, form) in COLUMNS.items():
            means = [statistics.mean(result[key] for result in class_results) for class_results in per_class]
            row.append(form.format(statistics.mean(means)))
        rows.append([*row, f"{statistics.mean(map(len, per_class)):.2g}"])
    return _markdown(rows)


def _spread(values: Sequence[float], form: str) -> str:
    """Mean, and from two values on the standard deviation; "-" without any."""
    if not values:
        return "-"
    mean = form.format(statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {form.format(statistics.stdev(values))}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def environment() -> str:
    """The machine and software of the measurements, in a line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    version = torch.__version__.split("+")[0]
    return f"{device}, {torch.get_num_threads()} of {os.cpu_count()} cores, PyTorch {version}"


def sheet(study: Study, target: str, path: Path, seed: int = 0) -> None:
    """Write a picture: sketches, held-out photos, then samples of the same latents by each measured method."""
    sketches = _strip(study.drawings(target, seed))
    rows = [("sketches", sketches), ("held-out photos", _strip(study.held_out(target, seed)))]
    for name in SHEET:
        cell = Cell(target, name, seed)
        file = study.path(cell).with_suffix(".png")
        if study.kept(cell) and file.exists():
            title = METHODS[name].title.removeprefix("full method, ")
            rows.append((title, decode_image(file.read_bytes(), str(file))))
    picture = Image.new("RGB", (LABEL + SHOWN * TILE, len(rows) * (TILE + 2)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for row, (title, strip) in enumerate(rows):
        top = row * (TILE + 2)
        strip = strip.resize((SHOWN * TILE, TILE), Image.Resampling.LANCZOS)
        picture.paste(strip, (LABEL, top))
        text = "\n".join(textwrap.wrap(title, 22))
        pen.multiline_text((4, top + TILE // 2), text, fill="black", font=font, anchor="lm")
    picture.save(path, quality=88)


def _strip(images: torch.Tensor) -> Image.Image:
    """The first images of [N,1 or 3,R,R] in -1..1, side by side."""
    pixels = to_comfy(grid(images[:SHOWN], SHOWN))[0] * 255
    return Image.fromarray(pixels.byte().numpy())
