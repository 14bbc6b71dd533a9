"""Widgets from pydantic models: one declaration per option, its default, range and description."""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Widget = tuple[Any, dict[str, Any]]

MODEL, LATENTS, DIRECTIONS = "GANSKETCHING_MODEL", "GANSKETCHING_LATENTS", "GANSKETCHING_DIRECTIONS"
PHOTOSKETCH = "GANSKETCHING_PHOTOSKETCH"
AS_PRESET = "as preset"  # the choice that leaves an option as it is in the preset; for numbers it is -1
NOT_LINKED: Any = object()  # default of an optional socket in VALIDATE_INPUTS, which gets None for one that is linked
LARGEST_SEED = 2**53 - 1  # browsers represent whole numbers exactly up to this one


def inputs(*, optional: Any = None, hidden: Any = None, **required: Any) -> staticmethod:
    """The INPUT_TYPES of a node. A list that may change, such as one of files, is given as a function."""
    declared = {"required": required, "optional": optional, "hidden": hidden}

    def input_types() -> dict[str, dict[str, Any]]:
        sections = copy.deepcopy({section: values for section, values in declared.items() if values})
        for name, widget in required.items():
            if callable(widget):
                sections["required"][name] = widget()
        return sections

    return staticmethod(input_types)


def advanced(widget: Widget) -> Widget:
    """The widget, folded away by the editor until the user asks for it."""
    kind, options = widget
    return kind, {**options, "advanced": True}


def socket(kind: str, tooltip: str) -> Widget:
    return kind, {"tooltip": tooltip}


def switch(default: bool, tooltip: str) -> Widget:
    return "BOOLEAN", {"default": default, "tooltip": tooltip}


def integer(default: int, low: int, high: int, tooltip: str, **options: Any) -> Widget:
    return "INT", {"default": default, "min": low, "max": high, "tooltip": tooltip, **options}


def number(default: float, low: float, high: float, tooltip: str) -> Widget:
    options = {"default": float(default), "min": low, "max": high, "step": 0.05, "round": False}
    return "FLOAT", {**options, "tooltip": tooltip}


def slider(default: float, low: float, high: float, tooltip: str) -> Widget:
    kind, options = number(default, low, high, tooltip)
    return kind, {**options, "display": "slider"}


def text(default: str, tooltip: str) -> Widget:
    return "STRING", {"default": default, "tooltip": tooltip}


def one_of(choices: Collection[str], default: str, tooltip: str) -> Widget:
    return list(choices), {"default": default, "tooltip": tooltip}


def seed(*, changes: bool, tooltip: str, default: int = 0) -> Widget:
    """A seed. `changes`: the editor may choose a new one after each run (never where that means training again)."""
    return integer(default, 0, LARGEST_SEED, tooltip, control_after_generate=changes)


def class_index(without: str) -> Widget:
    """The class of a class-conditional model; see `or_none`. `without`: what happens when none is chosen."""
    tooltip = f"For models with classes: the number of the class. -1: {without}. Models without classes need -1."
    return advanced(integer(-1, -1, 100_000, tooltip))


def or_none(value: int) -> int | None:
    """A widget's -1 as the core's None."""
    return None if value < 0 else value


def widgets(config: type[BaseModel], *, skip: Collection[str] = ()) -> dict[str, Widget]:
    """A widget for each field but those in `skip`. The editor folds away those that are marked as advanced."""
    return {name: widget(field) for name, field in config.model_fields.items() if name not in skip}


def widget(field: FieldInfo) -> Widget:
    """Number, switch or list, with the field's default, bounds and description."""
    kind = get_origin(field.annotation) or field.annotation
    options = {"default": field.default, "tooltip": field.description or ""}
    if isinstance(field.json_schema_extra, dict):
        options |= field.json_schema_extra
    if kind is Literal:
        return list(get_args(field.annotation)), options
    if kind in (int, float):
        return ("INT" if kind is int else "FLOAT"), options | _range(field, kind)
    if kind in (bool, str):
        return ("BOOLEAN" if kind is bool else "STRING"), options
    raise TypeError(f"no widget is known for a field of type {field.annotation}")


def overrides(presets: Mapping[str, BaseModel], *, skip: Collection[str] = ()) -> dict[str, Widget]:
    """Widgets that leave every field as it is in the chosen preset until the user changes them."""
    config = type(next(iter(presets.values())))
    result = {}
    for name, (kind, options) in widgets(config, skip=skip).items():
        tooltip = f"{options['tooltip'].rstrip('.')}. {_in_presets(presets, name)}"
        if kind in ("INT", "FLOAT"):
            result[name] = kind, {**options, "default": -1, "min": -1, "tooltip": f"{tooltip} -1: as in the preset."}
            continue
        if kind == "BOOLEAN":
            kind = ["on", "off"]
        if isinstance(kind, list):
            kind = [AS_PRESET, *kind]
        result[name] = kind, {**options, "default": AS_PRESET, "tooltip": tooltip}
    return result


def overridden(values: dict[str, Any]) -> dict[str, Any]:
    """What the user changed among the values of `overrides` widgets."""
    switches = {"on": True, "off": False}
    return {name: switches.get(value, value) for name, value in values.items() if value not in (AS_PRESET, -1)}


def takes_lists(*names: str) -> Callable[[type], type]:
    """Class decorator: the node runs once for a list of images, which may differ in size, not once for each image.

    ComfyUI then gives every input as a list (INPUT_IS_LIST). Those in `names` may have several elements, which the node
    gets as they are; the others have to hold one value.
    """

    def decorate(node: type) -> type:
        node.INPUT_IS_LIST = True
        setattr(node, node.FUNCTION, _without_lists(getattr(node, node.FUNCTION), names))
        if hasattr(node, "VALIDATE_INPUTS"):
            node.VALIDATE_INPUTS = staticmethod(_without_lists(node.VALIDATE_INPUTS, names))
        return node

    return decorate


def _without_lists(function: Callable[..., Any], names: Collection[str]) -> Callable[..., Any]:
    """The function, for arguments in lists; of those in `names` and no others, lists of several elements stay lists."""

    @functools.wraps(function)
    def unpacked(*arguments, **inputs):
        for name, value in inputs.items():
            if not isinstance(value, (list, tuple)) or (name in names and len(value) > 1):
                continue
            if len(value) != 1:
                raise ValueError(f"{name} gets {len(value)} values; only {' and '.join(names)} may be lists: give one")
            inputs[name] = value[0]
        return function(*arguments, **inputs)

    unpacked.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # ComfyUI reads its arguments
    return unpacked


def check(function: Callable[..., Any], value: Any) -> bool | str:
    """For VALIDATE_INPUTS: the text of function(value)'s ValueError, else True. None: a linked value, not known yet."""
    try:
        if value is not None:
            function(value)
    except ValueError as error:
        return str(error)
    return True


def fits(given: Any, wanted: Any) -> bool:
    """Whether an output of type `given` may be linked to an input of type `wanted`; a list is a list of choices.

    ComfyUI's rule: of types joined by commas one has to be common, and "*" fits all. The first comparison is by `!=`
    because other packs' wildcard types are strings that override it.
    """
    if not given != wanted or "*" in (given, wanted):  # noqa: SIM202
        return True
    if isinstance(wanted, (list, tuple)):
        return given == "COMBO"
    if not isinstance(given, str):
        return False
    return not {kind.strip() for kind in given.split(",")}.isdisjoint(kind.strip() for kind in wanted.split(","))


def _range(field: FieldInfo, kind: type) -> dict[str, Any]:
    """min, max and step of a number."""
    bounds = {}
    for rule in field.metadata:
        bounds |= {name: getattr(rule, name) for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
    smallest = 1 if kind is int else 1e-6
    low = bounds.get("ge", bounds.get("gt", -smallest) + smallest)
    high = bounds.get("le", bounds.get("lt", 2**31 if kind is int else 1e6) - smallest)
    if kind is int:
        return {"min": low, "max": high, "step": 1}
    of_default = math.floor(math.log10(abs(field.default))) if field.default else 0
    digits = min(of_default, math.floor(math.log10(high - low)) - 1)
    return {"min": low, "max": high, "step": 10.0 ** (max(digits, -5) - 1), "round": False}


def _in_presets(presets: Mapping[str, BaseModel], name: str) -> str:
    values = {preset: _shown(getattr(config, name)) for preset, config in presets.items()}
    if len(set(values.values())) == 1:
        return f"All presets: {next(iter(values.values()))}."
    return f"Presets: {', '.join(f'{preset} {value}' for preset, value in values.items())}."


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
