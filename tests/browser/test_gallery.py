"""A model's web page in a real browser, opened as a file, without a server."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
import torch
from browser_page import browser, needs_browser
from formats import SMALL, small_model

from gansketching_core import GalleryConfig, fit_directions, sample_z, write_gallery
from gansketching_core.networks.stylegan2 import Details, GanModel

pytestmark = needs_browser

CONDITIONAL = SMALL.model_copy(update={"class_count": 5, "conv_clamp": 0.9, "z_dim": 11})
UP_TO_DATE = "tiles.every(tile => tile.shown === position())"
PIXELS = "k => [...tiles[k].canvas.getContext('2d').getImageData(0, 0, 32, 32).data]"
MOVE = """([id, value]) => {
  const slider = sliders.find(slider => slider.id === id);
  slider.input.value = value;
  slider.input.dispatchEvent(new Event("input"));
}"""


@pytest.fixture
def open_page(browser):
    pages = []

    def opened(folder):
        page = browser.new_page()
        pages.append(page)
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
        page.goto((folder / "index.html").as_uri())
        page.wait_for_function(UP_TO_DATE)
        return page

    yield opened
    for page in pages:
        assert page.problems == []
        page.close()


def move(page, **values: float) -> None:
    for name, value in values.items():
        page.evaluate(MOVE, [name.replace("_", " "), value])
    page.wait_for_function(UP_TO_DATE)


def pixels(page, sample: int) -> torch.Tensor:
    """[32,32,3] in 0..255."""
    return torch.tensor(page.evaluate(PIXELS, sample), dtype=torch.float32).reshape(32, 32, 4)[:, :, :3]


def in_levels(x: torch.Tensor) -> torch.Tensor:
    """[1,3,32,32] in -1..1 -> [32,32,3] in 0..255."""
    return ((x[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255)


def customised(base: GanModel) -> GanModel:
    other = small_model(base.config, discriminator=False)
    for layer in other.generator.mapping.layers:
        layer.bias += 1.0
    return replace(other, name="customised", base_hash=base.base_hash, w_mean=other.w_mean + 0.3)


@pytest.mark.parametrize("details", [None, 4], ids=["", "colours stay"])
@pytest.mark.parametrize("config", [SMALL, CONDITIONAL], ids=["small", "conditional"])
def test_the_page_computes_the_images_of_the_model(tmp_path, open_page, config, details):
    """Every slider at once, against this package's own networks. Weights on the page are float16.

    details: the first layer that keeps the original's w.
    """
    base = small_model(config, discriminator=False)
    model, label = customised(base), 3 if config.class_count else None
    if details is not None:
        model.details = Details(details, base.generator.mapping, base.w_mean)
    directions = fit_directions(base, components=2, samples=1000)
    options = {"original": base, "directions": directions, "label": label}
    write_gallery(model, tmp_path, GalleryConfig(count=2, seed=7), **options)
    page = open_page(tmp_path)
    z = sample_z(model, 2, 7, label)
    for truncation, strength, first, second in ((0.8, 1, 0, 0), (0.5, 0.3, 1.5, -2), (1.1, -0.4, 0, 1)):
        move(page, truncation=truncation, strength=strength, direction_0=first, direction_1=second)
        w = [each.w_mean.lerp(each.generator.map(z.data, z.labels), truncation) for each in (base, model)]
        ws = (w[0] + strength * (w[1] - w[0]))[:, None].repeat(1, config.style_count, 1)
        if details is not None:
            ws[:, details:] = w[0][:, None]
        steps = torch.tensor([first, second])[:, None] * directions.stdev[:, None] * directions.components
        ws = ws + steps.sum(dim=0)
        for k in range(2):
            expected = in_levels(model.generator.synthesize(ws[k : k + 1], noise="const"))
            assert (pixels(page, k) - expected).abs().max() < 3, "of 255 levels"
    large = "[...large.getContext('2d').getImageData(0, 0, 32, 32).data]"
    assert page.evaluate(large) == page.evaluate(PIXELS, 0)


def test_samples_can_be_chosen_and_drawn_anew(tmp_path, open_page):
    write_gallery(
        small_model(discriminator=False), tmp_path, GalleryConfig(count=3, directions=1, title="<i>Rings</i>")
    )
    page = open_page(tmp_path)
    assert page.get_by_role("heading").inner_text() == "<i>Rings</i>" == page.title()
    first = [pixels(page, k) for k in range(3)]
    page.get_by_title("Sample 2").click()
    assert page.get_by_title("Sample 2").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="New samples").click()
    page.wait_for_function(UP_TO_DATE)
    assert all((pixels(page, k) - first[k]).abs().mean() > 1 for k in range(3))
    move(page, direction_0=2, truncation=0.1)
    page.get_by_role("button", name="Reset sliders").click()
    assert page.get_by_label("Truncation").input_value() == "0.8"
    assert page.get_by_label("Direction 0").input_value() == "0"


def test_stored_images_are_shown(tmp_path, open_page):
    base = small_model(discriminator=False)
    model = customised(base)
    write_gallery(model, tmp_path, GalleryConfig(count=2, directions=1, mode="images"), original=base)
    page = open_page(tmp_path)
    z = sample_z(model, 2, 0)
    move(page, truncation=3, strength=0)  # positions: the last truncation, 1, and the first strength, 0
    expected = in_levels(base.generator.synthesize(base.generator.map(z.data[:1]), noise="const"))
    picture = Image.open(io.BytesIO(page.locator("#samples canvas").first.screenshot())).convert("RGB")
    seen = torch.from_numpy(np.asarray(picture.resize((8, 8), Image.Resampling.BOX)).astype(np.float32))
    coarse = torch.nn.functional.avg_pool2d(expected.permute(2, 0, 1), 4).permute(1, 2, 0)
    assert (seen - coarse).abs().mean() < 8, "but for the losses of JPEG and of enlarging"
    assert page.locator("output").all_inner_texts() == ["1.00", "0.00", "0.00"]
    move(page, direction_0=4)
    assert page.locator("output").all_inner_texts() == ["0.80", "1.00", "3.00"], "a direction is shown alone"
    assert page.get_by_role("button", name="New samples").count() == 0
