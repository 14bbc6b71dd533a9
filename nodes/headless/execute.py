"""Runs workflows in API format without ComfyUI: checks them first, then executes the nodes that the outputs need.

The rules are ComfyUI's (links, lists, hidden inputs, VALIDATE_INPUTS, file names); the code is this pack's own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import host
from .check import find_problems
from .workflow import Prompt, Registry, WorkflowError, execution_order, is_link, name_of, output_nodes, plain, title


@dataclass
class Report:
    """What a run has written and shown: files in order, and (title, text) for nodes that show text."""

    files: list[Path] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)


def run(
    prompt: Prompt,
    registry: Registry,
    *,
    on_node: Callable[[str, int, int], None] | None = None,
    report: Report | None = None,
) -> Report:
    """Check the workflow, then run the nodes that its outputs need, each once.

    Args:
        prompt: the workflow; values are converted to the types of their widgets in place.
        registry: node classes by id.
        on_node: called with (title, number, count) before each node.
        report: filled node by node, so that a caller who passes one knows what an interrupted run has written.
    """
    problems = find_problems(prompt, registry)
    if problems:
        raise WorkflowError(problems)
    report = Report() if report is None else report
    original = json.loads(json.dumps(prompt))  # nodes may change what they get; saved pictures carry the original
    order = execution_order(prompt, output_nodes(prompt, registry))
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
    """Run one node -> a list of values for each output, and what each call wants shown.

    As in ComfyUI, a node is called once for each element of its input lists, the shorter ones padded with their last
    element, unless it takes lists whole (INPUT_IS_LIST).
    """
    inputs = {
        name: results[value[0]][value[1]] if is_link(value) else [value]
        for name, value in prompt[key]["inputs"].items()
    }
    hidden = {"PROMPT": original, "UNIQUE_ID": key, "EXTRA_PNGINFO": None}
    inputs |= {name: [hidden.get(kind)] for name, kind in node.INPUT_TYPES().get("hidden", {}).items()}
    if getattr(node, "INPUT_IS_LIST", False):
        calls = [inputs]
    else:
        count = max(map(len, inputs.values()), default=1)
        calls = [{name: values[min(i, len(values) - 1)] for name, values in inputs.items()} for i in range(count)]
    instance = node()
    outputs: list[list[Any]] = [[] for _ in node.RETURN_TYPES]
    shown = []
    for arguments in calls:
        answer = getattr(instance, node.FUNCTION)(**arguments)
        if isinstance(answer, dict):
            shown.append(answer.get("ui", {}))
            answer = answer.get("result", ())
        is_list = getattr(node, "OUTPUT_IS_LIST", (False,) * len(outputs))
        for slot, value in enumerate(answer):
            outputs[slot] += value if is_list[slot] else [value]
    return outputs, shown


def _collect(report: Report, name: str, shown: list[dict]) -> None:
    for part in shown:
        for items in part.values():
            for item in items if isinstance(items, (list, tuple)) else ():
                if isinstance(item, dict) and "filename" in item:
                    folder = host.folder(item.get("type", "output"))
                    report.files.append(folder / item.get("subfolder", "") / item["filename"])
                elif isinstance(item, str):
                    report.texts.append((name, plain(item)))
