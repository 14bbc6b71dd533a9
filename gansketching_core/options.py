"""Options as frozen pydantic models: one declaration for checks, node widgets, command-line flags and saved files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Options that do not change once they are made; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def option(default: Any, description: str, *, advanced: bool = False, **limits: Any) -> Any:
    """A field of Options. `advanced` ones are hidden at first in the editor, and in a group of their own in --help.

    limits: ge, gt, le, lt.
    """
    extra: Any = {"advanced": True} if advanced else None
    return Field(default=default, description=description, json_schema_extra=extra, **limits)
