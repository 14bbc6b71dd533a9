"""A model's web page: its files, its stored images, and what is refused. What a browser shows: tests/browser."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_model

from gansketching_core import GalleryConfig, fit_directions, from_comfy, render, sample_z, write_gallery
from gansketching_core.gallery.gallery import LIVE_LIMIT, multiplications
from gansketching_core.latents.ganspace import edit
from gansketching_core.latents.model_mixing import interpolate_models
from gansketching_core.latents.spaces import truncate
from gansketching_core.networks.stylegan2 import GanConfig, GanModel, Generator

STORED = GalleryConfig(mode="images", count=2, directions=1, seed=4)


def data_of(folder) -> dict:
    text = (folder / "data.js").read_text("utf-8")
    return json.loads(text.removeprefix("const GALLERY = ").removesuffix(";\n"))


def customised(base: GanModel) -> GanModel:
    other = tiny_model()
    other.generator.mapping.w_shift += 0.5
    return replace(other, name="bent", base_hash=base.base_hash, w_mean=other.w_mean + 0.5)


def test_a_small_model_is_computed_by_the_page(tmp_path):
    base = tiny_model()
    base.metadata["licence"] = "CC0"
    page = write_gallery(base, tmp_path / "page", GalleryConfig(title="A & <b>", count=3, directions=2))
    assert page.live and page.index.is_file() and page.size < 300_000
    data = data_of(tmp_path / "page")
    assert data["title"] == "A & <b>" and "CC0" in data["about"] and data["samples"] == 3
    assert [slider["id"] for slider in data["sliders"]] == ["truncation", "direction 0", "direction 1"]
    assert {path.name for path in (tmp_path / "page").iterdir()} == {
        "index.html", "page.js", "engine.js", "style.css", "data.js"
    }  # fmt: skip


def test_nothing_on_the_page_is_loaded_from_elsewhere(tmp_path):
    write_gallery(tiny_model(), tmp_path, GalleryConfig(directions=0))
    for path in tmp_path.iterdir():
        assert "http" not in path.read_text("utf-8"), path.name


def test_stored_images_are_those_of_the_models(tmp_path):
    base = tiny_model()
    model = customised(base)
    directions = fit_directions(base, components=3, samples=500)
    reports = []
    write_gallery(
        model, tmp_path, STORED, original=base, directions=directions, on_batch=lambda *done: reports.append(done)
    )
    data = data_of(tmp_path)
    sliders = data["sliders"]
    assert [slider["id"] for slider in sliders] == ["truncation", "strength", "direction 0"]
    assert len(data["images"]) == 4 * 7 + 4 and reports[-1] == (64, 64)
    z = sample_z(model, 2, 4)

    def position(**values) -> str:
        given = {slider["id"]: values.get(slider["id"].replace(" ", "_"), slider["default"]) for slider in sliders}
        return " ".join(str(slider["values"].index(given[slider["id"]])) for slider in sliders)

    mixed = interpolate_models(base, model, 0.25, "w")
    expected = {
        position(truncation=0.6, strength=0.25): truncate(mixed, z, 0.6),
        position(direction_0=-3.0): edit(model, truncate(model, z, 0.8), directions, 0, -3.0),
    }
    for key, latents in expected.items():
        for name, image in zip(data["images"][key], render(model, latents)):
            with Image.open(tmp_path / name) as picture:
                pixels = from_comfy(torch.from_numpy(np.asarray(picture) / 255)[None].float())[0]
            assert (pixels - image.clamp(-1, 1)).abs().mean() < 0.1, "but for the JPEG's losses"


def test_a_page_replaces_an_earlier_one_and_nothing_else(tmp_path):
    write_gallery(tiny_model(), tmp_path / "page", STORED)
    stored = set((tmp_path / "page" / "images").iterdir())
    assert stored
    write_gallery(tiny_model(), tmp_path / "page", GalleryConfig(directions=0))
    assert not list((tmp_path / "page" / "images").iterdir()) and data_of(tmp_path / "page")["live"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("<p>my page</p>")
    with pytest.raises(ValueError, match="has other files; choose a new folder"):
        write_gallery(tiny_model(), tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "<p>my page</p>"


def test_a_stopped_page_is_not_left_half_done(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(tiny_model(), tmp_path / "page", STORED, on_batch=stop)
    assert not (tmp_path / "page" / "index.html").exists()
    write_gallery(tiny_model(), tmp_path / "page", STORED)
    assert (tmp_path / "page" / "index.html").exists()


def test_large_models_are_stored():
    def config_f(resolution: int) -> GanModel:
        config = GanConfig(resolution=resolution)
        with torch.device("meta"):
            return GanModel(Generator(config), None, config, torch.zeros(512))

    assert multiplications(config_f(256)) > 10 * LIVE_LIMIT
    assert multiplications(tiny_model()) < LIVE_LIMIT / 100


def test_bad_input_is_a_sentence(tmp_path):
    folder, model = tmp_path / "page", tiny_model()
    with pytest.raises(ValueError, match="class-conditional, and a page shows one class: choose it, 0 to 4"):
        write_gallery(tiny_model(class_count=5), folder)
    with pytest.raises(ValueError, match="different base models"):
        write_gallery(model, folder, original=tiny_model(seed=1))
    with pytest.raises(ValueError, match="do not fit the model"):
        write_gallery(model, folder, directions=fit_directions(tiny_model(w_dim=12), samples=100, components=2))
    mixed = interpolate_models(model, customised(model), 0.5, "w")
    with pytest.raises(ValueError, match="mixed in w"):
        write_gallery(mixed, folder, GalleryConfig(mode="live"))
    broken = tiny_model()
    broken.generator.synthesis.layers[2].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"synthesis.layers.2.weight holds NaN"):
        write_gallery(broken, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        write_gallery(model, tmp_path / "file")
    assert not folder.exists()
