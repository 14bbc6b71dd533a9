"""Nodes for projecting, latents, models in between and directions, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loaded_pack import SAMPLING, tiny_model
from PIL import Image


@pytest.fixture(autouse=True)
def home(home):
    """In inference mode, as in ComfyUI."""
    with torch.inference_mode():
        yield home


@pytest.fixture
def model(pack):
    return tiny_model(pack)


def defaults(pack, name, **changes):
    """The widgets' defaults of a node."""
    sections = pack.classes[f"GANSketching_{name}"].INPUT_TYPES()
    return {k: o["default"] for s in sections.values() for k, (_, o) in s.items() if "default" in o} | changes


def seeded(pack, model, seed=1, count=3, space="z"):
    return pack.node("LatentsFromSeed").draw(model, seed, count, space, -1)[0]


def images_of(pack, model, latents):
    return pack.node("Sample").sample(model, 0, 1, latents=latents, **SAMPLING)[0]


def ring(size=48):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((x - size / 2) ** 2 + (y - size / 2) ** 2).sqrt()
    return ((distance - size * 0.3).abs() > 2).float()[None, :, :, None].expand(-1, -1, -1, 3)


def customised(pack, model):
    """The same model with another mapping network."""
    made = tiny_model(pack)
    with torch.inference_mode(False), torch.no_grad():
        for parameter in made.generator.mapping.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        return pack.core.GanModel(made.generator, None, made.config, made.generator.mean_w(), "custom", model.base_hash)


# ---------------------------------------------------------------------------------------------------------- projecting


def test_project_image_finds_latents_for_sample(pack, model):
    targets = images_of(pack, model, seeded(pack, model, count=2))
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total, preview)))
    options = defaults(pack, "ProjectImage", space="w", steps=6, pool=8, starts=2)
    found, reconstruction, report = pack.node("ProjectImage").project(model, targets, **options)
    assert found.space == "w" and reconstruction.shape == (2, 32, 32, 3)
    assert torch.allclose(images_of(pack, model, found), reconstruction, atol=1e-4)
    assert "2 images projected into w of tiny" in report and "dB" in report
    assert [step[:2] for step in seen[:6]] == [(k, 6) for k in range(1, 7)] and seen[0][2].width > 200


def test_project_image_takes_a_mask_and_any_size(pack, model):
    photo, mask = torch.rand(1, 50, 70, 3), torch.zeros(50, 70)
    mask[10:40, 20:50] = 1
    options = defaults(pack, "ProjectImage", steps=2, pool=4, starts=1)
    _, reconstruction, _ = pack.node("ProjectImage").project(model, photo, mask=mask, **options)
    assert reconstruction.shape == (1, 32, 32, 3)
    with pytest.raises(ValueError, match="mask is empty"):
        pack.node("ProjectImage").project(model, photo, mask=torch.zeros(1, 50, 70), **options)
    with pytest.raises(ValueError, match="steps 0"):
        pack.node("ProjectImage").project(model, photo, **{**options, "steps": 0})


def test_projecting_can_be_cancelled_and_leaves_the_model_alone(pack, model):
    before, calls = pack.core.weights_hash(model), []

    def stop():
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("ProjectImage").project(model, torch.rand(1, 32, 32, 3), **defaults(pack, "ProjectImage", pool=4))
    assert len(calls) == 6 and pack.core.weights_hash(model) == before


def test_project_sketch_finds_several_images(pack, model):
    options = defaults(pack, "ProjectSketch", steps=2, pool=12, count=3)
    lines = pack.core.LineExtractor()
    found, pictures, drawings, report = pack.node("ProjectSketch").project(model, ring(), lines, **options)
    assert len(found) == 3 and pictures.shape == drawings.shape == (3, 32, 32, 3)
    assert torch.allclose(images_of(pack, model, found), pictures, atol=1e-4)
    assert len({tuple(z) for z in found.data.tolist()}) == 3 and "3 images for 1 sketches" in report
    with pytest.raises(ValueError, match="enlarge the pool"):
        pack.node("ProjectSketch").project(model, ring(), lines, **{**options, "count": 13})


# ------------------------------------------------------------------------------------------------------------- latents


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_sample_takes_latents_of_every_space(pack, model, space):
    expected = pack.node("Sample").sample(model, 1, 3, **SAMPLING)[0]
    found = seeded(pack, model, space=space)
    assert found.space == space
    assert torch.allclose(images_of(pack, model, found), expected, atol=1e-5)
    half = pack.node("Sample").sample(model, 1, 3, latents=found, **{**SAMPLING, "truncation": 0.5})[0]
    truncated = pack.node("TruncateLatents").truncate(model, found, 0.5, 0)[0]
    assert torch.allclose(images_of(pack, model, truncated), half, atol=1e-5)


def test_walk_passes_through_the_keys(pack, model):
    keys = seeded(pack, model, count=3)
    looped = pack.node("InterpolateLatents").walk(keys, 12, True, "auto")[0]
    straight = pack.node("InterpolateLatents").walk(keys, 5, False, "lerp")[0]
    assert len(looped) == 12 and torch.allclose(looped.data[[0, 4, 8]], keys.data, atol=1e-5)
    assert torch.allclose(straight.data[[0, 2, 4]], keys.data, atol=1e-5)


def test_style_mix_changes_the_chosen_layers(pack, model):
    base, style = (seeded(pack, model, seed, space="w+") for seed in (1, 2))
    mixed = pack.node("StyleMix").mix(model, base, style, 4, -1)[0].data
    assert torch.equal(mixed[:, :4], base.data[:, :4]) and torch.equal(mixed[:, 4:], style.data[:, 4:])
    with pytest.raises(ValueError, match="layers 4 to 17"):
        pack.node("StyleMix").mix(model, base, style, 4, 17)


def test_join_and_pick(pack, model):
    a, b = seeded(pack, model, 1, 2), seeded(pack, model, 2, 3)
    joined = pack.node("JoinLatents").join(a, b, latents_4=a)[0]
    assert len(joined) == 7
    assert torch.equal(pack.node("PickLatents").pick(joined, "4, 0-1")[0].data, joined.data[[4, 0, 1]])
    with pytest.raises(ValueError, match="there is no latent 7: the batch has 7"):
        pack.node("PickLatents").pick(joined, "7")
    with pytest.raises(ValueError, match="one space"):
        pack.node("JoinLatents").join(a, seeded(pack, model, space="w"))


@pytest.mark.parametrize("numbers", ["", "a", "1,,2", "-1", "5-2", "0-99999999", "1.5"])
def test_bad_numbers_are_told_before_running(pack, numbers):
    assert "write for example" in pack.classes["GANSketching_PickLatents"].VALIDATE_INPUTS(numbers)
    assert pack.classes["GANSketching_PickLatents"].VALIDATE_INPUTS(None) is True


def test_latents_are_saved_in_their_folder_only(pack, model, home):
    found = seeded(pack, model, space="w+")
    node = pack.node("SaveLatents")
    for _ in range(2):
        shown = node.save(found, "../../mine")["ui"]["text"][0]
    assert "latents/mine_00002.safetensors" in shown
    assert (home / "output/gansketching/latents/mine_00002.safetensors").is_file()
    names = pack.node("LoadLatents").INPUT_TYPES()["required"]["name"][0]
    assert names == ["mine_00001.safetensors [output]", "mine_00002.safetensors [output]"]
    loaded = pack.node("LoadLatents").load(names[1])[0]
    assert loaded.space == "w+" and torch.equal(loaded.data, found.data)
    assert not any("mine" in name for name in pack.model_files.generators())
    assert "Save Latents" in pack.node("LoadLatents").VALIDATE_INPUTS("../x")
    with pytest.raises(ValueError, match="choose one of"):
        pack.node("LoadLatents").load("../../../secret")


def test_models_are_not_saved_among_latents(pack):
    assert pack.model_files.new_result("latents/x").parent.name == "latents_"
    assert pack.model_files.new_result("latents").parent.name == "gansketching"


# -------------------------------------------------------------------------------------------------------------- models


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


def test_w_shift_towards_the_samples_of_each_sketch(pack, model):
    lines = pack.core.LineExtractor()
    two = torch.cat([ring(), 1 - ring()])
    options = defaults(pack, "WShift", pool=12, nearest=1)  # each sketch has at least two
    easiest, each = (
        pack.node("WShift").shift(model, two, lines, **{**options, "per_sketch": chosen})[0] for chosen in (False, True)
    )
    assert not torch.equal(easiest.w_mean, each.w_mean)


# ---------------------------------------------------------------------------------------------------------- directions


def test_directions_are_fitted_saved_and_applied(pack, model, home):
    fitted = pack.node("FitDirections").fit(model, 8, 2000, 0)[0]
    pack.node("SaveDirections").save(fitted, "mine")
    (name,) = pack.node("LoadDirections").INPUT_TYPES()["required"]["name"][0]
    loaded = pack.node("LoadDirections").load(name)[0]
    assert name == "mine_00001.safetensors [output]" and torch.equal(loaded.components, fitted.components)
    z = seeded(pack, model)
    edit = defaults(pack, "EditLatents", component=2, strength=1.5, first_layer=2, last_layer=3)
    moved = pack.node("EditLatents").edit(model, z, loaded, **edit)[0]
    change = moved.data - pack.node("LatentsFromSeed").draw(model, 1, 3, "w+", -1)[0].data
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
    before = node.IS_CHANGED("tiny_style.npz")
    np.savez(folder / "tiny_style.npz", lat_comp=eye[:2, None], lat_mean=eye[:1], lat_stdev=np.ones(2, np.float32))
    assert node.IS_CHANGED("tiny_style.npz") != before


def test_directions_sheet_has_a_row_for_each(pack, model):
    fitted = pack.node("FitDirections").fit(model, 4, 1000, 0)[0]
    options = defaults(pack, "DirectionsSheet", components=3, columns=5)
    sheet = pack.node("DirectionsSheet").show(model, seeded(pack, model), fitted, **options)[0]
    assert sheet.shape[0] == 1 and sheet.shape[2] > 5 * 128 and sheet.shape[1] > 3 * 128
    with pytest.raises(ValueError, match="there are 4 directions"):
        pack.node("DirectionsSheet").show(model, seeded(pack, model), fitted, **{**options, "components": 5})


# -------------------------------------------------------------------------------------------------------------- photos


def test_load_photos_of_a_folder_and_of_the_pack(pack, home):
    folder = home / "input/cats"
    folder.mkdir(parents=True)
    for k, size in enumerate([(60, 40), (30, 90)]):
        Image.new("RGB", size, (255, 0, 0)).save(folder / f"{k}.png")
    node = pack.node("LoadPhotos")
    names = node.INPUT_TYPES()["required"]["source"][0]
    assert "cats" in names and "photos [bundled]" in names and "lemon.png [bundled]" in names
    assert node.load("cats", 0, 64)[0].shape == (2, 64, 64, 3) and node.load("cats", 1, 32)[0].shape == (1, 32, 32, 3)
    assert node.load("lemon.png [bundled]", 0, 64)[0].shape == (1, 64, 64, 3)
    assert "input folder" in node.VALIDATE_INPUTS("../secrets")
