"""Model files that can't be used are refused with a reason."""

from __future__ import annotations

import re
from dataclasses import replace

import formats
import numpy as np
import pytest
import torch
from formats import small_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gansketching_core.checkpoints.describe import describe
from gansketching_core.checkpoints.load import load_customised, load_model, load_photosketch
from gansketching_core.checkpoints.native import save_customised, save_model, save_photosketch
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import GanModel


@pytest.fixture(scope="module")
def model() -> GanModel:
    return small_model()


@pytest.fixture(scope="module")
def sketcher() -> PhotoSketch:
    return PhotoSketch(width=4, blocks=2).eval().requires_grad_(False)


def shifted(base: GanModel) -> GanModel:
    """A customised copy with another w-shift."""
    other = small_model(base.config)
    other.generator.mapping.w_shift += 0.1
    return replace(other, name="cat ears", base_hash=base.base_hash, metadata={"base_name": base.name})


# -------------------------------------------------------------------------------------------------------- broken files


def without(state: dict, name: str) -> dict:
    return {k: v for k, v in state.items() if k != name}


def blurred(state: dict) -> dict:
    return {k: torch.full((4, 4), 0.25) if k.endswith(".kernel") else v for k, v in state.items()}


def break_state(kind: str, model: GanModel) -> object:
    state = formats.rosinality_generator(model)
    return {
        "missing": lambda: without(state, "convs.1.conv.modulation.bias"),
        "determines a field": lambda: without(state, "convs.1.conv.weight"),
        "unexpected": lambda: state | {"style.9.gain": torch.zeros(1, 16)},
        "odd shape": lambda: state | {"style.2.weight": torch.zeros(16, 15)},
        "gap": lambda: state | {"style.99999999999.weight": torch.zeros(16, 16)},
        "integers": lambda: state | {"style.2.weight": torch.zeros(16, 16, dtype=torch.long)},
        "nan": lambda: state | {"style.2.weight": torch.full((16, 16), float("nan"))},
        "filter": lambda: blurred(state),
        "no tensor": lambda: state | {"style.2.weight": "x"},
        "latent_avg": lambda: {"g_ema": state, "latent_avg": torch.zeros(15)},
        "discriminator": lambda: formats.rosinality_discriminator(model),
        "photosketch": lambda: PhotoSketch(width=2, blocks=1).state_dict(),
        "pix2pix": lambda: {"model.1.weight": torch.zeros(2, 3, 7, 7), "model.4.weight": torch.zeros(2)},
        "misc": lambda: {"g_optim": {}, "d_optim": {}, "opt": {}},
        "diffusion": lambda: {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2)},
        "lora": lambda: {"lora_unet_down_blocks_0.lora_up.weight": torch.zeros(2)},
        "tensor": lambda: torch.zeros(3),
        "bare nvidia": lambda: formats.nvidia_generator(model).state_dict(),
        "other": lambda: {"fc.weight": torch.zeros(2)},
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"lacks tensors \(1: synthesis.layers.2.affine.bias\)"),
        ("determines a field", "no tensor synthesis.layers.2.weight of 4 axes"),
        ("unexpected", r"has unexpected tensors \(1: style.9.gain\)"),
        ("odd shape", r"mapping.layers.1.weight has shape \(16, 15\) where \(16, 16\) is expected"),
        ("gap", "networks of this shape are not supported: mapping_layers"),
        ("integers", "holds torch.int64 instead of floating point"),
        ("nan", "mapping.layers.1.weight holds NaN"),
        ("filter", "low-pass filter"),
        ("no tensor", "style.2.weight is no tensor"),
        ("latent_avg", "mean of w has 15 values instead of 16"),
        ("discriminator", "this is a StyleGAN2 discriminator, not a StyleGAN2 model; choose the generator"),
        ("photosketch", "this is a PhotoSketch network.*load it as a sketcher"),
        ("pix2pix", "image-to-image network other than PhotoSketch"),
        ("misc", "this is the state of a training's optimisers"),
        ("diffusion", "this is a Stable Diffusion checkpoint, not a StyleGAN2 model; choose another file"),
        ("lora", "this is a LoRA"),
        ("tensor", "this is a Tensor on its own"),
        ("bare nvidia", "use NVIDIA's .pkl"),
        ("other", r"unknown network \(1 entries such as fc.weight\)"),
    ],
)
def test_wrong_state_dicts(tmp_path, model, kind, message):
    path = tmp_path / "some.pth"
    torch.save(break_state(kind, model), path)
    with pytest.raises(ValueError, match=rf"some\.pth: .*{message}"):
        load_model(path)
    if kind not in ("photosketch", "discriminator"):
        assert describe(path)["problem"]


def test_broken_discriminator_beside(tmp_path, model):
    torch.save(formats.rosinality_generator(model), tmp_path / "netG.pth")
    torch.save(without(formats.rosinality_discriminator(model), "final_conv.1.bias"), tmp_path / "netD.pth")
    with pytest.raises(ValueError, match=r"netG.pth: the discriminator netD.pth lacks tensors \(1: final_conv.bias"):
        load_model(tmp_path / "netG.pth")


def alias_free() -> formats.NvidiaModule:
    net = formats.NvidiaModule("Generator")
    net.synthesis = formats.NvidiaModule("SynthesisNetwork")
    net.synthesis.L0_36_512 = formats.NvidiaModule("SynthesisLayer").put({"weight": torch.zeros(2, 2, 3, 3)})
    return net


def test_wrong_nvidia_networks(tmp_path, model):
    generator = formats.nvidia_generator
    cases = {
        "alias-free StyleGAN3 network.*choose a StyleGAN2": formats.nvidia_snapshot(model, G_ema=alias_free()),
        'class "Discriminator"': formats.nvidia_snapshot(model, G_ema=formats.nvidia_discriminator(model)),
        "architecture is 'resnet'": formats.nvidia_snapshot(model, G_ema=generator(model, architecture="resnet")),
        "activation is 'relu'": formats.nvidia_snapshot(model, G_ema=generator(model, activation="relu")),
        "something other than NVIDIA's": {"feature_extractor": 3},
    }
    for message, data in cases.items():
        with pytest.raises(ValueError, match=message):
            load_model(formats.write_nvidia(tmp_path / "a.pkl", data))


def test_wrong_tensorflow_networks(tmp_path, model):
    generator, discriminator = formats.tensorflow_generator, formats.tensorflow_discriminator(model)
    old, grown = generator(model), generator(model)
    old.state["version"] = 3
    grown.state["components"]["synthesis"].state["variables"].append(("ToRGB_lod0/weight", np.zeros(3, np.float32)))
    cases = {
        r"StyleGAN \(version 1\)": (old, discriminator, old),
        "resample_kernel is": (generator(model, resample_kernel=[1, 2, 1]),) * 3,
        "progressively grown": (grown, discriminator, grown),
        "not a StyleGAN2 generator": (discriminator,) * 3,
    }
    for message, networks in cases.items():
        with pytest.raises(ValueError, match=message):
            load_model(formats.write_tensorflow(tmp_path / "a.pkl", networks))


@pytest.mark.parametrize("kept", [0, 5, 0.3, 0.9, -1])
def test_truncated_files(tmp_path, model, kept):
    for path in formats.write_every_format(tmp_path, model):
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
        with pytest.raises(ValueError, match=rf"{path.name}: "):
            load_model(path)
        assert describe(path)["kind"] == "not a usable file"


def test_zip_of_several_disks(tmp_path, model):
    """zipfile answers with an error of its own when it is asked whether this is a zip."""
    torch.save(formats.rosinality_generator(model), tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    data[data.rindex(b"PK\x06\x07") + 16] = 2  # the number of disks in the ZIP64 locator
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.pth: the file is damaged"):
        load_model(tmp_path / "a.pth")


def test_flipped_bits_in_our_files_are_noticed(tmp_path, model):
    save_model(model, tmp_path / "a.safetensors")
    data = bytearray((tmp_path / "a.safetensors").read_bytes())
    data[int.from_bytes(data[:8], "little") + 8 + len(data) // 2] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="checksum"):
        load_model(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (bytes(4096), "is empty"),
        (b"<!DOCTYPE html><html>", "this is a web page: the download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x1f\x8b\x08abc", "gzip"),
        (b"hello, this is just text", "no model file of a known format"),
    ],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "netG.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"netG\.pth: .*{message}"):
        load_model(path)
    with pytest.raises(ValueError, match=message):
        load_photosketch(path)
    assert re.search(message, describe(path)["problem"])


def test_no_file(tmp_path):
    for action in (load_model, load_photosketch, describe):
        with pytest.raises(ValueError, match="does not exist"):
            action(tmp_path / "a.pkl")
        with pytest.raises(ValueError, match="is a folder"):
            action(tmp_path)


def test_own_files_of_another_kind(tmp_path, model, sketcher):
    save_model(model, tmp_path / "model.safetensors")
    save_customised(shifted(model), tmp_path / "delta.safetensors")
    save_photosketch(sketcher, tmp_path / "sketcher.safetensors")
    cases = [
        (load_model, "delta", "this is a customised model, .* load its base model"),
        (load_model, "sketcher", "this is a PhotoSketch network, .* load it as a sketcher"),
        (load_photosketch, "model", "this is a StyleGAN2 model, not a PhotoSketch network; load it as a model"),
        (load_photosketch, "delta", "this is a customised model"),
        (lambda path: load_customised(path, model), "model", "this is a StyleGAN2 model, not a customised model"),
        (lambda path: load_customised(path, model), "sketcher", "this is a PhotoSketch network"),
    ]
    for load, name, message in cases:
        with pytest.raises(ValueError, match=message):
            load(tmp_path / f"{name}.safetensors")


def test_tensors_of_no_network(tmp_path, model):
    save_model(model, tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        metadata = file.metadata()
    for name, message in (("w_shift", "belong to no network"), ("generator.x", "has unexpected tensors")):
        tensors = load_file(tmp_path / "a.safetensors") | {name: torch.zeros(3)}
        save_file(tensors, tmp_path / "b.safetensors", metadata)
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path / "b.safetensors")


def test_newer_format_version(tmp_path, model):
    save_model(model, tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    save_file(tensors, tmp_path / "a.safetensors", {"format": "gansketching", "format_version": "2", "kind": "model"})
    with pytest.raises(ValueError, match='format version "2"; this software reads "1", update it'):
        load_model(tmp_path / "a.safetensors")
