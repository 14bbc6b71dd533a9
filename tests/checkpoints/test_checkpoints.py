"""Model files: every format loads, and what is written comes back."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import formats
import pytest
import torch
from formats import SMALL, small_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gansketching_core.checkpoints.hashes import weights_hash
from gansketching_core.checkpoints.load import load_customised, load_model, load_photosketch
from gansketching_core.checkpoints.native import save_customised, save_model, save_photosketch
from gansketching_core.files import atomic_write
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import GanModel

CONDITIONAL = SMALL.model_copy(update={"class_count": 5, "cmap_dim": 7, "conv_clamp": 0.9, "z_dim": 11})
PLAIN = SMALL.model_copy(update={"residual_discriminator": False, "stddev_group": 8, "mapping_layers": 2})


def images(model: GanModel) -> torch.Tensor:
    """Three images of fixed latents with the stored noise."""
    z = torch.randn(3, model.config.z_dim, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 4, 2]) if model.config.class_count else None
    return model.generator.synthesize(model.generator.map(z, labels), noise="const")


def logits(model: GanModel) -> torch.Tensor:
    size = model.config.resolution
    x = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(8) % 5 if model.config.class_count else None
    return model.discriminator(x, labels)


def assert_same(loaded: GanModel, model: GanModel) -> None:
    """Same images, logits and centre to the last bit, ready for use."""
    assert torch.equal(images(loaded), images(model))
    assert torch.equal(logits(loaded), logits(model))
    assert torch.equal(loaded.w_mean, model.w_mean)
    assert loaded.base_hash == weights_hash(loaded) == weights_hash(model)
    assert not loaded.generator.training and not loaded.discriminator.training
    parameters = [*loaded.generator.parameters(), *loaded.discriminator.parameters()]
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in parameters)


@pytest.fixture(scope="module")
def model() -> GanModel:
    return small_model()


# --------------------------------------------------------------------------------------------------------- own format


@pytest.mark.parametrize("config", [SMALL, CONDITIONAL, PLAIN], ids=["small", "conditional", "plain"])
def test_a_model_comes_back(tmp_path, config):
    model = small_model(config)
    model.metadata = {"licence": "CC0"}
    save_model(model, tmp_path / "a.safetensors", metadata={"steps": 3})
    loaded = load_model(tmp_path / "a.safetensors")
    assert_same(loaded, model)
    assert loaded.config == config and loaded.name == "small"
    assert loaded.metadata == {"licence": "CC0", "steps": "3"}


def test_the_file_says_what_it_is(tmp_path, model):
    save_model(model, tmp_path / "a.safetensors", metadata={"licence": "MIT"})
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    assert metadata["format"] == "gansketching" and metadata["format_version"] == "1" and metadata["kind"] == "model"
    assert json.loads(metadata["config"])["channels"] == [12, 10, 8, 6]
    assert metadata["weights_hash"] == weights_hash(model) and metadata["licence"] == "MIT"
    assert {"generator.synthesis.layers.0.noise_const", "discriminator.out.bias", "w_mean"} <= names


def test_equal_models_make_equal_files(tmp_path, model):
    details = {f"key {k}": str(k) for k in range(12)}
    save_model(model, tmp_path / "a.safetensors", metadata=details)
    save_model(model, tmp_path / "b.safetensors", metadata=dict(reversed(details.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_half_precision_file_loads_as_float32(tmp_path, model):
    save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    save_model(model, tmp_path / "full.safetensors")
    half, full = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full"))
    loaded = load_model(tmp_path / "half.safetensors")
    assert half < 0.7 * full
    torch.testing.assert_close(images(loaded), images(model), rtol=0, atol=0.02)
    assert loaded.generator.synthesis.const.dtype == torch.float32
    assert torch.equal(loaded.generator.synthesis.const, model.generator.synthesis.const.half().float())
    assert loaded.base_hash != model.base_hash


def test_without_discriminator(tmp_path, model):
    save_model(replace(model, discriminator=None), tmp_path / "a.safetensors")
    assert load_model(tmp_path / "a.safetensors").discriminator is None


def test_hash_tells_weights_apart_not_formats(model):
    other = small_model()
    assert weights_hash(other) == weights_hash(model)
    other.generator.double()
    assert weights_hash(other) == weights_hash(model)
    other.generator.synthesis.layers[2].noise_strength += 1e-3
    assert weights_hash(other) != weights_hash(model)


def test_infinite_weights_and_reserved_metadata_are_not_written(tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match="config"):
        save_model(model, tmp_path / "a.safetensors", metadata={"config": "x"})
    model.generator.synthesis.const[0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"synthesis.const holds NaN or values beyond torch.float16.*float32"):
        save_model(model, tmp_path / "a.safetensors", dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "folder" / "a.bin"
    atomic_write(path, lambda partial: partial.write_text("old"))

    def fail(partial):
        partial.write_text("half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, fail)
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
    atomic_write(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


# ----------------------------------------------------------------------------------------------------------- customised


def customised(base: GanModel, *, mapping: float = 0.0, shift: float = 0.0) -> GanModel:
    """A copy whose mapping network or w-shift differs."""
    other = small_model(base.config)
    for layer in other.generator.mapping.layers:
        layer.bias += mapping
    other.generator.mapping.w_shift += shift * torch.arange(base.config.w_dim)
    return replace(other, name="cat ears", base_hash=base.base_hash, metadata={"base_name": base.name})


@pytest.mark.parametrize(("trainable", "change"), [("mapping", {"mapping": 1.0}), ("w_shift", {"shift": 0.1})])
def test_customised_models_are_small_and_come_back(tmp_path, model, trainable, change):
    customised_model, path = customised(model, **change), tmp_path / "delta.safetensors"
    save_customised(customised_model, path, trainable=trainable, settings={"steps": 200})
    before = weights_hash(model)
    loaded = load_customised(path, model)
    assert_same(replace(loaded, base_hash=weights_hash(loaded)), customised_model)
    assert loaded.base_hash == model.base_hash and loaded.name == "cat ears"
    assert json.loads(loaded.metadata["settings"]) == {"steps": 200} and loaded.metadata["base_name"] == "small"
    assert weights_hash(model) == before and loaded.generator is not model.generator
    tensors = load_file(path)
    assert all(name.startswith("generator.mapping.") or name == "w_mean" for name in tensors)
    assert len(tensors) == (2 if trainable == "w_shift" else 8)


def test_shift_on_a_trained_mapping_network_is_saved_with_it(tmp_path, model):
    customised_model = customised(model, mapping=1.0, shift=0.1)
    save_customised(customised_model, tmp_path / "a.safetensors", trainable="w_shift")
    assert torch.equal(images(load_customised(tmp_path / "a.safetensors", model)), images(customised_model))


def test_customised_models_stack_only_where_that_restores_them(tmp_path, model):
    save_customised(customised(model, mapping=1.0), tmp_path / "mapping.safetensors")
    save_customised(customised(model, shift=0.1), tmp_path / "shift.safetensors", trainable="w_shift")
    other = customised(model, mapping=-2.0)
    loaded = load_customised(tmp_path / "mapping.safetensors", other)
    assert torch.equal(images(loaded), images(customised(model, mapping=1.0)))
    with pytest.raises(ValueError, match='"cat ears" was made from "small"'):
        load_customised(tmp_path / "shift.safetensors", other)


def test_customised_models_are_on_the_device_of_their_base(tmp_path, model):
    """Only w_mean of this base is on another device; the hash is that of its weights, which stay on the CPU."""
    save_customised(customised(model, mapping=1.0), tmp_path / "a.safetensors")
    base = replace(model, w_mean=model.w_mean.to("meta"))
    loaded = load_customised(tmp_path / "a.safetensors", base)
    tensors = [loaded.w_mean, *loaded.generator.state_dict().values(), *loaded.discriminator.state_dict().values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {value.device.type for value in model.discriminator.state_dict().values()} == {"cpu"}


def test_wrong_base_is_named(tmp_path, model):
    save_customised(customised(model, mapping=1.0), tmp_path / "a.safetensors")
    other = replace(small_model(seed=5), name="horses")
    message = rf'a.safetensors: "cat ears" was made from "small" \(weights {model.base_hash[:12]}\), not from "horses"'
    with pytest.raises(ValueError, match=message):
        load_customised(tmp_path / "a.safetensors", other)


def test_customised_needs_a_known_base(tmp_path, model):
    with pytest.raises(ValueError, match="save_model"):
        save_customised(replace(model, base_hash=""), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match='"synthesis" is unknown'):
        save_customised(model, tmp_path / "a.safetensors", trainable="synthesis")


# ----------------------------------------------------------------------------------------------------------- sketchers


@pytest.fixture(scope="module")
def sketcher() -> PhotoSketch:
    torch.manual_seed(3)
    net = PhotoSketch(width=4, blocks=2).eval().requires_grad_(False)
    for name, value in net.state_dict().items():
        if "running" in name:
            value += torch.rand_like(value)
    return net


def test_sketcher_comes_back(tmp_path, sketcher):
    photo = torch.rand(1, 3, 32, 32) * 2 - 1
    save_photosketch(sketcher, tmp_path / "a.safetensors", metadata={"licence": "CC0"})
    loaded = load_photosketch(tmp_path / "a.safetensors")
    assert torch.equal(loaded(photo), sketcher(photo)) and not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    save_photosketch(sketcher, tmp_path / "half.safetensors", dtype=torch.float16)
    torch.testing.assert_close(
        load_photosketch(tmp_path / "half.safetensors")(photo), sketcher(photo), rtol=0, atol=0.05
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_published_sketcher_loads(tmp_path, sketcher, zipped, counted):
    state = {k: v for k, v in sketcher.state_dict().items() if counted or not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "photosketch.pth", _use_new_zipfile_serialization=zipped)
    photo = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.equal(load_photosketch(tmp_path / "photosketch.pth")(photo), sketcher(photo))


# ------------------------------------------------------------------------------------------------------ foreign formats


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_gansketching_files(tmp_path, model, zipped):
    folder = tmp_path / "stylegan2_horse"
    folder.mkdir()
    options = {"_use_new_zipfile_serialization": zipped}
    torch.save(formats.rosinality_generator(model), folder / "netG.pth", **options)
    torch.save(formats.rosinality_discriminator(model), folder / "netD.pth", **options)
    loaded = load_model(folder / "netG.pth")
    assert_same(replace(loaded, w_mean=model.w_mean), model)
    assert torch.equal(loaded.w_mean, loaded.generator.mean_w())
    assert loaded.name == "stylegan2_horse" and loaded.config == SMALL


@pytest.mark.parametrize("name", ["75000_net_D_image.pth", "75000_net_D.pth"])
def test_gansketching_training_files(tmp_path, model, name):
    torch.save(formats.rosinality_generator(model, w_shift=True), tmp_path / "75000_net_G.pth")
    torch.save(formats.rosinality_discriminator(small_model(seed=4)), tmp_path / "75000_net_D_sketch.pth")
    assert load_model(tmp_path / "75000_net_G.pth").discriminator is None
    torch.save(formats.rosinality_discriminator(model), tmp_path / name)
    assert torch.equal(logits(load_model(tmp_path / "75000_net_G.pth")), logits(model))


def test_w_shift_of_gansketching(tmp_path, model):
    customised_model = customised(model, shift=0.1)
    torch.save(formats.rosinality_generator(customised_model, w_shift=True), tmp_path / "shifted.pth")
    loaded = load_model(tmp_path / "shifted.pth")
    assert loaded.generator.mapping.w_shift.any() and torch.equal(images(loaded), images(customised_model))


def test_state_dict_in_safetensors(tmp_path, model):
    state = {name: value.clone() for name, value in formats.rosinality_generator(model).items()}
    save_file(state, tmp_path / "netG.safetensors")
    assert torch.equal(images(load_model(tmp_path / "netG.safetensors")), images(model))


def test_rosinality_files(tmp_path, model):
    torch.save(formats.rosinality_training(model), tmp_path / "550000.pt")
    loaded = load_model(tmp_path / "550000.pt")
    assert_same(replace(loaded, w_mean=model.w_mean), model)
    converted = {"g_ema": formats.rosinality_generator(model), "latent_avg": model.w_mean}
    torch.save(converted, tmp_path / "church.pt")
    loaded = load_model(tmp_path / "church.pt")
    assert loaded.discriminator is None and loaded.name == "church"
    assert torch.equal(loaded.w_mean, model.w_mean) and torch.equal(images(loaded), images(model))


def test_earliest_rosinality_files_have_no_noise(tmp_path, model):
    state = {k: v for k, v in formats.rosinality_generator(model).items() if not k.startswith("noises.")}
    torch.save({"g_ema": state, "latent_avg": model.w_mean}, tmp_path / "a.pt")
    first, second = load_model(tmp_path / "a.pt"), load_model(tmp_path / "a.pt")
    assert torch.equal(images(first), images(second))
    assert [layer.noise_const.std() > 0.5 for layer in first.generator.synthesis.layers] == [True] * 7


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("config", [SMALL, CONDITIONAL, PLAIN], ids=["small", "conditional", "plain"])
def test_nvidia_pytorch_files(tmp_path, config, protocol):
    model = small_model(config)
    path = formats.write_nvidia(tmp_path / "afhq.pkl", formats.nvidia_snapshot(model), protocol)
    loaded = load_model(path)
    assert_same(loaded, model)
    assert loaded.config == config.model_copy(update={"cmap_dim": config.cmap_dim}) and loaded.name == "afhq"


def test_nvidia_learning_rate_multiplier(tmp_path):
    model = small_model(SMALL.model_copy(update={"mapping_lr_mul": 0.1}))
    loaded = load_model(formats.write_nvidia(tmp_path / "a.pkl", formats.nvidia_snapshot(model)))
    assert loaded.config.mapping_lr_mul == 0.1 and torch.equal(images(loaded), images(model))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_nvidia_tensorflow_files(tmp_path, model, protocol):
    networks = formats.tensorflow_snapshot(model)
    path = formats.write_tensorflow(tmp_path / "stylegan2-cat-config-f.pkl", networks, protocol)
    loaded = load_model(path)
    assert_close_weights(loaded, model)
    assert torch.equal(loaded.w_mean, model.w_mean) and torch.equal(logits(loaded), logits(model))


def assert_close_weights(loaded: GanModel, model: GanModel) -> None:
    """The modulation's bias passes through a subtraction of 1 in that format, which rounds."""
    expected = model.generator.state_dict()
    for name, value in loaded.generator.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=3e-7 if "affine.bias" in name else 0)
    torch.testing.assert_close(images(loaded), images(model), rtol=1e-5, atol=1e-5)


def test_tensorflow_settings(tmp_path):
    config = SMALL.model_copy(update={"mapping_lr_mul": 0.02, "conv_clamp": 0.9, "stddev_group": 2})
    model = small_model(config)
    generator = formats.tensorflow_generator(model, mapping_lrmul=0.02, conv_clamp=0.9, architecture="skip")
    discriminator = formats.tensorflow_discriminator(model, mbstd_group_size=2, conv_clamp=0.9)
    path = formats.write_tensorflow(tmp_path / "a.pkl", (generator, discriminator, generator))
    loaded = load_model(path)
    assert loaded.config == config
    assert_close_weights(loaded, model)
    assert torch.equal(logits(loaded), logits(model))


def test_discriminator_that_does_not_fit_is_left_out(tmp_path, model):
    wide = small_model(SMALL.model_copy(update={"channels": (12, 10, 9, 6)}))
    cases = {
        "channels": formats.nvidia_snapshot(model, D=formats.nvidia_discriminator(wide)),
        "architecture": formats.nvidia_snapshot(model, D=formats.nvidia_discriminator(model, architecture="skip")),
    }
    for reason, data in cases.items():
        loaded = load_model(formats.write_nvidia(tmp_path / "a.pkl", data))
        assert loaded.discriminator is None and torch.equal(images(loaded), images(model))
        assert re.match(f"left out: its {reason} is", loaded.metadata["discriminator"])
