"""A plain page of this repository in a real browser. Needs playwright and a Chromium or Chrome."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)} is installed")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    handler = functools.partial(Quiet, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/tests/browser/sketch_pad.html"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Pad:
    """The page, and what a user does on it. Places are in units of the sheet."""

    def __init__(self, page):
        self.page = page

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(".surface").bounding_box()
        return box["x"] + (x + 0.5) / 1024 * box["width"], box["y"] + (y + 0.5) / 1024 * box["height"]

    def draw(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=8)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def click(self, title: str) -> None:
        self.page.locator(f'button[title^="{title}"]').click()

    @property
    def value(self) -> str:
        return self.page.evaluate("editor.getValue()")

    @property
    def sheets(self) -> list[list[dict]]:
        return json.loads(self.value)["sheets"]

    def pixels(self, size: int) -> np.ndarray:
        """The canvas on white paper, [size,size] in 0..1."""
        url = self.page.evaluate("document.querySelector('.surface').toDataURL()")
        picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
        paper = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(paper, picture).convert("L").reduce(picture.width // size)) / 255
