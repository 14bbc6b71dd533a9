"""Options as frozen pydantic models: one declaration for checks, node widgets, command-line flags and saved files."""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Config = TypeVar("Config", bound=BaseModel)


class Options(BaseModel):
    """Options that do not change once they are made; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def option(default: Any, description: str, *, advanced: bool = False, **limits: Any) -> Any:
    """A field of Options. `advanced` ones are hidden at first in the editor, and in a group of their own in --help.

    limits: ge, gt, le, lt.
    """
    extra: Any = {"advanced": True} if advanced else None
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


def build(make: Callable[..., Config], *args: Any, name_of: Callable[[str], str] = str, **values: Any) -> Config:
    """make(*args, **values). ValueError names all problems in one line: "steps 0: Input should be ..."."""
    try:
        return make(*args, **values)
    except ValidationError as error:
        raise ValueError(explain(error, name_of)) from error


def explain(error: ValidationError, name_of: Callable[[str], str] = str) -> str:
    """pydantic's problems in one line. name_of: from the name of a field to what the user knows it by."""
    problems = []
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        field = ".".join(map(str, problem["loc"]))
        problems.append(f"{name_of(field)} {problem['input']!s:.60}: {message}" if field else message)
    return "; ".join(problems)
