"""Prepare Sketch and PhotoSketch."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import as_image, defaults, drawing, tiny_model

LINKED = {"model": None, "photosketch": None}  # ComfyUI knows no values of linked inputs before the run


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
    assert validate("match", **LINKED) is True and validate("keep") is True
    for linked in LINKED:
        assert "connect both" in validate("match", **{linked: None})
        assert validate("redraw", **{linked: None}) is True
    assert validate(None, **LINKED) is True
    assert validate(strokes=["match"], model=(None,), photosketch=(None,)) is True, "as ComfyUI gives them"


def test_prepare_sketch_says_what_is_wrong_before_the_run(pack):
    validate = pack.classes["GANSketching_PrepareSketch"].VALIDATE_INPUTS
    assert "strokes wide" in validate("wide", **LINKED)


def test_photosketch_keeps_odd_sizes(pack):
    photos = as_image(drawing((51, 70)).convert("RGB")).expand(2, -1, -1, -1)
    ((drawn,),) = pack.node("PhotoSketch").draw(pack.core.LineExtractor(), photos)
    assert drawn.shape == (2, 70, 51, 3)
    assert 0 <= drawn.min() < drawn.max() <= 1


def test_photosketch_scales_large_photos_down(pack, caplog):
    large = torch.rand(1, 90, 1200, 3)
    small = torch.rand(2, 64, 48, 3)
    caplog.set_level("INFO")
    (drawings,) = pack.node("PhotoSketch").draw(pack.core.LineExtractor(), [large, small], longest_side=300)
    assert [tuple(batch.shape) for batch in drawings] == [(1, 32, 300, 3), (2, 64, 48, 3)]
    assert "1 of 3 photos scaled down to 300 px" in caplog.text
    with pytest.raises(ValueError, match="1 x 40 px"):
        pack.node("PhotoSketch").draw(pack.core.LineExtractor(), torch.rand(1, 40, 1, 3))


def test_photosketch_polls_within_a_photo(pack):
    polls, network = [], pack.core.PhotoSketch(width=4, blocks=1)

    def stop():
        polls.append(1)
        if len(polls) == 5:
            raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("PhotoSketch").draw(network, torch.rand(1, 64, 64, 3))
    pack.host.set_hooks()
    network(torch.rand(1, 3, 64, 64))
    assert len(polls) == 5, "the network of others polls no longer"


def test_lists_of_different_sizes(pack):
    """As ComfyUI gives them to a node that takes lists: every input is a list."""
    images = [as_image(drawing((40, 60))), as_image(drawing((90, 70))), 1 - as_image(drawing())[..., 0]]
    options = {name: [value] for name, value in defaults(pack, "PrepareSketch", size=48, strokes="keep").items()}
    (sketches,) = pack.node("PrepareSketch").prepare(drawings=images, **options)
    assert sketches.shape == (3, 48, 48, 3)
    (alone,) = pack.node("PrepareSketch").prepare(drawings=images[1:2], **options)
    assert torch.equal(alone, sketches[1:2])
    with pytest.raises(ValueError, match="size gets 2 values; only drawings may be lists"):
        pack.node("PrepareSketch").prepare(drawings=images, **{**options, "size": [48, 64]})
