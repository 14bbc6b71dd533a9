"""Checks a whole workflow before anything runs."""

import graphlib
import inspect
import json
import math
from typing import Any

from ..widgets import fits
from .workflow import (
    WIDGETS,
    Prompt,
    Registry,
    declared_inputs,
    execution_order,
    is_link,
    is_widget,
    name_of,
    needed_nodes,
    output_nodes,
    parse_value,
    suggestion,
    title,
    unknown_input,
    words_of,
)


def find_problems(prompt: Prompt, registry: Registry) -> list[str]:
    """All that is wrong with a workflow, as sentences. Converts values to the types of their widgets in place."""
    unknown = [
        f"{name_of(prompt, key)}: no such node is known here{suggestion(node['class_type'], registry)}. "
        "Only this pack's nodes and a few of ComfyUI's own run without ComfyUI"
        for key, node in prompt.items()
        if node["class_type"] not in registry
    ]
    if unknown:
        return unknown
    outputs = output_nodes(prompt, registry)
    if not outputs:
        return ["nothing to do: the workflow has no node that saves or shows something (SaveImage, for example)"]
    problems = []
    for key in needed_nodes(prompt, outputs):
        problems += [f"{name_of(prompt, key)}: {problem}" for problem in _check_node(prompt, registry, key)]
    return problems or _check_cycles(prompt, outputs)


def _check_cycles(prompt: Prompt, outputs: list[str]) -> list[str]:
    try:
        execution_order(prompt, outputs)
    except graphlib.CycleError as error:
        names = " -> ".join(f'{key} "{title(prompt, key)}"' for key in reversed(error.args[1]))
        return [f"these nodes wait for each other: {names}. Remove one of the links"]
    return []


def _check_node(prompt: Prompt, registry: Registry, key: str) -> list[str]:
    """Problems of one node. ComfyUI's rules: VALIDATE_INPUTS replaces the checks of the inputs that it takes."""
    node = registry[prompt[key]["class_type"]]
    inputs = prompt[key]["inputs"]
    for name in getattr(node, "EDITOR_ONLY_INPUTS", ()):
        inputs.pop(name, None)
    declared = declared_inputs(node)
    taken = _taken_by_validation(node)
    linked_types = {}
    problems = {name: unknown_input(name, declared) for name in inputs if name not in declared}
    for name in declared_inputs(node, "required"):
        if name not in inputs:
            remedy = "give it a value" if is_widget(declared[name][0]) else "connect it"
            problems[name] = f"the input {name} is missing: {remedy}"
    for name, (kind, options) in declared.items():
        if name not in inputs:
            continue
        if isinstance(inputs[name], list):
            problem = _check_link(prompt, registry, inputs[name])
            if not problem:
                source, slot = inputs[name]
                linked_types[name] = given = registry[prompt[source]["class_type"]].RETURN_TYPES[slot]
                if "input_types" not in taken and not fits(given, kind):
                    problem = f"needs {words_of(kind)} but gets {words_of(given)} from {name_of(prompt, source)}"
        else:
            inputs[name], problem = _check_value(inputs[name], kind, options, name in taken)
        if problem:
            problems[name] = f"{name} {problem}"
    answer = "" if problems.keys() & taken else _validate(node, inputs, taken, linked_types)
    return [*problems.values(), answer] if answer else [*problems.values()]


def _taken_by_validation(node: type) -> set[str]:
    """The arguments of a node's VALIDATE_INPUTS."""
    function = getattr(node, "VALIDATE_INPUTS", None)
    if function is None:
        return set()
    spec = inspect.getfullargspec(function)
    return {*spec.args, *spec.kwonlyargs, *(declared_inputs(node) if spec.varkw else ())} - {"cls", "s"}


def _validate(node: type, inputs: dict[str, Any], taken: set[str], linked_types: dict[str, Any]) -> str:
    """The problem that a node's VALIDATE_INPUTS names, or "". It gets None for linked inputs."""
    if not taken:
        return ""
    values = {name: None if isinstance(value, list) else value for name, value in inputs.items() if name in taken}
    if "input_types" in taken:
        values["input_types"] = linked_types
    try:
        answer = node.VALIDATE_INPUTS(**values)
    except (ValueError, OSError) as error:
        answer = str(error)
    return "" if answer is True else answer or "its inputs do not fit together"


def _check_link(prompt: Prompt, registry: Registry, link: list) -> str:
    if not is_link(link):
        return f"must be a value or a link [node id, output number], not {json.dumps(link)}"
    source, slot = link
    if source not in prompt:
        return f"comes from node {source}, which is not in the workflow"
    count = len(registry[prompt[source]["class_type"]].RETURN_TYPES)
    if not 0 <= slot < count:
        return f"comes from output {slot} of {name_of(prompt, source)}, which has {count} outputs"
    return ""


def _check_value(value: Any, kind: Any, options: dict, validated: bool) -> tuple[Any, str]:
    """The converted value, and a problem or "". validated: the node checks lists and ranges itself."""
    if isinstance(value, dict) and set(value) == {"__value__"}:
        value = value["__value__"]
    choices = options.get("options", ()) if kind == "COMBO" else kind
    if isinstance(choices, (list, tuple)):
        if validated or value in choices:
            return value, ""
        shown = ", ".join(map(str, choices[:20])) + (", ..." if len(choices) > 20 else "")
        return value, f'"{value}" is not in its list{suggestion(str(value), choices)}: {shown or "it is empty"}'
    if kind not in WIDGETS:
        return value, "" if kind == "*" else f"must be connected to {kind}, {json.dumps(value)} is a plain value"
    try:
        value = _convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        return value, f"{json.dumps(value)} is not a {words_of(kind)}"
    if kind in ("INT", "FLOAT") and not validated:
        low, high = options.get("min", -math.inf), options.get("max", math.inf)
        if not low <= value <= high:
            return value, f"{value} is out of range: use {low} to {high}"
    return value, ""


def _convert(value: Any, kind: str) -> Any:
    if isinstance(value, (list, dict)) or value is None:
        raise TypeError(value)
    if kind == "BOOLEAN":
        return parse_value(str(value), kind)
    value = {"INT": int, "FLOAT": float}.get(kind, str)(value)
    if kind == "FLOAT" and not math.isfinite(value):
        raise ValueError(value)
    return value
