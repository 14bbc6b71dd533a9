"""The nodes that load and save files, without ComfyUI."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import drawing, tiny_model
from PIL import Image


def test_load_stylegan_lists_and_loads(pack, home):
    node = pack.node("LoadStyleGAN")
    model = tiny_model(pack)
    pack.core.save_model(model, home / "models/stylegan/sub/base.safetensors")
    (home / "models/stylegan/notes.txt").write_text("no model")
    names = node.INPUT_TYPES()["required"]["model_name"][0]
    assert "sub/base.safetensors" in names and "notes.txt" not in names
    assert all(name.endswith((".safetensors", "[bundled]")) for name in names)
    (loaded,) = node.load("sub/base.safetensors")
    assert loaded.base_hash == model.base_hash


def test_load_stylegan_notices_changed_files_only(pack, home):
    node, path = pack.classes["GANSketching_LoadStyleGAN"], home / "models/stylegan/base.safetensors"
    pack.core.save_model(tiny_model(pack), path)
    before = node.IS_CHANGED(model_name="base.safetensors")
    assert node.IS_CHANGED(model_name="base.safetensors") == before
    pack.core.save_model(tiny_model(pack, seed=1), path)
    assert node.IS_CHANGED(model_name="base.safetensors") != before
    assert node.IS_CHANGED(model_name=None) == ""  # the name comes by a link and is not known yet


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


def test_customised_model_finds_its_base_by_hash(pack, home, trainable):
    base, other = tiny_model(pack), tiny_model(pack, seed=5, name="other")
    customised = pack.node("FineTuneMapping").finetune(**trainable)[0]
    pack.node("SaveCustomisedModel").save(customised, "mine")
    name = "mine_00001.safetensors [output]"
    load, validate = pack.node("LoadStyleGAN").load, pack.node("LoadStyleGAN").VALIDATE_INPUTS
    pack.core.save_model(other, home / "models/stylegan/a.safetensors")
    (home / "models/stylegan/broken.pkl").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="models/stylegan"):
        load(name)
    assert validate(name) is True  # only reading broken.pkl could tell, and that may take long
    (home / "models/stylegan/broken.pkl").unlink()
    assert 'customised from the model "tiny"' in validate(name) and "models/stylegan" in validate(name)
    pack.core.save_model(base, home / "models/stylegan/renamed.safetensors")
    (loaded,) = load(name)
    assert validate(name) is True
    assert pack.core.weights_hash(loaded) == pack.core.weights_hash(customised)
    assert "mine_00001.safetensors [output]" in pack.model_files.generators()
    assert not any("runs" in listed for listed in pack.model_files.generators())


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
    path = pack.model_files.new_result(name)
    assert path == home / "output/gansketching" / saved
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert pack.model_files.new_result(name).name == saved.rpartition("/")[2].replace("00001", "00002")


def test_original_model_is_not_saved(pack, home):
    with pytest.raises(ValueError, match="original model"):
        pack.node("SaveCustomisedModel").save(tiny_model(pack), "x")
    assert not (home / "output/gansketching").exists()


def test_load_photosketch(pack, home):
    net = pack.core.PhotoSketch(width=4, blocks=1)
    pack.core.save_photosketch(net, home / "models/photosketch/mine.safetensors")
    node = pack.node("LoadPhotoSketch")
    names = node.INPUT_TYPES()["required"]["network"][0]
    assert "mine.safetensors" in names and names[-1] == pack.load.LINE_EXTRACTOR
    assert node.load("mine.safetensors")[0].width == 4
    assert type(node.load(pack.load.LINE_EXTRACTOR)[0]).__name__ == "LineExtractor"
    assert node.IS_CHANGED(network=pack.load.LINE_EXTRACTOR) == "", "it has no file that could change"


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
    before = node.IS_CHANGED(folder="cats/mine")
    drawing().save(folder / "3.png")
    assert node.IS_CHANGED(folder="cats/mine") != before


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


def test_single_pictures_and_data_sets_are_listed(pack, home):
    folder = home / "models/datasets/cats"
    folder.mkdir(parents=True)
    drawing().save(folder / "1.png")
    drawing().save(home / "input/alone.png")
    for node, widget in (("LoadSketches", "folder"), ("LoadPhotos", "source")):
        names, options = pack.node(node).INPUT_TYPES()["required"][widget]
        assert {"alone.png", "cats [datasets]"} <= set(names) and options["default"].endswith("[bundled]")
        for name in ("alone.png", "cats [datasets]"):
            assert pack.node(node).VALIDATE_INPUTS(name) is True
            assert pack.node(node).load(name, 0, 64)[0].shape == (1, 64, 64, 3)


def test_an_empty_folder_is_told_from_a_missing_one(pack, home):
    (home / "input/mine/today").mkdir(parents=True)
    validate = pack.node("LoadSketches").VALIDATE_INPUTS
    assert '"mine/today" holds no pictures: put drawings into it' in validate("mine/today")
    assert '"yours" does not exist' in validate("yours") and "does not exist" in validate("../input/mine")


def test_an_empty_list_says_what_to_do(pack, home):
    names, options = pack.node("LoadLatents").INPUT_TYPES()["required"]["name"]
    assert names == [options["default"]] == [pack.model_files.NOTHING]
    assert pack.node("LoadLatents").VALIDATE_INPUTS(names[0]).startswith("Save latents with Save GAN Latents")


def test_discriminators_are_not_offered(pack, home):
    for name in ("netG.pth", "netD.pth"):
        (home / "models/stylegan" / name).write_bytes(b"")
    names = pack.node("LoadStyleGAN").INPUT_TYPES()["required"]["model_name"][0]
    assert "netG.pth" in names and "netD.pth" not in names


def test_the_same_model_is_saved_once(pack, home, trainable):
    save = pack.node("SaveCustomisedModel").save
    texts = []
    for seed in (3, 3, 4):  # the second time from disk, as after a restart
        trainable["seed"] = seed
        shown = save(pack.node("FineTuneMapping").finetune(**trainable)[0], "fruit/mine")
        texts += shown["ui"]["text"]
    assert texts[0].startswith("Saved fruit/mine_00001.safetensors") and texts[2].startswith("Saved fruit/mine_00002")
    assert texts[1].startswith("Already saved as fruit/mine_00001.safetensors")
    assert sorted(path.name for path in (home / "output/gansketching/fruit").iterdir()) == [
        "mine_00001.safetensors",
        "mine_00002.safetensors",
    ]
