"""Files for other programs: rosinality's .pt and GANSketching's netG.pth and netD.pth.

The expected state dicts are built in formats.py from the names of the tensors in those repositories. By hand, files of
the bundled model and of others were loaded in the unmodified code of both (strict), with the same images.
"""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import replace

import formats
import pytest
import torch
from formats import SMALL, small_model

from gansketching_core import compose_models, export_gansketching, export_rosinality, load_model
from gansketching_core.networks.stylegan2 import GanConfig, GanModel

CONFIG_F = GanConfig(resolution=32, z_dim=16, w_dim=16, mapping_layers=2)  # 512 channels, as in their code


def images(model: GanModel) -> torch.Tensor:
    z = torch.randn(4, model.config.z_dim, generator=torch.Generator().manual_seed(1))
    return model.generator.synthesize(model.generator.map(z), noise="const")


def shifted(model: GanModel) -> GanModel:
    model.generator.mapping.w_shift += 0.1 * torch.arange(model.config.w_dim)
    return model


def read(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def config_f() -> GanModel:
    return small_model(CONFIG_F)


def assert_same_tensors(actual, expected) -> None:
    assert list(actual) == list(expected) or actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def test_rosinality_file(tmp_path, config_f):
    note = export_rosinality(config_f, tmp_path / "model.pt")
    content = read(tmp_path / "model.pt")
    assert content.keys() == {"g_ema", "latent_avg", "d"}
    assert_same_tensors(content["g_ema"], formats.rosinality_generator(config_f))
    assert_same_tensors(content["d"], formats.rosinality_discriminator(config_f))
    assert torch.equal(content["latent_avg"], config_f.w_mean)
    assert "Generator(32, 16, 2, channel_multiplier=1)" in note


def test_gansketching_files(tmp_path, config_f):
    export_gansketching(config_f, tmp_path / "a" / "netG.pth")
    assert_same_tensors(read(tmp_path / "a" / "netG.pth"), formats.rosinality_generator(config_f))
    assert_same_tensors(read(tmp_path / "a" / "netD.pth"), formats.rosinality_discriminator(config_f))
    with pytest.raises(ValueError, match=r"call the file netG\.pth"):
        export_gansketching(config_f, tmp_path / "model.pth")


@pytest.mark.parametrize("export", [export_rosinality, export_gansketching])
@pytest.mark.parametrize("changes", [{}, {"mapping_lr_mul": 0.05}], ids=["narrow", "lr"])
def test_other_architectures_give_the_same_images(tmp_path, export, changes):
    """Fewer channels than their code has, another learning rate multiplier, and a shift of w."""
    model = shifted(small_model(SMALL.model_copy(update=changes)))
    path = tmp_path / ("netG.pth" if export is export_gansketching else "model.pt")
    note = export(model, path)
    loaded = load_model(path)
    assert loaded.config.channels == (512,) * 4 and loaded.config.mapping_lr_mul == 0.01
    torch.testing.assert_close(images(loaded), images(model), rtol=0, atol=1e-5)
    photos = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(loaded.discriminator(photos), model.discriminator(photos), rtol=0, atol=1e-5)
    assert ("w_shift=True" in note) == (export is export_gansketching)
    if export is export_rosinality:  # its code has no shift: every w, and so the mean, lies that much elsewhere
        torch.testing.assert_close(loaded.w_mean, model.w_mean - model.generator.mapping.w_shift)


def test_a_shift_has_gansketchings_name(tmp_path):
    model = shifted(small_model(CONFIG_F, discriminator=False))
    note = export_gansketching(model, tmp_path / "netG.pth")
    expected = formats.rosinality_generator(model, w_shift=True)
    assert_same_tensors(read(tmp_path / "netG.pth"), expected)
    assert not (tmp_path / "netD.pth").exists() and "left out: the model has none" in note


def test_files_hold_tensors_and_no_code(tmp_path, config_f):
    """What the pickle in a file names is what `weights_only=True` of PyTorch allows: tensors and dicts."""
    export_rosinality(config_f, tmp_path / "a.pt")
    export_rosinality(config_f, tmp_path / "b.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes(), "the bytes depend on the model alone"
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".pkl")]
        operations = list(pickletools.genops(archive.read(name)))
    named = {argument for opcode, argument, _ in operations if opcode.name == "GLOBAL"}
    assert named == {"collections OrderedDict", "torch FloatStorage", "torch._utils _rebuild_tensor_v2"}
    assert not any(opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ") for opcode, *_ in operations)


def test_half_precision(tmp_path, config_f):
    export_rosinality(config_f, tmp_path / "full.pt")
    export_rosinality(config_f, tmp_path / "half.pt", dtype=torch.float16)
    full, half = ((tmp_path / f"{name}.pt").stat().st_size for name in ("full", "half"))
    assert half < 0.51 * full
    torch.testing.assert_close(images(load_model(tmp_path / "half.pt")), images(config_f), rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_count": 5}, "class-conditional.*onnx"),
        ({"z_dim": 11}, "z of 11 and w of 16"),
        ({"channels": (600, 8, 8, 8)}, "600"),
        ({"conv_clamp": 0.5}, "limits activations to 0.5"),
    ],
)
def test_what_their_code_cannot_express_is_refused(tmp_path, changes, message):
    model = small_model(SMALL.model_copy(update=changes), discriminator=False)
    for export, name in ((export_rosinality, "model.pt"), (export_gansketching, "netG.pth")):
        with pytest.raises(ValueError, match=message):
            export(model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_clamps_without_effect_are_left_out(tmp_path):
    model = small_model(SMALL.model_copy(update={"conv_clamp": 256.0}), discriminator=False)
    export_rosinality(model, tmp_path / "model.pt")
    torch.testing.assert_close(images(load_model(tmp_path / "model.pt")), images(model), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [{"residual_discriminator": False}, {"stddev_group": 8}])
def test_a_discriminator_that_theirs_cannot_express_is_left_out(tmp_path, changes):
    model = small_model(SMALL.model_copy(update=changes))
    assert "The discriminator was left out: theirs" in export_rosinality(model, tmp_path / "model.pt")
    assert load_model(tmp_path / "model.pt").discriminator is None


def test_unusable_models_are_refused(tmp_path):
    model = small_model(discriminator=False)
    mixed = compose_models(model, [replace(model, name="b"), replace(model, name="c")], [0.5, 0.3], mode="w")
    with pytest.raises(ValueError, match="mixed in w"):
        export_rosinality(mixed, tmp_path / "model.pt")
    model.generator.synthesis.layers[1].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"synthesis.layers.1.weight holds NaN"):
        export_rosinality(model, tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []
