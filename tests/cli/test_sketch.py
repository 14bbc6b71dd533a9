"""The command `sketch`."""

from __future__ import annotations

import pytest
from command_line import draw, failed, run
from PIL import Image

pytestmark = pytest.mark.usefixtures("workplace")


def test_sketch_keeps_names_and_shapes(workplace):
    import zipfile

    draw(workplace / "photos" / "wide.jpg", size=(90, 45))
    draw(workplace / "photos" / "deep" / "tall.png", size=(40, 80))
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.write("photos/wide.jpg", "/wide.jpg")
    assert run("sketch", "photos", "photos.zip", "--sketcher", "lines", "--size", 64, "--output", "out") == 0
    found = sorted(p.relative_to(workplace / "out").as_posix() for p in (workplace / "out").rglob("*.png"))
    assert found == ["deep/tall.png", "wide.png", "wide_2.png"]
    assert Image.open("out/wide.png").size == (64, 32) and Image.open("out/deep/tall.png").size == (32, 64)
    assert run("sketch", "photos/wide.jpg", "--output", "two") == 0


def test_sketch_mistakes(capsys, workplace):
    draw(workplace / "a.png")
    assert "--size 8 is out of range" in failed(capsys, "sketch", "a.png", "--size", 8)
    assert "does not exist" in failed(capsys, "sketch", "b.png")
