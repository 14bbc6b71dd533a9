"""Workflows in API format: reading them, changing values, and their nodes: names, links, order, declared inputs."""

import difflib
import graphlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...gansketching_core.images import open_image

Prompt = dict[str, dict[str, Any]]
Registry = Mapping[str, type]
WIDGETS = {"INT": "whole number", "FLOAT": "number", "STRING": "text", "BOOLEAN": "true or false", "COMBO": "choice"}
SWITCH = {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False}


class WorkflowError(ValueError):
    """The problems of a workflow, one per line."""

    def __init__(self, problems: list[str]):
        self.problems = [plain(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def plain(text: str) -> str:
    """The text without control characters: workflows come from strangers and must not control a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def read_workflow(path: Path) -> Prompt:
    """Reads a workflow in API format: JSON (also the body of a /prompt request), or a PNG that was saved with one."""
    text = _prompt_in_png(path) if path.suffix.lower() == ".png" else path.read_bytes()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkflowError([f"{path} is not valid JSON: {error}"]) from error
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
    """The workflow that ComfyUI or this runner wrote into the metadata of a picture."""
    try:
        with open_image(path, str(path)) as image:
            text = getattr(image, "text", {}).get("prompt")
    except ValueError as error:
        raise WorkflowError([str(error)]) from error
    if text is None:
        raise WorkflowError([f"{path} carries no workflow; choose a PNG that was saved with its workflow"])
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
    shown = title(prompt, key)
    kind = prompt[key]["class_type"]
    return plain(f"node {key} ({kind})" if shown == kind else f'node {key} "{shown}" ({kind})')


def assign(prompt: Prompt, registry: Registry, setting: str) -> None:
    """Apply NODE.INPUT=VALUE in place. NODE is an id, or a title or class that only one node has."""
    target, equals, text = setting.partition("=")
    node, dot, name = target.rpartition(".")
    if not (equals and dot and node and name):
        raise WorkflowError([f'"{setting}" is not NODE.INPUT=VALUE, for example 3.steps=200 or Sample.seed=7'])
    key = _key_of(prompt, node)
    if prompt[key]["class_type"] not in registry:
        return  # find_problems names the unknown node
    declared = declared_inputs(registry[prompt[key]["class_type"]])
    if name not in declared:
        raise WorkflowError([f"{name_of(prompt, key)}: {unknown_input(name, declared)}"])
    kind, _ = declared[name]
    if not is_widget(kind):
        raise WorkflowError([f"{name_of(prompt, key)}: {name} is a socket ({kind}), not a value that can be set"])
    try:
        prompt[key]["inputs"][name] = parse_value(text, kind)
    except ValueError:
        raise WorkflowError([f'{name_of(prompt, key)}: {name}="{text}" is not a {words_of(kind)}']) from None


def _key_of(prompt: Prompt, node: str) -> str:
    if node in prompt:
        return node
    titled = [key for key in prompt if _own_title(prompt, key) == node]
    matches = titled or [key for key in prompt if prompt[key]["class_type"] in (node, f"GANSketching_{node}")]
    if not matches:
        known = "; ".join(f"{key} = {title(prompt, key)}" for key in prompt)
        raise WorkflowError([f'the workflow has no node "{node}"; it has {known}'])
    if len(matches) > 1:
        raise WorkflowError([f'"{node}" fits several nodes ({", ".join(matches)}): use the id'])
    return matches[0]


def parse_value(text: str, kind: Any) -> Any:
    """The value of a widget from text; ValueError if the text is none."""
    if isinstance(kind, (list, tuple)):
        return next((option for option in kind if str(option) == text), text)
    if kind == "BOOLEAN":
        if text.lower() not in SWITCH:
            raise ValueError(text)
        return SWITCH[text.lower()]
    return {"INT": int, "FLOAT": float}.get(kind, str)(text)


def output_nodes(prompt: Prompt, registry: Registry) -> list[str]:
    """The nodes that save or show something."""
    return [key for key in prompt if getattr(registry[prompt[key]["class_type"]], "OUTPUT_NODE", False)]


def needed_nodes(prompt: Prompt, outputs: list[str]) -> list[str]:
    """The outputs and all nodes that they depend on, in the order of the file."""
    waiting = list(outputs)
    needed = set()
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            waiting += [source for source in _sources(prompt, key) if source in prompt]
    return [key for key in prompt if key in needed]


def execution_order(prompt: Prompt, outputs: list[str]) -> list[str]:
    """The needed nodes, each after those that it depends on; graphlib.CycleError if there is no such order."""
    graph = {key: _sources(prompt, key) for key in needed_nodes(prompt, outputs)}
    return list(graphlib.TopologicalSorter(graph).static_order())


def _sources(prompt: Prompt, key: str) -> list[str]:
    return [value[0] for value in prompt[key]["inputs"].values() if is_link(value)]


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def declared_inputs(node: type, *sections: str) -> dict[str, tuple[Any, dict]]:
    """Input name -> (type, options) of the required and optional inputs."""
    inputs = node.INPUT_TYPES()
    return {
        name: (spec[0], spec[1] if len(spec) > 1 else {})
        for section in sections or ("required", "optional")
        for name, spec in inputs.get(section, {}).items()
    }


def is_widget(kind: Any) -> bool:
    return isinstance(kind, (list, tuple)) or kind in WIDGETS


def words_of(kind: Any) -> str:
    return "choice" if isinstance(kind, (list, tuple)) else WIDGETS.get(kind, str(kind))


def unknown_input(name: str, declared: dict) -> str:
    return f'it has no input "{name}"{suggestion(name, declared)}; its inputs: {", ".join(declared) or "none"}'


def suggestion(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(map(str, known)), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
