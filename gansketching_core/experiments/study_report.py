"""The study as a page: tables in Markdown, and a sheet of samples for each class."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ..images import grid
from .study import METHODS, Cell, Study

HEADINGS = {
    "frechet": "Frechet distance",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "distance": "sketch distance",
    "beats": "beat the median",
    "steps": "steps",
    "seconds": "seconds",
}
FORMATS = {
    "frechet": "{:.1f}",
    "kid": "{:.2f}",
    "precision": "{:.2f}",
    "recall": "{:.2f}",
    "distance": "{:.4f}",
    "beats": "{:.2f}",
    "steps": "{:.0f}",
    "seconds": "{:.0f}",
}
GROUPS = {
    "Against the original and the baselines": "main",
    "Against the preset `paper`, cut short": "paper",
    "Ablations of the preset `fast`": "ablations",
    "Number and kind of sketches": "sketches",
}
LABEL, TILE = 170, 64
SHEET = ("original", "shift", "shift-features", "w-shift", "fast", "paper")
LINES = ("sketches", "held-out photos")

Results = dict[Cell, dict]


def tables(results: Results, targets: Sequence[str]) -> str:
    """Markdown tables of what has been measured; missing cells are "-". Within a table only like is compared with like:
    seeds that all its rows have, and in its means only classes that all its rows have."""
    parts = []
    for heading, group in GROUPS.items():
        methods = [name for name, method in METHODS.items() if method.group == group and _of(results, name)]
        if not methods:
            continue
        if group != "main" and _of(results, "fast"):
            methods.insert(0, "fast")
        alike = _same_seeds(results, methods)
        parts += [f"## {heading}", _by_class(alike, targets, methods), _all_numbers(alike, targets, methods)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _of(results: Results, method: str, target: str | None = None) -> list[dict]:
    return [r for cell, r in results.items() if cell.method == method and target in (None, cell.target)]


def _same_seeds(results: Results, methods: Sequence[str]) -> Results:
    seeds = set.intersection(*({cell.seed for cell in results if cell.method == name} for name in methods))
    return {cell: found for cell, found in results.items() if cell.seed in seeds}


def _by_class(results: Results, targets: Sequence[str], methods: Sequence[str]) -> str:
    """Frechet distances: a row a method, a column a class; mean and spread over the seeds."""
    rows = [["Frechet distance to held-out photos", *targets, "mean"]]
    for name in methods:
        found = [[r["frechet"] for r in _of(results, name, target)] for target in targets]
        means = [statistics.mean(values) for values in found if values]
        whole = FORMATS["frechet"].format(statistics.mean(means)) if len(means) == len(targets) else "-"
        rows.append([METHODS[name].title, *(spread(values, FORMATS["frechet"]) for values in found), whole])
    return _markdown(rows)


def _all_numbers(results: Results, targets: Sequence[str], methods: Sequence[str]) -> str:
    """Every number: a row a method, means over the classes that all of them were measured for."""
    shared = [target for target in targets if all(_of(results, name, target) for name in methods)]
    if not shared:
        return ""
    rows = [[f"mean over {', '.join(shared)}", *HEADINGS.values(), "seeds"]]
    for name in methods:
        per_class = [_of(results, name, target) for target in shared]
        row = [METHODS[name].title]
        for key in HEADINGS:
            mean = statistics.mean(statistics.mean(found[key] for found in entries) for entries in per_class)
            row.append(FORMATS[key].format(mean))
        rows.append([*row, f"{statistics.mean(map(len, per_class)):.2g}"])
    return _markdown(rows)


def spread(values: Sequence[float], form: str) -> str:
    """Mean, and from two values on the standard deviation; "-" without any."""
    if not values:
        return "-"
    mean = form.format(statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {form.format(statistics.stdev(values))}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def environment() -> str:
    """Where it was measured, in a line."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    threads, version = torch.get_num_threads(), torch.__version__.split("+")[0]
    return f"{device}, {threads} of {os.cpu_count()} cores, PyTorch {version}"


def sheet(study: Study, target: str, path: Path, seed: int = 0) -> None:
    """A picture: sketches, held-out photos, then the same latents by each method that has been measured."""
    count = 12
    lines = [("sketches", study.drawings(target, seed)), ("held-out photos", study.held_out(target, seed))]
    rows = [(title, grid(x[:count].expand(-1, 3, -1, -1), count)[0]) for title, x in lines]
    picture = Image.new("RGB", (LABEL + count * (TILE + 2), len(SHEET + LINES) * (TILE + 4)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    y = 0
    for title, x in rows:
        strip = Image.fromarray(((x.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy())
        y = _paste(picture, draw, font, y, title, strip)
    for name in SHEET:
        file = study.path(Cell(target, name, seed)).with_suffix(".png")
        if study.kept(Cell(target, name, seed)) and file.exists():
            with Image.open(file) as strip:
                y = _paste(picture, draw, font, y, METHODS[name].title.removeprefix("full method, "), strip)
    picture.crop((0, 0, picture.width, y)).save(path, quality=88)


def _paste(picture: Image.Image, draw: ImageDraw.ImageDraw, font, y: int, title: str, strip: Image.Image) -> int:
    width = picture.width - LABEL
    height = round(strip.height * width / strip.width)
    picture.paste(strip.resize((width, height), Image.Resampling.LANCZOS), (LABEL, y))
    words, line, lines = title.split(), "", []
    for word in words:
        if font.getlength(f"{line} {word}".strip()) > LABEL - 12:
            lines, line = [*lines, line], word
        else:
            line = f"{line} {word}".strip()
    draw.multiline_text((4, y + height // 2), "\n".join([*lines, line]), fill="black", font=font, anchor="lm")
    return y + height + 4
