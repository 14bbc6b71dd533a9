"""Flags of the command line from the fields of options, and back."""

from __future__ import annotations

import argparse
from typing import Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from gansketching_core.cli import flags, main


class Options(BaseModel):
    """One field of every kind."""

    count: int = Field(3, ge=1, le=9, description="How many.")
    rate: float = Field(0.5, gt=0, lt=1, description="100% of it.")
    kind: Literal["a", "b"] = Field("a", description="Which.")
    scale: Literal[1.0, 0.5] = Field(1.0, description="Size.")
    flip: bool = Field(True, description="Mirror.")
    words: str = Field("", description="Words.", json_schema_extra={"advanced": True})

    @field_validator("words")
    @classmethod
    def _check(cls, value):
        if value == "bad":
            raise ValueError("say something good")
        return value


def parse(*argv):
    parser = main.Parser(prog="test")
    flags.add_flags(parser, Options, "options")
    return flags.read_flags(parser.parse_args(list(argv)), Options)


def test_flags_read_every_kind_of_field():
    assert parse() == {}
    given = parse(*"--count 4 --rate 0.25 --kind b --scale 0.5 --no-flip --words hello".split())
    assert given == {
        "count": 4,
        "rate": 0.25,
        "kind": "b",
        "scale": 0.5,
        "flip": False,
        "words": "hello",
    }
    assert flags.build(Options, **given).flip is False


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--kind", "c"], "invalid choice: 'c'"),
        (["--scale", "0.7"], "invalid choice: 0.7"),
        (["--count", "many"], "--count: invalid int value: 'many'"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_flags_that_cannot_be_read(argv, words):
    with pytest.raises(ValueError, match=words):
        parse(*argv)


def test_values_out_of_range_name_the_flags():
    with pytest.raises(ValueError) as caught:
        flags.build(Options, count=0, rate=1.0, words="bad")
    message = str(caught.value)
    assert "--count 0: Input should be greater than or equal to 1; --rate 1.0: " in message
    assert "--words bad: say something good" in message and "\n" not in message


def test_flag_help_has_range_and_default():
    parser = argparse.ArgumentParser()
    flags.add_flags(parser, Options, "options")
    text = " ".join(parser.format_help().split())
    assert "How many (at least 1, at most 9, default: 3)" in text
    assert "100% of it (above 0, below 1, default: 0.5)" in text
    assert "--flip, --no-flip Mirror (default: on)" in text


def test_advanced_fields_have_a_group_of_their_own():
    parser = argparse.ArgumentParser()
    flags.add_flags(parser, Options, "options of the test")
    plain, advanced = parser.format_help().split("advanced options of the test:")
    assert "--flip" in plain and "--words TEXT" not in plain.split("options of the test:")[1]
    assert "--words TEXT" in advanced and "--flip" not in advanced
