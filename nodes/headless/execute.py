"""Runs API-format workflows without ComfyUI: check everything first, then execute what the outputs need.

The rules follow ComfyUI's (links, lists, hidden inputs, VALIDATE_INPUTS, file names); the code is this pack's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import host
from .check import execution_order, find_problems
from .workflow import Prompt, Registry, WorkflowError, is_link, name_of, plain, title


@dataclass
class Report:
    """What a run has written and said: files in order, texts of nodes that show text as (title, text)."""

    files: list[Path] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)


def run(
    prompt: Prompt,
    registry: Registry,
    *,
    on_node: Callable[[str, int, int], None] | None = None,
    report: Report | None = None,
) -> Report:
    """Check, then run what the outputs need, each node once. `on_node(title, number, count)` comes before each.

    `report` is filled as the run goes, so that a caller who passes one knows what an interrupted run has written.
    """
    problems = find_problems(prompt, registry)
    if problems:
        raise WorkflowError(problems)
    report = Report() if report is None else report
    original = json.loads(json.dumps(prompt))  # nodes may change what they get; saved pictures carry the original
    order = execution_order(
        prompt, [k for k in prompt if getattr(registry[prompt[k]["class_type"]], "OUTPUT_NODE", False)]
    )
    results: dict[str, list[list[Any]]] = {}
    for number, key in enumerate(order):
        host.poll()
        if on_node is not None:
            on_node(title(prompt, key), number, len(order))
        try:
            with torch.inference_mode():  # as in ComfyUI
                results[key], shown = _execute(registry[prompt[key]["class_type"]], prompt, key, results, original)
        except (ValueError, OSError) as error:
            raise WorkflowError([f"{name_of(prompt, key)}: {error}"]) from error
        except Exception as error:
            raise RuntimeError(f"{name_of(prompt, key)}: {type(error).__name__}: {error}") from error
        _collect(report, title(prompt, key), shown)
    return report


def _execute(
    node: type, prompt: Prompt, key: str, results: dict[str, list[list[Any]]], original: Prompt
) -> tuple[list[list[Any]], list[dict]]:
    """-> (for each output a list of values, what each call wants shown). ComfyUI's rules for lists."""
    inputs = {
        name: results[value[0]][value[1]] if is_link(value) else [value]
        for name, value in prompt[key]["inputs"].items()
    }
    hidden = {"PROMPT": original, "UNIQUE_ID": key, "EXTRA_PNGINFO": None}
    inputs |= {name: [hidden.get(kind)] for name, kind in node.INPUT_TYPES().get("hidden", {}).items()}
    function = getattr(node(), node.FUNCTION)
    if getattr(node, "INPUT_IS_LIST", False):
        answers = [function(**inputs)]
    else:
        count = max(map(len, inputs.values()), default=1)
        answers = [function(**{n: v[min(i, len(v) - 1)] for n, v in inputs.items()}) for i in range(count)]
    shown = [answer["ui"] for answer in answers if isinstance(answer, dict) and "ui" in answer]
    values = [answer.get("result", ()) if isinstance(answer, dict) else answer for answer in answers]
    as_lists = getattr(node, "OUTPUT_IS_LIST", (False,) * len(node.RETURN_TYPES))
    return [
        [x for value in values for x in (value[slot] if is_list else [value[slot]])]
        for slot, is_list in enumerate(as_lists)
    ], shown


def _collect(report: Report, name: str, shown: list[dict]) -> None:
    for part in shown:
        for items in part.values():
            for item in items if isinstance(items, (list, tuple)) else ():
                if isinstance(item, dict) and "filename" in item:
                    folder = host.folder(item.get("type", "output"))
                    report.files.append(folder / item.get("subfolder", "") / item["filename"])
                elif isinstance(item, str):
                    report.texts.append((name, plain(item)))
