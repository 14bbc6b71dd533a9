"""The nodes without ComfyUI: the pack is loaded as ComfyUI loads it, under a name made of its path."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
PACK_NAME = "/comfy ui/custom_nodes/sketch-gan_x_v1"
NODE_IDS = (
    "LoadStyleGAN LoadPhotoSketch LoadSketches PrepareSketch PhotoSketch FineTuneOptions FineTuneMapping "
    "SaveCustomisedModel Sample SideBySide LoadPhotos ProjectImage ProjectSketch LatentsFromSeed InterpolateLatents "
    "StyleMix TruncateLatents JoinLatents PickLatents SaveLatents LoadLatents InterpolateModels ModelFilm WShift "
    "FitDirections EditLatents DirectionsSheet SaveDirections LoadDirections SketchPad "
    "EvaluateModel SketchMatchScore GetModel"
).split()


@pytest.fixture(scope="module")
def pack():
    """The pack's modules, and `node(name)`: a new node."""
    spec = importlib.util.spec_from_file_location(PACK_NAME, ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK_NAME] = module
    spec.loader.exec_module(module)
    names = {"host", "library", "loaders", "pictures", "sampling", "training", "widgets"}
    found = {name: importlib.import_module(f"{PACK_NAME}.nodes.{name}") for name in names}
    core = {
        f"core_{name}": importlib.import_module(f"{PACK_NAME}.gansketching_core.{name}")
        for name in ("checkpoints", "finetune", "latents", "photosketch", "stylegan2")
    }
    classes = module.NODE_CLASS_MAPPINGS
    yield SimpleNamespace(
        module=module, classes=classes, node=lambda name: classes[f"GANSketching_{name}"](), **found, **core
    )
    for name in [name for name in sys.modules if name.startswith(PACK_NAME)]:
        del sys.modules[name]


@pytest.fixture
def home(pack, tmp_path):
    """Empty input, output, temp and models folders."""
    for name in ("input", "output", "temp", "models/stylegan", "models/photosketch"):
        (tmp_path / name).mkdir(parents=True)
    pack.host.set_folders(**{name: tmp_path / name for name in ("input", "output", "temp", "models")})
    yield tmp_path
    pack.host.set_hooks()


def shown_inputs(node) -> list[dict]:
    """The sections of a node's inputs, but for what the editor fills in."""
    return [section for name, section in node.INPUT_TYPES().items() if name != "hidden"]


def tiny_model(pack, seed=0, name="tiny"):
    torch.manual_seed(seed)
    gan = pack.core_stylegan2
    config = gan.GanConfig(resolution=32, z_dim=16, w_dim=16, mapping_layers=2, channels=(16, 16, 8, 8))
    generator = gan.Generator(config).requires_grad_(False).eval()
    discriminator = gan.Discriminator(config).requires_grad_(False).eval()
    model = gan.GanModel(generator, discriminator, config, generator.mean_w(), name)
    model.base_hash = pack.core_checkpoints.weights_hash(model)
    return model


def drawing(size=(40, 60), ink=0, paper=255) -> Image.Image:
    picture = Image.new("L", size, paper)
    ImageDraw.Draw(picture).ellipse([8, 10, size[0] - 8, size[1] - 10], outline=ink, width=3)
    return picture


def as_image(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture.convert("RGB")).astype(np.float32) / 255)[None]


@pytest.fixture
def trainable(pack, home):
    """What FineTuneMapping needs, small."""
    (options,) = pack.node("FineTuneOptions").choose("fast", steps=4, batch=2, precision="float32")
    return {
        "model": tiny_model(pack),
        "sketches": as_image(drawing()),
        "photosketch": pack.core_photosketch.LineExtractor(),
        "seed": 3,
        "options": options,
    }


# ------------------------------------------------------------------------------------------------------ declarations


def test_registered_ids_and_names(pack):
    assert sorted(pack.classes) == sorted(f"GANSketching_{name}" for name in NODE_IDS)
    names = pack.module.NODE_DISPLAY_NAME_MAPPINGS
    assert names.keys() == pack.classes.keys() and len(set(names.values())) == len(names)
    assert (ROOT / pack.module.WEB_DIRECTORY).is_dir()


@pytest.mark.parametrize("name", NODE_IDS)
def test_declaration_is_complete(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    assert node.CATEGORY.startswith("GANSketching/") and len(node.DESCRIPTION) > 20 and node.SEARCH_ALIASES
    outputs = node.RETURN_TYPES
    assert len(outputs) == len(getattr(node, "RETURN_NAMES", ())) == len(getattr(node, "OUTPUT_TOOLTIPS", ()))
    assert all(len(text) > 5 for text in getattr(node, "OUTPUT_TOOLTIPS", ()))
    declared = {k: v for section in shown_inputs(node) for k, v in section.items()}
    assert all(len(options["tooltip"]) > 10 for _, options in declared.values())
    inspect.signature(getattr(node, node.FUNCTION)).bind(None, **dict.fromkeys(declared))


@pytest.mark.parametrize("name", NODE_IDS)
def test_defaults_are_valid(pack, home, name):
    for section in shown_inputs(pack.classes[f"GANSketching_{name}"]):
        for kind, options in section.values():
            if isinstance(kind, list):
                assert options["default"] in (kind or [""])
            elif kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"]


@pytest.mark.parametrize("name", NODE_IDS)
def test_help_page_explains_every_socket(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    page = (ROOT / pack.module.WEB_DIRECTORY / "docs" / f"GANSketching_{name}.md").read_text("utf-8")
    assert page.startswith(f"# {node.DISPLAY_NAME}\n")
    names = [*(k for section in shown_inputs(node) for k in section), *getattr(node, "RETURN_NAMES", ())]
    assert [n for n in names if f"**{n}**" not in page] == []
    shown = re.findall(r"!\[.+\]\((\w+\.jpg)\)", page)
    assert shown and all((ROOT / pack.module.WEB_DIRECTORY / "docs" / picture).is_file() for picture in shown)


def test_only_host_knows_comfyui():
    knows = re.compile(r"^\s*(import|from) (comfy|folder_paths|server|execution|nodes)\b", re.MULTILINE)
    found = {path.name for path in (ROOT / "nodes").glob("*.py") if knows.search(path.read_text("utf-8"))}
    assert found == {"host.py"}


def test_training_seed_does_not_change_by_itself(pack):
    required = pack.classes["GANSketching_FineTuneMapping"].INPUT_TYPES()["required"]
    assert required["seed"][1]["control_after_generate"] is False
    assert pack.classes["GANSketching_Sample"].INPUT_TYPES()["required"]["seed"][1]["control_after_generate"] is True


# ----------------------------------------------------------------------------------------------------------- widgets


def test_widgets_come_from_the_config(pack):
    found = pack.widgets.widgets(pack.core_latents.SampleConfig)
    kind, options = found["truncation"]
    assert (kind, options["min"], options["max"], options["default"]) == ("FLOAT", 0.0, 2.0, 1.0)
    assert found["noise"][0] == ["const", "random", "none"]
    assert found["truncation_cutoff"][0] == "INT"
    low = pack.widgets.widget(pack.core_finetune.FinetuneConfig.model_fields["learning_rate"])[1]
    assert 0 < low["min"] < 1e-3 and low["step"] < 0.02


def test_options_keep_the_preset_until_changed(pack):
    config = pack.core_finetune.FinetuneConfig
    sections = pack.classes["GANSketching_FineTuneOptions"].INPUT_TYPES()["required"]
    untouched = {name: options["default"] for name, (_, options) in sections.items()}
    for preset in ("fast", "paper"):
        assert pack.node("FineTuneOptions").choose(**{**untouched, "preset": preset}) == (config.preset(preset),)
    (changed,) = pack.node("FineTuneOptions").choose(
        **{**untouched, "preset": "paper", "steps": 7, "share_fakes": "on", "ema": 0.0, "loss": "hinge"}
    )
    assert changed == config.preset("paper", steps=7, share_fakes=True, ema=0.0, loss="hinge")
    assert "seed" not in sections and f"fast {config().steps}" in sections["steps"][1]["tooltip"]


def test_bad_options_are_named(pack):
    with pytest.raises(ValueError, match="steps 0"):
        pack.node("FineTuneOptions").choose("fast", steps=0)
    validate = pack.classes["GANSketching_FineTuneOptions"].VALIDATE_INPUTS
    assert validate("color,cutout") is True and validate(pack.widgets.AS_PRESET) is True and validate(None) is True
    assert "sparkle" in validate("sparkle")


# ------------------------------------------------------------------------------------------------- loading and saving


def test_load_stylegan_lists_and_loads(pack, home):
    node = pack.node("LoadStyleGAN")
    model = tiny_model(pack)
    pack.core_checkpoints.save_model(model, home / "models/stylegan/sub/base.safetensors")
    (home / "models/stylegan/notes.txt").write_text("no model")
    names = node.INPUT_TYPES()["required"]["model_name"][0]
    assert "sub/base.safetensors" in names and "notes.txt" not in names
    assert all(name.endswith((".safetensors", "[bundled]")) for name in names)
    (loaded,) = node.load("sub/base.safetensors")
    assert loaded.base_hash == model.base_hash


def test_load_stylegan_notices_changed_files_only(pack, home):
    node, path = pack.classes["GANSketching_LoadStyleGAN"], home / "models/stylegan/base.safetensors"
    pack.core_checkpoints.save_model(tiny_model(pack), path)
    before = node.IS_CHANGED("base.safetensors")
    assert node.IS_CHANGED("base.safetensors") == before
    pack.core_checkpoints.save_model(tiny_model(pack, seed=1), path)
    assert node.IS_CHANGED("base.safetensors") != before
    assert node.IS_CHANGED(None) == ""  # the name comes by a link and is not known yet


def test_missing_files_are_told_before_running(pack, home):
    message = pack.classes["GANSketching_LoadStyleGAN"].VALIDATE_INPUTS("cat.pkl")
    assert "cat.pkl" in message and "models/stylegan" in message
    assert "line extractor" in pack.classes["GANSketching_LoadPhotoSketch"].VALIDATE_INPUTS("x.pth")
    assert "input folder" in pack.classes["GANSketching_LoadSketches"].VALIDATE_INPUTS("../secrets")
    assert pack.classes["GANSketching_LoadStyleGAN"].VALIDATE_INPUTS(None) is True
    with pytest.raises(ValueError, match="choose one of"):
        pack.node("LoadSketches").load("../secrets", 0, 64)


def test_a_file_that_is_no_model_is_told_before_running(pack, home):
    path = home / "models/stylegan/torn.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{torn")
    assert "torn.safetensors" in pack.node("LoadStyleGAN").VALIDATE_INPUTS("torn.safetensors")


@pytest.mark.parametrize("name", ["StyleMix", "EditLatents", "DirectionsSheet"])
def test_an_impossible_range_of_layers_is_told_before_running(pack, name):
    validate = pack.classes[f"GANSketching_{name}"].VALIDATE_INPUTS
    assert validate(2, 5) is True and validate(4, 4) is True and validate(7, -1) is True
    assert validate(None, 3) is True and validate(3, None) is True  # comes by a link
    assert "first_layer 6 is after last_layer 2" in validate(6, 2)
    assert "layers go from 0" in validate(0, 99) and "layers go from 0" in validate(-1, 3)


def test_customised_model_finds_its_base_by_hash(pack, home, trainable):
    base, other = tiny_model(pack), tiny_model(pack, seed=5, name="other")
    customised = pack.node("FineTuneMapping").finetune(**trainable)[0]
    pack.node("SaveCustomisedModel").save(customised, "mine")
    name = "mine_00001.safetensors [output]"
    load, validate = pack.node("LoadStyleGAN").load, pack.node("LoadStyleGAN").VALIDATE_INPUTS
    pack.core_checkpoints.save_model(other, home / "models/stylegan/a.safetensors")
    (home / "models/stylegan/broken.pkl").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="models/stylegan"):
        load(name)
    assert validate(name) is True  # only reading broken.pkl could tell, and that may take long
    (home / "models/stylegan/broken.pkl").unlink()
    assert 'customised from the model "tiny"' in validate(name) and "models/stylegan" in validate(name)
    pack.core_checkpoints.save_model(base, home / "models/stylegan/renamed.safetensors")
    (loaded,) = load(name)
    assert validate(name) is True
    assert pack.core_checkpoints.weights_hash(loaded) == pack.core_checkpoints.weights_hash(customised)
    assert "mine_00001.safetensors [output]" in pack.library.generators()
    assert not any("runs" in listed for listed in pack.library.generators())


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("banana", "banana_00001.safetensors"),
        ("fruit/banana v2", "fruit/banana v2_00001.safetensors"),
        ("../../etc/passwd", "etc/passwd_00001.safetensors"),
        ("C:\\temp\\x", "C_/temp/x_00001.safetensors"),
        ("/abs", "abs_00001.safetensors"),
        ("..", "customised_00001.safetensors"),
        ('a<b>:"|?*\x00', "a_b________00001.safetensors"),
        ("", "customised_00001.safetensors"),
    ],
)
def test_saved_names_stay_inside(pack, home, name, saved):
    path = pack.library.new_result(name)
    assert path == home / "output/gansketching" / saved
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert pack.library.new_result(name).name == saved.rpartition("/")[2].replace("00001", "00002")


def test_original_model_is_not_saved(pack, home):
    with pytest.raises(ValueError, match="original model"):
        pack.node("SaveCustomisedModel").save(tiny_model(pack), "x")
    assert not (home / "output/gansketching").exists()


def test_load_photosketch(pack, home):
    net = pack.core_photosketch.PhotoSketch(width=4, blocks=1)
    pack.core_checkpoints.save_photosketch(net, home / "models/photosketch/mine.safetensors")
    node = pack.node("LoadPhotoSketch")
    names = node.INPUT_TYPES()["required"]["network"][0]
    assert "mine.safetensors" in names and names[-1] == pack.loaders.LINE_EXTRACTOR
    assert node.load("mine.safetensors")[0].width == 4
    assert type(node.load(pack.loaders.LINE_EXTRACTOR)[0]).__name__ == "LineExtractor"
    assert node.IS_CHANGED(pack.loaders.LINE_EXTRACTOR) == node.IS_CHANGED(pack.loaders.LINE_EXTRACTOR)


def test_load_sketches_of_different_sizes(pack, home):
    node, folder = pack.node("LoadSketches"), home / "input/cats/mine"
    folder.mkdir(parents=True)
    drawing((40, 60)).save(folder / "1.png")
    drawing((90, 30), ink=255, paper=0).save(folder / "2.png")
    (home / "input/empty").mkdir()
    names = node.INPUT_TYPES()["required"]["folder"][0]
    assert "cats/mine" in names and "empty" not in names and "cats" not in names
    (sketches,) = node.load("cats/mine", 0, 64)
    assert sketches.shape == (2, 64, 64, 3)
    assert torch.all(sketches[:, 0, 0] == 1) and sketches.amin(dim=(1, 2, 3)).max() < 0.2
    assert len(node.load("cats/mine", 1, 64)[0]) == 1
    before = node.IS_CHANGED("cats/mine")
    drawing().save(folder / "3.png")
    assert node.IS_CHANGED("cats/mine") != before


# -------------------------------------------------------------------------------------------- sketching and sampling


def test_prepare_sketch_takes_images_and_masks(pack):
    node = pack.node("PrepareSketch")
    options = {"invert": "auto", "levels": True, "crop": True, "margin": 0.1, "stroke_width": 0.0}
    (sketches,) = node.prepare(as_image(drawing()), 64, **options)
    mask = 1 - as_image(drawing())[..., 0]
    assert sketches.shape == (1, 64, 64, 3)
    assert torch.allclose(node.prepare(mask, 64, **options)[0], sketches, atol=0.02)
    with pytest.raises(ValueError, match="blank"):
        node.prepare(torch.ones(1, 32, 32, 3), 64, **options)


def test_photosketch_keeps_odd_sizes(pack):
    photos = as_image(drawing((51, 70)).convert("RGB")).expand(2, -1, -1, -1)
    (drawn,) = pack.node("PhotoSketch").draw(pack.core_photosketch.LineExtractor(), photos)
    assert drawn.shape == (2, 70, 51, 3)
    assert 0 <= drawn.min() < drawn.max() <= 1


SAMPLING = {"truncation": 1.0, "truncation_cutoff": 0, "noise": "const", "class_index": -1}


def test_sample_shares_latents_between_models(pack, home):
    node, first, second = pack.node("Sample"), tiny_model(pack), tiny_model(pack, seed=1)
    pictures, latents = node.sample(first, 5, 3, **SAMPLING)
    assert pictures.shape == (3, 32, 32, 3) and latents.space == "z"
    assert torch.equal(node.sample(first, 0, 1, latents=latents, **SAMPLING)[0], pictures)
    assert torch.equal(node.sample(first, 5, 4, **SAMPLING)[0][:3], pictures)
    assert not torch.equal(node.sample(second, 5, 3, latents=latents, **SAMPLING)[0], pictures)


def test_sample_reports_progress_and_can_be_cancelled(pack, home):
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total)))
    pack.node("Sample").sample(tiny_model(pack), 0, 200, **SAMPLING)
    assert seen[-1] == (200, 200) and len(seen) > 1

    def stop():
        raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("Sample").sample(tiny_model(pack), 0, 2, **SAMPLING)


def test_bad_sampling_values_are_named(pack, home):
    with pytest.raises(ValueError, match="truncation 9"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "truncation": 9})
    with pytest.raises(ValueError, match="no classes"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "class_index": 2})


def test_side_by_side(pack):
    left, right = torch.zeros(4, 64, 64, 3), torch.ones(4, 64, 64, 3) * 0.5
    (picture,) = pack.node("SideBySide").compose(left, right, "before", "after", 0)
    assert picture.shape[0] == 1 and picture.shape[3] == 3
    assert picture.shape[2] > 4 * 128 and picture.shape[1] > 2 * 128
    darkest = (picture[0] == 0).all(dim=2)
    assert darkest.sum() >= 4 * 128**2 and not darkest[:, picture.shape[2] // 2 :].any()
    (wider,) = pack.node("SideBySide").compose(left, right, "before", "after", 0, sketches=torch.ones(30, 256, 256, 3))
    assert wider.shape[1] == picture.shape[1] and wider.shape[2] < 2 * picture.shape[2]


@pytest.mark.parametrize("values", [[], [1.0], [2.0, float("nan"), 1.5], [0.0, 0.0], [1e-9, 1e9], [-3.0, -1.0]])
def test_loss_plot_draws_any_history(pack, values):
    picture = pack.pictures.loss_plot({"G sketch": list(enumerate(values))})
    assert picture.size == (768, 432)
    assert (np.asarray(picture) == (31, 119, 180)).all(axis=2).any() == bool(values)


# --------------------------------------------------------------------------------------------------------- fine-tuning


def test_finetune_customises_a_copy(pack, trainable):
    before = {name: value.clone() for name, value in trainable["model"].generator.state_dict().items()}
    previews = []
    pack.host.set_hooks(progress=lambda value, total, preview: previews.append((value, total, preview)))
    with torch.inference_mode():  # as ComfyUI does; its tensors must not reach autograd
        trainable["sketches"] = trainable["sketches"] * 1.0
        model, preview, losses, report = pack.node("FineTuneMapping").finetune(**trainable)
    after = trainable["model"].generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = {n for n, v in model.generator.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all(name.startswith("mapping.") for name in changed)
    assert preview.shape[0] == losses.shape[0] == 1 and preview.shape[2] > 4 * 128
    assert "Trained from the start" in report and "4 steps" in report
    assert [(value, total) for value, total, _ in previews] == [(k, 4) for k in range(1, 5)]
    assert previews[0][2].size[0] > 4 * 128


def test_finetune_does_not_train_twice(pack, trainable):
    first = pack.node("FineTuneMapping").finetune(**trainable)
    steps = []
    pack.host.set_hooks(progress=lambda value, total, preview: steps.append(value))
    again = pack.node("FineTuneMapping").finetune(**trainable)
    assert steps == [] and "no training needed" in again[3]
    weights_hash = pack.core_checkpoints.weights_hash
    assert weights_hash(again[0]) == weights_hash(first[0])
    assert torch.equal(again[1], first[1]) and torch.equal(again[2], first[2])
    trainable["seed"] += 1
    assert "Trained from the start" in pack.node("FineTuneMapping").finetune(**trainable)[3]


def test_cancelled_finetune_goes_on(pack, trainable):
    class Cancelled(Exception):
        pass

    def stop_after_two(value, total, preview):
        if value == 2:
            raise Cancelled

    pack.host.set_hooks(progress=stop_after_two)
    with pytest.raises(Cancelled):
        pack.node("FineTuneMapping").finetune(**trainable)
    steps = []
    pack.host.set_hooks(progress=lambda value, total, preview: steps.append(value))
    model, _, _, report = pack.node("FineTuneMapping").finetune(**trainable)
    assert steps == [3, 4] and "Went on from step 2" in report
    for run in pack.library.runs_folder().iterdir():
        (run / "model.safetensors").unlink()
    uninterrupted = pack.node("FineTuneMapping").finetune(**trainable)[0]
    assert pack.core_checkpoints.weights_hash(model) == pack.core_checkpoints.weights_hash(uninterrupted)


def test_finetune_with_images_masks_and_bad_sketches(pack, trainable):
    trainable["sketches"] = 1 - trainable["sketches"][..., 0]
    report = pack.node("FineTuneMapping").finetune(**trainable, images=torch.rand(3, 40, 50, 3))[3]
    assert "Trained from the start" in report
    trainable["sketches"] = torch.full((1, 20, 20, 3), float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        pack.node("FineTuneMapping").finetune(**trainable)


def test_previews_take_little_time(pack, trainable, monkeypatch):
    """A preview that takes 0.3 s is not made again before its share of the time is earned."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(pack.training.time, "perf_counter", lambda: clock.now)
    silent = SimpleNamespace(step=lambda *_: None)
    watcher = pack.training.Watcher(trainable["model"], trainable["options"], silent)
    made = []

    def slow(model):
        clock.now += 0.3
        made.append(clock.now)

    monkeypatch.setattr(watcher, "grid", slow)
    tuner = SimpleNamespace(result=lambda: None)
    for step in range(400):
        clock.now += 0.05
        watcher(SimpleNamespace(step=step), tuner)
    assert 2 <= len(made) <= 6
    assert sum(0.3 for _ in made[1:]) < 0.1 * (clock.now - 100)
