"""Hostile model files: nothing in them runs, and small files take no large memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import formats
import numpy as np
import pytest
import torch
from formats import small_model
from safetensors.torch import save_file

from gansketching_core.checkpoints.describe import describe
from gansketching_core.checkpoints.load import load_model, load_photosketch
from gansketching_core.checkpoints.safe_pickle import UnsafeFileError, load_nvidia

OUR_SYSTEM = f"{os.system.__module__}.system"


class Call:
    """Pickled as a call of `function` with `args`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def refused(path: Path, name: str) -> None:
    """Every loader says which function the file asks for."""
    for action in (load_model, *([load_photosketch] if path.suffix == ".pth" else [])):
        with pytest.raises(ValueError, match=rf"{path.name}: the file asks for {name}, which no model needs") as caught:
            action(path)
        assert isinstance(caught.value.__cause__, UnsafeFileError)
    assert re.search(name, describe(path)["problem"])


def damaged(path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{path.name}: "):
        load_model(path)


@pytest.fixture
def witness(tmp_path) -> Path:
    """A file that exists after the test only if code of a model file was run."""
    yield tmp_path / "witness"
    assert not (tmp_path / "witness").exists()


def hostile_calls(witness: Path) -> dict[str, Call]:
    write = f"open({str(witness)!r}, 'w').close()"
    return {
        OUR_SYSTEM: Call(os.system, f"touch {witness}"),
        "builtins.eval": Call(eval, write),
        "builtins.exec": Call(exec, write),
        "builtins.getattr": Call(getattr, "text", "upper"),
        "_pickle.loads": Call(pickle.loads, pickle.dumps(1)),
        "torch.serialization.load": Call(torch.load, str(witness)),
        "importlib.import_module": Call(__import__("importlib").import_module, "os"),
    }


@pytest.mark.parametrize("name", hostile_calls(Path("x")))
@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_in_nvidia_pickles(tmp_path, witness, name, protocol):
    path = tmp_path / "a.pkl"
    for data in ({"G_ema": hostile_calls(witness)[name]}, [1, ({}, hostile_calls(witness)[name])]):
        path.write_bytes(pickle.dumps(data, protocol))
        refused(path, rf"[\w.]*\.{name.rpartition('.')[2]}" if protocol == 2 else name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("name", [OUR_SYSTEM, "builtins.eval", "builtins.exec", "importlib.import_module"])
def test_calls_in_torch_files(tmp_path, witness, name, zipped):
    path = tmp_path / "netG.pth"
    state = formats.rosinality_generator(small_model())
    data = state | {"style.1.weight": hostile_calls(witness)[name]}
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    refused(path, name)


def test_networks_pickled_without_their_source_are_refused_by_name(tmp_path):
    path = tmp_path / "a.pkl"
    with formats.importable({"training.networks.Generator": formats.EasyDict}):
        path.write_bytes(pickle.dumps({"G_ema": formats.EasyDict()}))
    with pytest.raises(ValueError, match=r"asks for training\.networks\.Generator"):
        load_model(path)


def storage_call(data: bytes) -> Call:
    return Call(torch.storage._load_from_bytes, data)


def test_a_storage_is_not_a_way_to_torch_load(tmp_path, witness):
    evil = io.BytesIO()
    torch.save(Call(os.system, f"touch {witness}"), evil, _use_new_zipfile_serialization=False)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G_ema": storage_call(evil.getvalue())}))
    with pytest.raises(ValueError, match=rf"asks for {OUR_SYSTEM}"):
        load_model(path)
    harmless = io.BytesIO()
    torch.save({"no": "storage"}, harmless)
    path.write_bytes(pickle.dumps({"G_ema": storage_call(harmless.getvalue())}))
    with pytest.raises(ValueError, match="dict instead of a tensor's storage"):
        load_model(path)


def test_source_code_in_the_file_is_not_run(tmp_path, witness):
    class Evil(formats.NvidiaModule):
        def __reduce__(self):
            meta = {"type": "class", "version": 6, "class_name": "Generator", "state": {}}
            source = f"open({str(witness)!r}, 'w').close()"
            return formats._reconstruct, ({**meta, "module_src": source},)

    formats.write_nvidia(tmp_path / "a.pkl", {"G_ema": Evil("Generator")})
    with pytest.raises(ValueError, match='class "Generator", not a StyleGAN2 generator'):
        load_model(tmp_path / "a.pkl")


# Pickle instructions by hand: c = name, ( ) = tuple, R = call, } = dict, s = set item, b = set the object's state.
GLOBALS = {
    "function": b"ctorch._utils\n_rebuild_parameter\n",
    "dictionary": b"ccollections\nOrderedDict\n",
    "network": b"ctorch.nn.modules.container\nModuleList\n",
    "array": b"cnumpy\nndarray\n",
    "type": b"cnumpy\ndtype\n",
}


@pytest.mark.parametrize("state", [b"}Vrun\nNs", b"(N}V__setstate__\nNst", b"(N}V__class__\nNst", b"(N}Vvalue\nNst"])
@pytest.mark.parametrize("kind", GLOBALS)
def test_a_pickle_cannot_change_the_reader(tmp_path, kind, state):
    """BUILD on a function or class would set its attributes, for this file and all later ones."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + GLOBALS[kind] + state + b"b.")
    damaged(path)
    path.write_bytes(b"\x80\x02" + GLOBALS[kind] + b")R" + state + b"b.")
    damaged(path)
    model = small_model()
    good = formats.write_nvidia(tmp_path / "good.pkl", formats.nvidia_snapshot(model))
    assert load_model(good).base_hash == model.base_hash


def test_easydict_gives_no_attributes(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02cdnnlib.util\nEasyDict\n)R}Vitems\nVx\nsb.")
    assert load_nvidia(path) == {} and load_nvidia(path).items() is not None
    damaged(path)


@pytest.mark.parametrize(
    "instructions",
    [
        b"}r\xff\xff\xff\x7f.",  # memo index 2**31 - 1
        b"\x8e" + struct.pack("<Q", 2**40) + b".",  # a terabyte of bytes
        b"\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x8d" + struct.pack("<Q", 2**40) + b".",
        b"\x95" + struct.pack("<Q", 2**40) + b"}.",  # a frame of a terabyte
        b"p999999999999\n.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(NI1\nttR.",
        b"cnumpy\ndtype\n(VO8\nt\x52.",
        b"ccollections\nOrderedDict\n",
        b".",
        b"0" * 10 + b".",
    ],
)
def test_claims_and_nonsense_in_pickles(tmp_path, instructions):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x05" + instructions)
    damaged(path)


def tensor_call(storage: object, size: tuple, stride: tuple) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, OrderedDict())


@pytest.mark.parametrize(
    ("size", "stride"), [((10**6, 10**6), (10**6, 1)), ((10**9,), (0,)), ((5,), (1,)), ((2,), (-1,)), ((-4,), (1,))]
)
def test_tensors_larger_than_their_storage(tmp_path, size, stride):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"G_ema": tensor_call(torch.zeros(4)._typed_storage(), size, stride)}))
    with pytest.raises(ValueError, match=r"a tensor of shape .* over 4 stored numbers"):
        load_model(path)


def test_storages_loaded_again_and_again(tmp_path):
    stored = io.BytesIO()
    torch.save(torch.zeros(1000)._typed_storage(), stored, _use_new_zipfile_serialization=False)
    data = stored.getvalue()
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([storage_call(data) for _ in range(50)]))
    with pytest.raises(ValueError, match="more tensors than the file holds"):
        load_model(path)


def test_one_array_under_many_names(tmp_path):
    model = small_model()
    shared = np.zeros((1000, 100), np.float32)
    network = formats.tensorflow_generator(model)
    network.state["variables"] += [(f"many/{k}", shared) for k in range(20)]
    path = formats.write_tensorflow(tmp_path / "a.pkl", (network, formats.tensorflow_discriminator(model), network))
    with pytest.raises(ValueError, match=r"claims \d+ bytes of weights in a file of \d+ bytes"):
        load_model(path)


def test_expanded_tensors_in_torch_files(tmp_path):
    state = formats.rosinality_generator(small_model())
    state["style.1.weight"] = torch.zeros(1).expand(4096, 4096)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"claims \d+ bytes of weights in a file of \d+ bytes"):
        load_model(tmp_path / "a.pth")


def test_compressed_members_are_refused(tmp_path):
    torch.save({"x": torch.zeros(1000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old:
        members = {member.filename: old.read(member) for member in old.infolist()}
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    with pytest.raises(ValueError, match="compressed"):
        load_model(tmp_path / "b.pth")


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("netG.pth", b"x")
    with pytest.raises(ValueError, match="zip archive, not a model file; unpack it first"):
        load_model(tmp_path / "weights.zip")
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"x")
    with pytest.raises(ValueError, match="TorchScript"):
        load_model(tmp_path / "net.pt")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Call(os.system, "true")))
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(tmp_path / "pickle", name)
    with pytest.raises(ValueError, match="tar archive"):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": 10**9},
        {"resolution": 48},
        {"channels": [10**6] * 4},
        {"channels": [0, 1, 1, 1]},
        {"channels": [8] * 10**5},
        {"mapping_layers": 10**9},
        {"class_count": 10**9},
        {"w_dim": 10**7},
        {"conv_clamp": "nan"},
        {"surprise": 1},
        {"resolution": 1024, "channels": [4096] * 9, "mapping_layers": 64, "z_dim": 4096, "w_dim": 4096},
    ],
)
def test_absurd_configurations(tmp_path, changes):
    """The last is allowed by its numbers, but 40 GB large: the file does not hold that."""
    metadata = {"format": "gansketching", "format_version": "1", "kind": "model"}
    metadata["config"] = json.dumps(small_model().config.model_dump() | changes)
    save_file({"generator.synthesis.const": torch.zeros(4, 4, 4)}, tmp_path / "a.safetensors", metadata)
    reasons = r"(networks of this shape are not supported|the generator lacks)"
    with pytest.raises(ValueError, match=rf"a\.safetensors: {reasons}"):
        load_model(tmp_path / "a.safetensors")


def test_absurd_sketcher(tmp_path):
    state = {"model.1.weight": torch.zeros(2048, 3, 1, 1), "model.10.conv_block.1.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="width 2048"):
        load_photosketch(tmp_path / "a.pth")
    torch.save(state | {"model.1.weight": torch.zeros(1024, 3, 7, 7)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="the PhotoSketch network lacks"):
        load_photosketch(tmp_path / "a.pth")


def test_reading_imports_nothing(tmp_path):
    formats.write_nvidia(tmp_path / "a.pkl", formats.nvidia_snapshot(small_model()))
    load_model(tmp_path / "a.pkl")
    assert "torch_utils" not in sys.modules and "dnnlib" not in sys.modules
