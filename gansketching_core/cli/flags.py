"""Command-line flags from pydantic models: one declaration per option, its default, range and description."""

import argparse
import typing
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .. import options
from ..options import Config


def flag(name: str) -> str:
    """Field name -> flag: "lambda_image" -> "--lambda-image"."""
    return "--" + name.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, config: type[BaseModel], title: str) -> None:
    """Add one flag per field of `config`; fields marked as advanced get a group of their own.

    Only the flags that the user gives appear in the namespace.
    """
    groups: dict[str, Any] = {}
    for name, field in config.model_fields.items():
        extra = field.json_schema_extra
        heading = f"advanced {title}" if isinstance(extra, dict) and extra.get("advanced") else title
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        keywords = _argument(field.annotation)
        groups[heading].add_argument(flag(name), dest=name, default=argparse.SUPPRESS, help=_help(field), **keywords)


def read_flags(args: argparse.Namespace, config: type[BaseModel]) -> dict[str, Any]:
    """The values of those fields of `config` that the user gave."""
    return {name: getattr(args, name) for name in config.model_fields if hasattr(args, name)}


def parse(
    parser: argparse.ArgumentParser, argv: list[str], config: type[Config], title: str
) -> tuple[argparse.Namespace, Config]:
    """Add the flags of `config` and parse argv: all arguments, and the config that they give."""
    add_flags(parser, config, title)
    args = parser.parse_args(argv)
    return args, build(config, **read_flags(args, config))


def build(make: typing.Callable[..., Config], **values: Any) -> Config:
    """make(**values). Errors name the flags: "--steps 0: Input should be greater than or equal to 1"."""
    return options.build(make, name_of=flag, **values)


def _argument(annotation: Any) -> dict[str, Any]:
    """Field annotation -> keywords for `add_argument`. pydantic checks the range."""
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(annotation) is Literal:
        choices = typing.get_args(annotation)
        return {"type": type(choices[0]), "choices": choices}
    if annotation in (int, float, str):
        return {"type": annotation, "metavar": {int: "N", float: "X", str: "TEXT"}[annotation]}
    raise TypeError(f"fields of type {annotation} cannot be flags")


def _help(field: FieldInfo) -> str:
    """The field's description with its limits and its default."""
    notes = []
    for rule in field.metadata:
        for key, words in {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}.items():
            if hasattr(rule, key):
                notes.append(f"{words} {_show(getattr(rule, key))}")
    notes.append(f"default: {_show(field.get_default(call_default_factory=True))}")
    description = (field.description or "").rstrip(".")
    return f"{description} ({', '.join(notes)})".replace("%", "%%")


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
