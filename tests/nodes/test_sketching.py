"""Prepare Sketch and PhotoSketch."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import as_image, defaults, drawing, tiny_model

LINKED = {"drawings": "IMAGE", "model": "GANSKETCHING_MODEL", "photosketch": "GANSKETCHING_PHOTOSKETCH"}


def test_prepare_sketch_takes_images_and_masks(pack):
    node = pack.node("PrepareSketch")
    options = defaults(pack, "PrepareSketch", size=64, crop=True, strokes="keep")
    (sketches,) = node.prepare(as_image(drawing()), **options)
    mask = 1 - as_image(drawing())[..., 0]
    assert sketches.shape == (1, 64, 64, 3)
    assert torch.allclose(node.prepare(mask, **options)[0], sketches, atol=0.02)
    with pytest.raises(ValueError, match="blank"):
        node.prepare(torch.ones(1, 32, 32, 3), **options)


@pytest.mark.usefixtures("home", "inference_mode")
def test_strokes_are_matched_to_the_drawings_of_the_model(pack):
    """In a model whose drawings have wide strokes the sketch gets wide strokes, at the model's size."""
    model = tiny_model(pack)

    class Stripes(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width = width

        def forward(self, photos):
            drawings = torch.ones_like(photos[:, :1])
            drawings[:, :, 12 : 12 + self.width] = -1
            return drawings

    def ink(strokes, width=2, **linked):
        options = defaults(pack, "PrepareSketch", size=32, strokes=strokes)
        sketches = pack.node("PrepareSketch").prepare(as_image(drawing()), **options, **linked)[0]
        assert sketches.shape == (1, 32, 32, 3)
        return float((1 - sketches).sum())

    narrow, wide = (ink("match", model=model, photosketch=Stripes(width)) for width in (2, 6))
    assert wide > 1.5 * narrow
    assert ink("keep", model=model, photosketch=Stripes(6)) == ink("keep")


def test_matching_strokes_needs_a_model_and_a_network_before_the_run(pack):
    validate = pack.classes["GANSketching_PrepareSketch"].VALIDATE_INPUTS
    assert validate("match", LINKED) is True and validate("keep", {"drawings": "MASK"}) is True
    for missing in ("model", "photosketch"):
        linked = {name: kind for name, kind in LINKED.items() if name != missing}
        assert "connect both" in validate("match", linked)
        assert validate("redraw", linked) is True
    assert validate(None, {**LINKED, "strokes": "COMBO"}) is True  # a linked value is not known yet


def test_prepare_sketch_says_what_is_wrong_before_the_run(pack):
    validate = pack.classes["GANSketching_PrepareSketch"].VALIDATE_INPUTS
    assert "strokes wide" in validate("wide", LINKED)
    assert validate("keep", {"drawings": "LATENT"}) == "drawings needs IMAGE,MASK, not LATENT"


def test_photosketch_keeps_odd_sizes(pack):
    photos = as_image(drawing((51, 70)).convert("RGB")).expand(2, -1, -1, -1)
    ((drawn,),) = pack.node("PhotoSketch").draw(pack.core.LineExtractor(), photos)
    assert drawn.shape == (2, 70, 51, 3)
    assert 0 <= drawn.min() < drawn.max() <= 1
