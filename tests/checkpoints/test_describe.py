"""What a file is, for code and for people, and which file a customised model was made from."""

from __future__ import annotations

from dataclasses import replace

import formats
import pytest
import torch
from formats import small_model
from safetensors import safe_open
from safetensors.torch import save_file

from gansketching_core.checkpoints import describe as describe_module
from gansketching_core.checkpoints import load, native
from gansketching_core.checkpoints.describe import describe
from gansketching_core.checkpoints.hashes import weights_hash
from gansketching_core.checkpoints.load import load_base
from gansketching_core.checkpoints.native import save_customised, save_model, save_photosketch
from gansketching_core.checkpoints.summary import kind_of, summarise
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import GanModel


@pytest.fixture(scope="module")
def model() -> GanModel:
    return small_model()


@pytest.fixture(scope="module")
def sketcher() -> PhotoSketch:
    return PhotoSketch(width=4, blocks=2).eval().requires_grad_(False)


@pytest.fixture
def own_files(tmp_path, model, sketcher):
    """A folder with one file of each of this package's kinds."""
    customised = small_model()
    customised.generator.mapping.w_shift += 0.1
    customised = replace(customised, name="cat ears", base_hash=model.base_hash, metadata={"base_name": model.name})
    save_model(model, tmp_path / "model.safetensors")
    save_customised(customised, tmp_path / "customised.safetensors", settings={"steps": 5})
    save_photosketch(sketcher, tmp_path / "photosketch.safetensors", metadata={"licence": "CC0"})
    return tmp_path


class HeaderOnly:
    """Stands for safetensors.safe_open; fails when a tensor is read."""

    def __init__(self, *args, **options):
        self.file = safe_open(*args, **options)

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *error):
        return self.file.__exit__(*error)

    def keys(self):
        return self.file.keys()

    def metadata(self):
        return self.file.metadata()

    def get_slice(self, name):
        return ShapeOnly(self.file.get_slice(name))

    def get_tensor(self, name):
        raise AssertionError(f"{name} was read")


class ShapeOnly:
    def __init__(self, part):
        self.get_shape, self.get_dtype = part.get_shape, part.get_dtype


def test_own_files_are_described_without_reading_their_tensors(own_files, model, monkeypatch):
    def load_any(*_):
        raise AssertionError("a file was loaded")

    monkeypatch.setattr(native, "safe_open", HeaderOnly)
    monkeypatch.setattr(describe_module, "load_model", load_any)
    monkeypatch.setattr(describe_module, "load_photosketch", load_any)
    for kind in ("model", "customised", "photosketch"):
        assert kind_of(own_files / f"{kind}.safetensors") == kind
    assert summarise(own_files / "model.safetensors").hash == model.base_hash
    summary = summarise(own_files / "customised.safetensors")
    assert (summary.base_name, summary.base_hash, summary.problem) == ("small", model.base_hash, "")
    about = describe(own_files / "model.safetensors")
    assert about["kind"] == "model" and about["hash"] == model.base_hash and about["resolution"] == "32 px"
    assert describe(own_files / "customised.safetensors")["base hash"] == model.base_hash
    assert describe(own_files / "photosketch.safetensors")["residual blocks"] == "2"


def test_kinds_of_foreign_files(tmp_path, model, sketcher):
    for path in formats.write_every_format(tmp_path, model):
        assert kind_of(path) == "model"
    torch.save(sketcher.state_dict(), tmp_path / "photosketch.pth")
    assert kind_of(tmp_path / "photosketch.pth") == "photosketch"
    torch.save(formats.rosinality_discriminator(model), tmp_path / "netD.pth")
    (tmp_path / "text.pth").write_text("hello, this is just text")
    for name, problem in (("netD.pth", "this is a StyleGAN2 discriminator"), ("text.pth", "no model file of a known")):
        assert kind_of(tmp_path / name) == "other"
        assert summarise(tmp_path / name).problem.startswith(name) and problem in summarise(tmp_path / name).problem


def test_a_base_is_recognised_by_its_noted_hash(own_files, monkeypatch):
    """No other file is loaded, not even one that is called like the base."""
    formats.write_nvidia(own_files / "small.pkl", formats.nvidia_snapshot(small_model(seed=5)))
    loaded = []
    monkeypatch.setattr(load, "load_model", loaded.append)
    load_base(summarise(own_files / "customised.safetensors"), own_files.iterdir())
    assert loaded == [own_files / "model.safetensors"]


@pytest.mark.parametrize("name", ["nvidia.pkl", "rosinality.pt"])
def test_a_base_in_another_format_is_recognised_by_its_weights(own_files, model, name):
    (own_files / "model.safetensors").unlink()
    formats.write_nvidia(own_files / "other.pkl", formats.nvidia_snapshot(small_model(seed=5)))
    (own_files / "broken.pkl").write_bytes(b"nothing")
    summary = summarise(own_files / "customised.safetensors")
    candidates = list(own_files.iterdir())
    assert load_base(summary, candidates) is None
    folder = own_files / "foreign"
    folder.mkdir()
    formats.write_every_format(folder, model)
    assert weights_hash(load_base(summary, [*candidates, folder / name])) == model.base_hash


# -------------------------------------------------------------------------------------------------------- for people


def test_every_format_is_described(tmp_path, model):
    for path in formats.write_every_format(tmp_path, model):
        about = describe(path)
        assert about["kind"] == "model" and about["resolution"] == "32 px" and about["channels"] == "12, 10, 8, 6"
        assert about["mapping network"] == "3 layers, z 16, w 16" and about["classes"] == "none"
        assert "problem" not in about and all(isinstance(value, str) for value in about.values())
        if path.stem != "tensorflow":  # its modulation biases are rounded
            assert about["hash"] == weights_hash(model)


def test_parameters_are_counted(tmp_path, model):
    """Alike from a header and from networks that were loaded. The constant noise is no parameter."""
    expected = []
    for what, network in (("generator", model.generator), ("discriminator", model.discriminator)):
        expected.append(f"{what} {sum(p.numel() for p in network.parameters()):,}")
    save_model(model, tmp_path / "a.safetensors")
    formats.write_nvidia(tmp_path / "b.pkl", formats.nvidia_snapshot(model))
    for path in tmp_path.iterdir():
        assert describe(path)["parameters"] == ", ".join(expected)


def test_small_files_are_described(own_files, model, sketcher):
    about = describe(own_files / "customised.safetensors")
    assert about["kind"] == "customised model" and about["name"] == "cat ears" and about["base"] == "small"
    assert about["base hash"] == model.base_hash and "steps" in about["settings"] and about["trainable"] == "mapping"
    about = describe(own_files / "photosketch.safetensors")
    assert about["kind"] == "PhotoSketch network" and about["width"] == "4" and about["licence"] == "CC0"
    torch.save(sketcher.state_dict(), own_files / "published.pth")
    assert describe(own_files / "published.pth")["residual blocks"] == "2"


@pytest.mark.parametrize(
    ("tensors", "kind"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2)}, "a Stable Diffusion checkpoint"),
        ({"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(2)}, "a LoRA for a diffusion model"),
        ({"final_linear.0.weight": torch.zeros(2)}, "a StyleGAN2 discriminator"),
    ],
)
def test_other_networks_are_described(tmp_path, tensors, kind):
    save_file(tensors, tmp_path / "a.safetensors")
    about = describe(tmp_path / "a.safetensors")
    assert about["kind"] == kind and f"this is {kind}" in about["problem"]
    assert kind_of(tmp_path / "a.safetensors") == "other"


def test_metadata_of_strangers_does_not_replace_facts(tmp_path, model):
    save_model(model, tmp_path / "a.safetensors", metadata={"hash": "0" * 64, "resolution": "8 px"})
    about = describe(tmp_path / "a.safetensors")
    assert about["hash"] == weights_hash(model) and about["resolution"] == "32 px"
