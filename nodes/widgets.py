"""Widgets from pydantic models: one declaration per option, its default, range and description."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Collection
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Widget = tuple[Any, dict[str, Any]]
Config = TypeVar("Config", bound=BaseModel)

AS_PRESET = "as preset"  # the choice, -1 for numbers, that leaves an option as it is in the preset
LARGEST_SEED = 2**53 - 1  # browsers keep whole numbers exactly up to here


def seed(*, changes: bool, tooltip: str) -> Widget:
    """A seed. `changes`: the interface may draw a new one after each run (never where that means training again)."""
    options = {"default": 0, "min": 0, "max": LARGEST_SEED, "control_after_generate": changes, "tooltip": tooltip}
    return "INT", options


def widgets(config: type[BaseModel], *, skip: Collection[str] = ()) -> dict[str, Widget]:
    """A widget for each field of `config` but those in `skip`."""
    return {name: widget(field) for name, field in config.model_fields.items() if name not in skip}


def widget(field: FieldInfo) -> Widget:
    """Number, switch or list, with the field's default, bounds and description."""
    kind, choices = _kind(field)
    options = {"default": field.get_default(call_default_factory=True), "tooltip": field.description or ""}
    if isinstance(field.json_schema_extra, dict):
        options |= field.json_schema_extra
    if kind is Literal:
        return choices, options
    if kind in (int, float):
        return ("INT" if kind is int else "FLOAT"), {**options, **_range(field, kind, options["default"])}
    if kind in (bool, str):
        return ("BOOLEAN" if kind is bool else "STRING"), options
    raise TypeError(f"no widget is known for a field of type {field.annotation}")


def overrides(presets: dict[str, BaseModel], *, skip: Collection[str] = ()) -> dict[str, Widget]:
    """Widgets that leave every field as it is in the chosen preset until the user changes them."""
    found = {}
    for name, field in type(next(iter(presets.values()))).model_fields.items():
        if name in skip:
            continue
        kind, options = widget(field)
        tooltip = f"{options['tooltip'].rstrip('.')}. {_in_presets(presets, name)}"
        if isinstance(kind, list) or kind == "BOOLEAN":
            choices = ["on", "off"] if kind == "BOOLEAN" else kind
            found[name] = ([AS_PRESET, *choices], {**options, "default": AS_PRESET, "tooltip": tooltip})
        elif kind == "STRING":
            found[name] = (kind, {**options, "default": AS_PRESET, "tooltip": tooltip})
        else:
            changed = {"default": -1, "min": -1, "tooltip": f"{tooltip} -1: as in the preset."}
            found[name] = (kind, {**options, **changed})
    return found


def overridden(values: dict[str, Any]) -> dict[str, Any]:
    """What the user changed among the values of `overrides` widgets."""
    switches = {"on": True, "off": False}
    return {name: switches.get(v, v) for name, v in values.items() if v != AS_PRESET and v != -1}


def build(make: typing.Callable[..., Config], *args: Any, **values: Any) -> Config:
    """make(*args, **values) with pydantic's errors as one line that names the widgets."""
    try:
        return make(*args, **values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))} {e['input']}: {e['msg']}" for e in error.errors(include_url=False)]
        raise ValueError("; ".join(lines)) from error


def wrongly_connected(node: type, input_types: dict[str, str] | None) -> str:
    """What is connected to a socket of another type, in words; "" when all is well.

    input_types: the types of what is connected, which ComfyUI leaves to a node to check that asks for them.
    """
    sections = node.INPUT_TYPES()
    declared = {**sections["required"], **sections.get("optional", {})}
    for name, given in (input_types or {}).items():
        wanted = declared[name][0]
        if given != "*" and not set(given.split(",")) & set(wanted.split(",")):
            return f"{name} needs {wanted}, not {given}"
    return ""


def _kind(field: FieldInfo) -> tuple[Any, list]:
    """The plain type of a field and, for Literal, its choices. Optional fields are those of their type."""
    annotation = field.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    return typing.get_origin(annotation) or annotation, list(typing.get_args(annotation))


def _range(field: FieldInfo, kind: type, default: float) -> dict[str, Any]:
    """min, max and step of a number."""
    bounds = {
        key: getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)
    }
    tiny = 1 if kind is int else 1e-6
    low = bounds.get("ge", bounds.get("gt", -tiny) + tiny)
    high = bounds.get("le", bounds.get("lt", 2**31 if kind is int else 1e6) - tiny)
    if kind is int:
        return {"min": low, "max": high, "step": 1}
    digits = min(math.floor(math.log10(abs(default))) if default else 0, math.floor(math.log10(high - low)) - 1)
    return {"min": low, "max": high, "step": 10.0 ** (max(digits, -5) - 1), "round": False}


def _in_presets(presets: dict[str, BaseModel], name: str) -> str:
    values = {preset: _show(getattr(config, name)) for preset, config in presets.items()}
    if len(set(values.values())) == 1:
        return f"All presets: {next(iter(values.values()))}."
    return f"Presets: {', '.join(f'{preset} {value}' for preset, value in values.items())}."


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
