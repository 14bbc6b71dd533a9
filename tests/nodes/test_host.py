"""What the nodes need from the program that runs them, without ComfyUI."""

from __future__ import annotations

import copy

import pytest
import torch
from loaded_pack import SAMPLING, as_image, defaults, drawing, ring, seeded, tiny_model

META = torch.device("meta")  # a device whose tensors have no values: using or copying them raises


def test_networks_on_the_device_are_not_copied(pack):
    model = tiny_model(pack)
    moved = pack.host.model_on_device(model, torch.device("cpu"), discriminator=True)
    assert moved.generator is model.generator and moved.discriminator is model.discriminator


def test_networks_are_copied_to_another_device(pack):
    model = tiny_model(pack)
    moved = pack.host.model_on_device(model, META, discriminator=True)
    assert moved.w_mean.device == next(moved.generator.parameters()).device == META
    assert next(moved.discriminator.parameters()).device == META
    assert next(model.generator.parameters()).device.type == "cpu", "other nodes may hold the original"
    assert pack.host.model_on_device(model, META).discriminator is None


@pytest.mark.usefixtures("inference_mode", "home")
def test_only_nodes_that_use_the_discriminator_copy_it(pack):
    model, lines = tiny_model(pack), pack.core.LineExtractor()
    with torch.inference_mode(False):
        model.discriminator = copy.deepcopy(model.discriminator).to(META)
    z = seeded(pack, model, count=1)
    directions = pack.node("FitDirections").fit(model, 4, 1000, 0)[0]
    pack.node("Sample").sample(model, 0, 1, **SAMPLING)
    pack.node("ModelFilm").film(model, model, z, **defaults(pack, "ModelFilm", frames=2))
    shifted = pack.node("WShift").shift(model, ring(), lines, **defaults(pack, "WShift", pool=4, nearest=1))[0]
    assert shifted.discriminator is model.discriminator
    pack.node("DirectionsSheet").show(model, z, directions, **defaults(pack, "DirectionsSheet", components=1))
    pack.node("ProjectSketch").project(
        model, ring(), lines, **defaults(pack, "ProjectSketch", pool=4, count=1, steps=0)
    )
    pack.node("PrepareSketch").prepare(
        as_image(drawing()), model=model, photosketch=lines, **defaults(pack, "PrepareSketch")
    )
    options = defaults(pack, "ProjectImage", pool=4, starts=1, steps=1)
    with pytest.raises(NotImplementedError):
        pack.node("ProjectImage").project(model, torch.rand(1, 32, 32, 3), **options)
    pack.node("ProjectImage").project(model, torch.rand(1, 32, 32, 3), **options | {"perceptual_weight": 0.0})


def test_unknown_folders_are_refused(pack):
    with pytest.raises(ValueError, match="unknown folder drawings"):
        pack.host.set_folders(drawings="x")


def test_listed_files_are_sorted_and_neither_hidden_nor_excluded(pack, tmp_path):
    for name in ("b.png", "sub/a.PNG", ".hidden/c.png", "runs/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = pack.host.files_below(tmp_path, {".png"}, exclude=["runs"])
    assert list(files.items()) == [("b.png", tmp_path / "b.png"), ("sub/a.PNG", tmp_path / "sub/a.PNG")]
