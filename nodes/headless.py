"""Runs API-format workflow JSON without ComfyUI: check everything first, then execute what the outputs need.

The rules follow ComfyUI's (links, lists, hidden inputs, VALIDATE_INPUTS, file names); the code is this pack's own.
"""

from __future__ import annotations

import difflib
import graphlib
import inspect
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from . import host

Prompt = dict[str, dict[str, Any]]
Registry = Mapping[str, type]
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class WorkflowError(ValueError):
    """What is wrong with a workflow, one problem per line."""

    def __init__(self, problems: list[str]):
        self.problems = [plain(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def plain(text: str) -> str:
    """Without control characters: what strangers write must not steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


@dataclass
class Report:
    """What a run has written and said: files in order, texts of nodes that show text as (title, text)."""

    files: list[Path] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)


# ---------------------------------------------------------------------------------------------------------- reading


def read_workflow(path: Path) -> Prompt:
    """API-format JSON (also the body of a /prompt request), or a PNG that ComfyUI or this runner saved."""
    try:
        text = _prompt_in_png(path) if path.suffix.lower() == ".png" else path.read_text("utf-8")
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkflowError([f"{path} is no JSON: {error}"]) from error
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        twin = path.parent / "api" / path.name
        remedy = f"run {twin}" if twin.is_file() else "in ComfyUI, save it with Workflow > Export (API)"
        raise WorkflowError([f"{path} is in the editor's format: {remedy}"])
    if not isinstance(data, dict) or not data:
        raise WorkflowError([f"{path} holds no workflow: expected {{node id: {{class_type, inputs}}}}"])
    for key, node in data.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise WorkflowError([f"{path}: node {key} has no class_type; is this a workflow in API format?"])
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise WorkflowError([f'{path}: the "inputs" of node {key} must be an object'])
    return data


def _prompt_in_png(path: Path) -> str:
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get("prompt")
    if text is None:
        raise ValueError("this picture carries no workflow")
    return text


def title(prompt: Prompt, key: str) -> str:
    """The node's title in the editor, else its class."""
    return _own_title(prompt, key) or prompt[key]["class_type"]


def _own_title(prompt: Prompt, key: str) -> str | None:
    meta = prompt[key].get("_meta")
    text = meta.get("title") if isinstance(meta, dict) else None
    return plain(text) if isinstance(text, str) and text.strip() else None


def name_of(prompt: Prompt, key: str) -> str:
    """For messages: 'node 3 "Fine-tune" (GANSketching_FineTuneMapping)'."""
    shown, kind = title(prompt, key), prompt[key]["class_type"]
    return plain(f"node {key} ({kind})" if shown == kind else f'node {key} "{shown}" ({kind})')


# ---------------------------------------------------------------------------------------------------------- settings


def assign(prompt: Prompt, registry: Registry, setting: str) -> None:
    """Apply NODE.INPUT=VALUE in place. NODE is an id, a title or a class; of the latter two, one that occurs once."""
    target, equals, text = setting.partition("=")
    node, dot, name = target.rpartition(".")
    if not (equals and dot and node and name):
        raise WorkflowError([f'"{setting}" is not NODE.INPUT=VALUE, for example 3.steps=200 or Sample.seed=7'])
    key = _find(prompt, node)
    if prompt[key]["class_type"] not in registry:
        return  # check() names the unknown node
    declared = _declared(registry[prompt[key]["class_type"]])
    if name not in declared:
        raise WorkflowError([_unknown_input(prompt, key, name, declared)])
    kind, _ = declared[name]
    if not _is_widget(kind):
        raise WorkflowError([f"{name_of(prompt, key)}: {name} is a socket ({kind}), not a value that can be set"])
    try:
        prompt[key]["inputs"][name] = _parse(text, kind)
    except ValueError:
        raise WorkflowError([f'{name_of(prompt, key)}: {name}="{text}" is not a {_words(kind)}']) from None


def _find(prompt: Prompt, node: str) -> str:
    if node in prompt:
        return node
    for matches in (
        [k for k in prompt if _own_title(prompt, k) == node],
        [k for k in prompt if prompt[k]["class_type"] in (node, f"GANSketching_{node}")],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise WorkflowError([f'"{node}" fits several nodes ({", ".join(matches)}): use the id'])
    known = "; ".join(f"{k} = {title(prompt, k)}" for k in prompt)
    raise WorkflowError([f'the workflow has no node "{node}"; it has {known}'])


def _parse(text: str, kind: Any) -> Any:
    if isinstance(kind, (list, tuple)):
        return next((option for option in kind if str(option) == text), text)
    if kind == "BOOLEAN":
        values = {
            "true": True,
            "1": True,
            "on": True,
            "yes": True,
            "false": False,
            "0": False,
            "off": False,
            "no": False,
        }
        if text.lower() not in values:
            raise ValueError(text)
        return values[text.lower()]
    return {"INT": int, "FLOAT": float}.get(kind, str)(text)


# ---------------------------------------------------------------------------------------------------------- checking


def check(prompt: Prompt, registry: Registry) -> list[str]:
    """Everything that is wrong, in plain sentences; values are converted to their widget's type in place."""
    found = [
        f"{name_of(prompt, key)}: no such node is known here{_suggestion(node['class_type'], registry)}. "
        "Only this pack's nodes and a few of ComfyUI's own run without ComfyUI"
        for key, node in prompt.items()
        if node["class_type"] not in registry
    ]
    if found:
        return found
    outputs = [k for k in prompt if getattr(registry[prompt[k]["class_type"]], "OUTPUT_NODE", False)]
    if not outputs:
        return ["nothing to do: the workflow has no node that saves or shows something (SaveImage, for example)"]
    for key in _needed(prompt, outputs):
        found += _check_node(prompt, registry, key)
    return found or _check_cycles(prompt, outputs)


def _needed(prompt: Prompt, outputs: list[str]) -> list[str]:
    """The outputs and all that they depend on, in the order of the file."""
    todo, seen = list(outputs), set()
    while todo:
        key = todo.pop()
        if key not in seen:
            seen.add(key)
            todo += [link[0] for _, link in _links(prompt[key]) if link[0] in prompt]
    return [key for key in prompt if key in seen]


def _check_cycles(prompt: Prompt, outputs: list[str]) -> list[str]:
    try:
        _order(prompt, outputs)
    except graphlib.CycleError as error:
        names = " -> ".join(f'{key} "{title(prompt, key)}"' for key in reversed(error.args[1]))
        return [f"these nodes wait for each other: {names}. Remove one of the links"]
    return []


def _order(prompt: Prompt, outputs: list[str]) -> list[str]:
    graph = {key: [link[0] for _, link in _links(prompt[key])] for key in _needed(prompt, outputs)}
    return list(graphlib.TopologicalSorter(graph).static_order())


def _links(node: dict[str, Any]) -> Iterator[tuple[str, list]]:
    for name, value in node["inputs"].items():
        if _is_link(value):
            yield name, value


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def _declared(node: type, *sections: str) -> dict[str, tuple[Any, dict]]:
    """Input name -> (type, options) of the required and optional inputs."""
    inputs = node.INPUT_TYPES()
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {})
        for section in sections or ("required", "optional")
        for name, spec in inputs.get(section, {}).items()
    }


def _is_widget(kind: Any) -> bool:
    return isinstance(kind, (list, tuple)) or kind in WIDGETS


def _words(kind: Any) -> str:
    if isinstance(kind, (list, tuple)):
        return "choice"
    return {"INT": "whole number", "FLOAT": "number", "BOOLEAN": "true or false", "STRING": "text"}.get(kind, kind)


def _suggestion(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(map(str, known)), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _unknown_input(prompt: Prompt, key: str, name: str, declared: dict) -> str:
    known = ", ".join(declared) or "none"
    return f'{name_of(prompt, key)}: it has no input "{name}"{_suggestion(name, declared)}; its inputs: {known}'


def _check_node(prompt: Prompt, registry: Registry, key: str) -> list[str]:
    node, inputs = registry[prompt[key]["class_type"]], prompt[key]["inputs"]
    declared, ignored = _declared(node), getattr(node, "EDITOR_ONLY_INPUTS", ())
    for name in ignored:
        inputs.pop(name, None)
    found = [_unknown_input(prompt, key, name, declared) for name in inputs if name not in declared]
    own_check, received, bad = _validator(node), {}, set()
    for name in _declared(node, "required"):
        if name not in inputs:
            remedy = "give it a value" if _is_widget(declared[name][0]) else "connect it"
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
    return {*spec.args, *spec.kwonlyargs, *(_declared(node) if spec.varkw else ())} - {"cls", "s"}


def _check_link(prompt: Prompt, registry: Registry, link: list, kind: Any, own: bool) -> tuple[str, str | None]:
    if not _is_link(link):
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
    return f"needs {_words(wanted)} but gets {_words(given)} from {name_of(prompt, source)}", given


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
        return value, f'"{value}" is not in its list{_suggestion(str(value), choices)}: {shown or "it is empty"}'
    if kind not in WIDGETS:
        return value, "" if kind == "*" else f"must be connected to {kind}, {json.dumps(value)} is a plain value"
    try:
        value = _convert(value, kind)
    except (TypeError, ValueError, OverflowError):
        return value, f"{json.dumps(value)} is not a {_words(kind)}"
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


# --------------------------------------------------------------------------------------------------------- executing


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
    problems = check(prompt, registry)
    if problems:
        raise WorkflowError(problems)
    report = Report() if report is None else report
    original = json.loads(json.dumps(prompt))  # nodes may change what they get; saved pictures carry the original
    order = _order(prompt, [k for k in prompt if getattr(registry[prompt[k]["class_type"]], "OUTPUT_NODE", False)])
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
        name: results[value[0]][value[1]] if _is_link(value) else [value]
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
