"""ONNX files, run by onnxruntime on the CPU and compared with this package's own networks."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from formats import SMALL, small_model
from PIL import Image
from pydantic import ValidationError

from gansketching_core import OnnxConfig, export_onnx
from gansketching_core.checkpoints.onnx_export import LOWEST_OPSET, onnx_difference
from gansketching_core.latents.spaces import Latents, truncate
from gansketching_core.networks.stylegan2 import Details, GanModel

onnx = pytest.importorskip("onnx", reason='onnx is not installed (pip install -e ".[onnx]")')
onnxruntime = pytest.importorskip("onnxruntime", reason='onnxruntime is not installed (pip install -e ".[onnx]")')

DOCS = Path(__file__).resolve().parents[2] / "docs" / "export.md"
CONDITIONAL = SMALL.model_copy(update={"class_count": 5, "conv_clamp": 0.9, "z_dim": 11})


@pytest.fixture(scope="module")
def model() -> GanModel:
    model = small_model(discriminator=False)
    model.generator.mapping.w_shift += 0.1 * torch.randn(16, generator=torch.Generator().manual_seed(5))
    return model


def run(path, **inputs: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {entry.name for entry in session.get_inputs()} == inputs.keys()
    (result,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(result)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("psi", [1.0, 0.6])
def test_images_from_z(tmp_path, model, batch, psi):
    export_onnx(model, tmp_path / "a.onnx")
    z = random(batch, 16)
    actual = run(tmp_path / "a.onnx", z=z, psi=torch.tensor([psi]))
    w = model.w_mean + psi * (model.generator.map(z) - model.w_mean)
    torch.testing.assert_close(actual, model.generator.synthesize(w, noise="const"), rtol=0, atol=1e-4)


def test_mapping_and_synthesis_as_two_files(tmp_path, model):
    """Between them, latents can be edited: here the last layers get another style."""
    export_onnx(model, tmp_path / "mapping.onnx", OnnxConfig(part="mapping"))
    export_onnx(model, tmp_path / "synthesis.onnx", OnnxConfig(part="synthesis", noise="none"))
    w = run(tmp_path / "mapping.onnx", z=random(2, 16), psi=torch.tensor([1.0]))
    torch.testing.assert_close(w, model.generator.map(random(2, 16)), rtol=0, atol=1e-4)
    ws = w[:, None].repeat(1, model.config.style_count, 1)
    ws[:, 4:] = w.flip(0)[:, None]
    expected = model.generator.synthesize(ws, noise="none")
    torch.testing.assert_close(run(tmp_path / "synthesis.onnx", ws=ws), expected, rtol=0, atol=1e-4)


def test_models_that_keep_the_original_s_colours(tmp_path, model):
    """Their finer layers take the original's w, as by default after a training with sketches."""
    original = small_model(discriminator=False)
    customised = replace(model, details=Details(3, original.generator.mapping, original.w_mean))
    z, psi = random(2, 16), torch.tensor([0.7])
    export_onnx(customised, tmp_path / "all.onnx")
    styles = truncate(customised, Latents("z", z), 0.7)
    expected = customised.generator.synthesize(styles.data, noise="const")
    torch.testing.assert_close(run(tmp_path / "all.onnx", z=z, psi=psi), expected, rtol=0, atol=1e-4)
    export_onnx(customised, tmp_path / "mapping.onnx", OnnxConfig(part="mapping"))
    torch.testing.assert_close(run(tmp_path / "mapping.onnx", z=z, psi=psi), styles.data, rtol=0, atol=1e-4)
    assert (onnx_difference(customised, tmp_path / "all.onnx", OnnxConfig()) or 0) < 1e-4
    assert styles.data[:, 3].ne(styles.data[:, 2]).any()


@pytest.mark.parametrize("maps", [1, 2], ids=["one for all", "one for each"])
def test_noise_as_inputs(tmp_path, model, maps):
    export_onnx(model, tmp_path / "a.onnx", OnnxConfig(noise="input"))
    noise = model.generator.synthesis.noise_maps(maps, "random", torch.Generator().manual_seed(3))
    z = random(2, 16)
    named = {f"noise_{k}": value for k, value in enumerate(noise)}
    actual = run(tmp_path / "a.onnx", z=z, psi=torch.tensor([1.0]), **named)
    expected = model.generator.synthesize(model.generator.map(z), noise=noise)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_classes_and_clamps(tmp_path):
    model, z, labels = small_model(CONDITIONAL, discriminator=False), random(3, 11), torch.tensor([0, 4, 2])
    export_onnx(model, tmp_path / "a.onnx")
    actual = run(tmp_path / "a.onnx", z=z, labels=labels, psi=torch.tensor([1.0]))
    expected = model.generator.synthesize(model.generator.map(z, labels), noise="const")
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_half_precision_halves_the_file(tmp_path):
    model = small_model(SMALL.model_copy(update={"channels": (64, 64, 64, 64)}), discriminator=False)
    sizes = []
    for dtype, largest in ((torch.float32, 1e-4), (torch.float16, 0.02)):
        export_onnx(model, tmp_path / "a.onnx", dtype=dtype)
        sizes.append((tmp_path / "a.onnx").stat().st_size)
        assert onnx_difference(model, tmp_path / "a.onnx") < largest
    assert sizes[1] < 0.55 * sizes[0]


@pytest.mark.parametrize("opset", [LOWEST_OPSET, 18, 21])
def test_opsets(tmp_path, model, opset):
    export_onnx(model, tmp_path / "a.onnx", OnnxConfig(opset=opset))
    assert onnx.load(tmp_path / "a.onnx").opset_import[0].version == opset
    assert onnx_difference(model, tmp_path / "a.onnx") < 1e-4


def test_the_file_says_what_it_is(tmp_path, model):
    model.metadata["licence"] = "CC0"
    export_onnx(model, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert about["licence"] == "CC0" and about["name"] == "small" and about["base_hash"] == model.base_hash


def test_bad_input_is_a_sentence(tmp_path, model, monkeypatch):
    path = tmp_path / "a.onnx"
    with pytest.raises(ValidationError, match="greater than or equal to 13"):
        OnnxConfig(opset=9)
    with pytest.raises(ValueError, match=r"opset 30: the installed onnx .* choose 13 to \d+, or update it"):
        export_onnx(model, path, OnnxConfig(opset=30))
    with pytest.raises(ValueError, match="float32 or float16"):
        export_onnx(model, path, dtype=torch.bfloat16)
    broken = small_model(discriminator=False)
    broken.w_mean[3] = float("nan")
    with pytest.raises(ValueError, match="w_mean holds NaN"):
        export_onnx(broken, path)
    monkeypatch.setattr("gansketching_core.checkpoints.onnx_export.LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match=r"an ONNX file has at most 2 GB; write them as float16"):
        export_onnx(model, path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_onnx(tmp_path, model, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("onnx"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r'pip install "gansketching\[onnx\]"'):
        export_onnx(model, tmp_path / "a.onnx")
    assert onnx_difference(model, tmp_path / "a.onnx") is None


def test_the_example_without_torch(tmp_path, model):
    """Of docs/export.md, with a module called torch that cannot be imported."""
    example = re.search(r"```python\n(.+?)```", DOCS.read_text("utf-8"), re.DOTALL).group(1)
    export_onnx(model, tmp_path / "fruit.onnx")
    (tmp_path / "torch.py").write_text("raise ImportError('the example needs no torch')")
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (4 * 32, 32)
