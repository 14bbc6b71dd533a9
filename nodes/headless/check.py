"""Everything that can be wrong with a workflow, found before anything runs."""

from __future__ import annotations

import graphlib
import inspect
import json
import math
from typing import Any

from .workflow import (
    WIDGETS,
    Prompt,
    Registry,
    _parse,
    declared_inputs,
    is_link,
    is_widget,
    links,
    name_of,
    suggestion,
    title,
    unknown_input,
    words_of,
)


def find_problems(prompt: Prompt, registry: Registry) -> list[str]:
    """Everything that is wrong, in plain sentences; values are converted to their widget's type in place."""
    found = [
        f"{name_of(prompt, key)}: no such node is known here{suggestion(node['class_type'], registry)}. "
        "Only this pack's nodes and a few of ComfyUI's own run without ComfyUI"
        for key, node in prompt.items()
        if node["class_type"] not in registry
    ]
    if found:
        return found
    outputs = [k for k in prompt if getattr(registry[prompt[k]["class_type"]], "OUTPUT_NODE", False)]
    if not outputs:
        return ["nothing to do: the workflow has no node that saves or shows something (SaveImage, for example)"]
    for key in needed(prompt, outputs):
        found += _check_node(prompt, registry, key)
    return found or _check_cycles(prompt, outputs)


def needed(prompt: Prompt, outputs: list[str]) -> list[str]:
    """The outputs and all that they depend on, in the order of the file."""
    todo, seen = list(outputs), set()
    while todo:
        key = todo.pop()
        if key not in seen:
            seen.add(key)
            todo += [link[0] for _, link in links(prompt[key]) if link[0] in prompt]
    return [key for key in prompt if key in seen]


def _check_cycles(prompt: Prompt, outputs: list[str]) -> list[str]:
    try:
        execution_order(prompt, outputs)
    except graphlib.CycleError as error:
        names = " -> ".join(f'{key} "{title(prompt, key)}"' for key in reversed(error.args[1]))
        return [f"these nodes wait for each other: {names}. Remove one of the links"]
    return []


def execution_order(prompt: Prompt, outputs: list[str]) -> list[str]:
    graph = {key: [link[0] for _, link in links(prompt[key])] for key in needed(prompt, outputs)}
    return list(graphlib.TopologicalSorter(graph).static_order())


def _check_node(prompt: Prompt, registry: Registry, key: str) -> list[str]:
    node, inputs = registry[prompt[key]["class_type"]], prompt[key]["inputs"]
    declared, ignored = declared_inputs(node), getattr(node, "EDITOR_ONLY_INPUTS", ())
    for name in ignored:
        inputs.pop(name, None)
    found = [unknown_input(prompt, key, name, declared) for name in inputs if name not in declared]
    own_check, received, bad = _validator(node), {}, set()
    for name in declared_inputs(node, "required"):
        if name not in inputs:
            remedy = "give it a value" if is_widget(declared[name][0]) else "connect it"
            found.append(f"{name_of(prompt, key)}: the input {name} is missing: {remedy}")
            bad.add(name)
    for name, (kind, options) in declared.items():
        if name not in inputs:
            continue
        if isinstance(inputs[name], list):
            problem, received[name] = _check_link(prompt, registry, inputs[name], kind, "input_types" in own_check)
        else:
            inputs[name], problem = _check_value(inputs[name], kind, options, name in own_check)
        if problem:
            found.append(f"{name_of(prompt, key)}: {name} {problem}")
            bad.add(name)
    return found if bad & own_check else found + _custom_check(prompt, node, key, own_check, received)


def _validator(node: type) -> set[str]:
    """Names of the inputs that the node checks itself (then ComfyUI leaves range and list to it)."""
    function = getattr(node, "VALIDATE_INPUTS", None)
    if function is None:
        return set()
    spec = inspect.getfullargspec(function)
    return {*spec.args, *spec.kwonlyargs, *(declared_inputs(node) if spec.varkw else ())} - {"cls", "s"}


def _check_link(prompt: Prompt, registry: Registry, link: list, kind: Any, own: bool) -> tuple[str, str | None]:
    if not is_link(link):
        return f"must be a value or a link [node id, output number], not {json.dumps(link)}", None
    source, slot = link
    if source not in prompt:
        return f"comes from node {source}, which is not in the workflow", None
    types = registry[prompt[source]["class_type"]].RETURN_TYPES
    if not 0 <= slot < len(types):
        return f"comes from output {slot} of {name_of(prompt, source)}, which has {len(types)} outputs", None
    given, wanted = types[slot], kind
    if own or _fits(given, wanted):
        return "", given
    return f"needs {words_of(wanted)} but gets {words_of(given)} from {name_of(prompt, source)}", given


def _fits(given: Any, wanted: Any) -> bool:
    if given == wanted or "*" in (given, wanted) or (isinstance(wanted, (list, tuple)) and given in ("*", "COMBO")):
        return True
    if not isinstance(given, str) or not isinstance(wanted, str):
        return False
    return bool({t.strip() for t in given.split(",")} & {t.strip() for t in wanted.split(",")})


def _check_value(value: Any, kind: Any, options: dict, own: bool) -> tuple[Any, str]:
    """(converted value, problem or "")."""
    if isinstance(value, dict) and set(value) == {"__value__"}:
        value = value["__value__"]
    choices = kind if isinstance(kind, (list, tuple)) else options.get("options", ()) if kind == "COMBO" else None
    if choices is not None:
        if own or value in choices:
            return value, ""
        shown = ", ".join(map(str, choices[:20])) + (", ..." if len(choices) > 20 else "")
        return value, f'"{value}" is not in its list{suggestion(str(value), choices)}: {shown or "it is empty"}'
    if kind not in WIDGETS:
        return value, "" if kind == "*" else f"must be connected to {kind}, {json.dumps(value)} is a plain value"
    try:
        value = _convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        return value, f"{json.dumps(value)} is not a {words_of(kind)}"
    if kind in ("INT", "FLOAT") and not own:
        low, high = options.get("min", -math.inf), options.get("max", math.inf)
        if not low <= value <= high:
            return value, f"{value} is out of range: use {low} to {high}"
    return value, ""


def _convert(value: Any, kind: str) -> Any:
    if isinstance(value, (list, dict)) or value is None:
        raise TypeError(value)
    if kind == "BOOLEAN":
        return _parse(str(value), kind)
    value = {"INT": int, "FLOAT": float}.get(kind, str)(value)
    if kind == "FLOAT" and not math.isfinite(value):
        raise ValueError(value)
    return value


def _custom_check(prompt: Prompt, node: type, key: str, names: set[str], received: dict) -> list[str]:
    if not names:
        return []
    inputs = prompt[key]["inputs"]
    given = {name: None if isinstance(value, list) else value for name, value in inputs.items() if name in names}
    if "input_types" in names:
        given["input_types"] = received
    try:
        answer = node.VALIDATE_INPUTS(**given)
    except (ValueError, OSError) as error:
        answer = str(error)
    if answer is True:
        return []
    return [f"{name_of(prompt, key)}: {answer or 'its inputs do not fit together'}"]
