"""Nodes for models in between, w-shift and directions, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loaded_pack import customised, defaults, images_of, ring, seeded, tiny_model

pytestmark = pytest.mark.usefixtures("inference_mode", "home")


@pytest.fixture
def model(pack):
    return tiny_model(pack)


def test_interpolated_model_can_be_projected_and_mixed_again(pack, model):
    other = customised(pack, model)
    z = seeded(pack, model)
    ends = [pack.node("InterpolateModels").mix(model, other, alpha)[0] for alpha in (0.0, 1.0)]
    for mixed, original in zip(ends, (model, other)):
        assert torch.equal(images_of(pack, mixed, z), images_of(pack, original, z))
    half = pack.node("InterpolateModels").mix(*ends, 0.5)[0]
    options = defaults(pack, "ProjectImage", steps=2, pool=4, starts=1)
    pack.node("ProjectImage").project(half, torch.rand(1, 32, 32, 3), **options)
    with pytest.raises(ValueError, match="different base models"):
        pack.node("InterpolateModels").mix(model, tiny_model(pack, 9, "other"), 0.5)


@pytest.mark.parametrize("mode", ["w", "weights"])
def test_model_film_starts_and_ends_at_the_models(pack, model, mode):
    other, z = customised(pack, model), seeded(pack, model, count=1)
    options = defaults(pack, "ModelFilm", frames=4, mode=mode)
    frames = pack.node("ModelFilm").film(model, other, z, **options)[0]
    assert len(frames) == 6  # there and back, without the ends twice
    assert torch.allclose(frames[0], images_of(pack, model, z)[0], atol=1e-5)
    assert torch.allclose(frames[3], images_of(pack, other, z)[0], atol=1e-5)
    assert torch.equal(frames[5], frames[1])


def test_model_film_shows_several_latents_in_a_frame(pack, model):
    options = defaults(pack, "ModelFilm", frames=2, back=False)
    frames = pack.node("ModelFilm").film(model, customised(pack, model), seeded(pack, model, count=4), **options)[0]
    assert frames.shape[0] == 2 and 64 <= frames.shape[1] == frames.shape[2] < 80
    with pytest.raises(ValueError, match="z latents"):
        pack.node("ModelFilm").film(model, model, seeded(pack, model, space="w"), **options)


def test_w_shift_is_a_small_customised_model(pack, model, home):
    lines = pack.core.LineExtractor()
    options = defaults(pack, "WShift", pool=12, nearest=2)
    shifted = pack.node("WShift").shift(model, ring(), lines, **options)[0]
    z = seeded(pack, model)
    assert not torch.allclose(images_of(pack, shifted, z), images_of(pack, model, z), atol=1e-3)
    pack.node("SaveCustomisedModel").save(shifted, "shift")
    (file,) = (home / "output/gansketching").glob("*.safetensors")
    assert pack.core.describe(file)["kind"] == "customised model" and file.stat().st_size < 4000
    loaded = pack.core.load_customised(file, model)
    assert torch.equal(images_of(pack, loaded, z), images_of(pack, shifted, z))


def test_w_shift_takes_samples_of_the_chosen_class(pack):
    """Of three classes: the same shift as the core's with this label, and -1 takes samples of all."""
    model, lines = tiny_model(pack, class_count=3), pack.core.LineExtractor()
    options = defaults(pack, "WShift", pool=12, nearest=2)
    shifts = {}
    for chosen in (-1, 0, 2):
        shifted = pack.node("WShift").shift(model, ring(), lines, **{**options, "class_index": chosen})[0]
        shifts[chosen] = shifted.generator.mapping.w_shift
    sketches = pack.sketching.as_sketches(ring(), 32)
    for chosen, label in ((-1, None), (0, 0), (2, 2)):
        expected = pack.editing.shift_towards(model, sketches, lines, pool=12, nearest=2, label=label)
        assert torch.allclose(shifts[chosen], expected.generator.mapping.w_shift, atol=1e-5)
    assert not torch.allclose(shifts[0], shifts[2], atol=1e-3)
    with pytest.raises(ValueError, match="no classes"):
        pack.node("WShift").shift(tiny_model(pack), ring(), lines, **{**options, "class_index": 1})


def test_w_shift_towards_the_samples_of_each_sketch(pack, model):
    lines = pack.core.LineExtractor()
    two = torch.cat([ring(), 1 - ring()])
    options = defaults(pack, "WShift", pool=12, nearest=1)  # each sketch has at least two
    easiest, each = (
        pack.node("WShift").shift(model, two, lines, **{**options, "per_sketch": chosen})[0] for chosen in (False, True)
    )
    assert not torch.equal(easiest.w_mean, each.w_mean)


def test_directions_are_fitted_saved_and_applied(pack, model, home):
    fitted = pack.node("FitDirections").fit(model, 8, 2000, 0)[0]
    pack.node("SaveDirections").save(fitted, "mine")
    (name,) = pack.node("LoadDirections").INPUT_TYPES()["required"]["name"][0]
    loaded = pack.node("LoadDirections").load(name)[0]
    assert name == "mine_00001.safetensors [output]" and torch.equal(loaded.components, fitted.components)
    z = seeded(pack, model)
    edit = defaults(pack, "EditLatents", component=2, strength=1.5, first_layer=2, last_layer=3)
    moved = pack.node("EditLatents").edit(model, z, loaded, **edit)[0]
    change = moved.data - pack.node("LatentsFromSeed").sample(model, 1, 3, "w+", -1)[0].data
    assert torch.allclose(change[0, 2], 1.5 * fitted.stdev[2] * fitted.components[2], atol=1e-5)
    assert not change[:, [0, 1, *range(4, 8)]].any()
    with pytest.raises(ValueError, match="component 8"):
        pack.node("EditLatents").edit(model, z, loaded, **{**edit, "component": 8})
    with pytest.raises(ValueError, match="components is 40"):
        pack.node("FitDirections").fit(model, 40, 2000, 0)


def test_published_directions_are_listed(pack, home):
    folder = home / "models/ganspace"
    folder.mkdir(parents=True)
    eye = np.eye(8, dtype=np.float32)
    np.savez(folder / "tiny_style.npz", lat_comp=eye[:3, None], lat_mean=eye[:1], lat_stdev=np.ones(3, np.float32))
    node = pack.node("LoadDirections")
    assert node.INPUT_TYPES()["required"]["name"][0] == ["tiny_style.npz"]
    assert len(node.load("tiny_style.npz")[0]) == 3
    before = node.IS_CHANGED(name="tiny_style.npz")
    np.savez(folder / "tiny_style.npz", lat_comp=eye[:2, None], lat_mean=eye[:1], lat_stdev=np.ones(2, np.float32))
    assert node.IS_CHANGED(name="tiny_style.npz") != before


def test_directions_sheet_has_a_row_for_each(pack, model):
    fitted = pack.node("FitDirections").fit(model, 4, 1000, 0)[0]
    options = defaults(pack, "DirectionsSheet", components=3, columns=5)
    sheet = pack.node("DirectionsSheet").show(model, seeded(pack, model), fitted, **options)[0]
    assert sheet.shape[0] == 1 and sheet.shape[2] > 5 * 128 and sheet.shape[1] > 3 * 128
    with pytest.raises(ValueError, match="there are 4 directions"):
        pack.node("DirectionsSheet").show(model, seeded(pack, model), fitted, **{**options, "components": 5})
