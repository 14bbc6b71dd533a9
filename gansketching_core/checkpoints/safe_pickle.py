"""Reading pickled model files without running anything that is in them.

PyTorch's own files are read by torch.load with weights_only. NVIDIA's are plain pickles of whole networks. They are
read by a restricted unpickler, which knows a short list of names, none of which runs code of the file, and turns
networks into records. Everything on its stack is a builtin value or an instance of an inert class below, so that no
instruction of the pickle can reach a real function, class, tensor or array. It takes no more memory than the file.
"""

from __future__ import annotations

import argparse
import io
import math
import pickle
import pickletools
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

_TORCH_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # the first object of PyTorch files from before 1.6
_NOT_MODELS = {
    b"<!DOCTYPE": "a web page: the download went wrong",
    b"<html": "a web page: the download went wrong",
    b"version https://git-lfs": 'a Git LFS pointer: fetch the file itself with "git lfs pull"',
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x93NUMPY": "a NumPy array",
}


def container(path: Path) -> Literal["safetensors", "torch", "nvidia"]:
    """The container format of a file, by its first bytes; its name does not matter."""
    with path.open("rb") as file:
        is_tar = _is_tar(file)
        head = file.read(64)
    if not head.strip(b"\0"):
        raise ValueError("the file is empty; download it again")
    for signature, kind in _NOT_MODELS.items():
        if head.startswith(signature):
            raise ValueError(f"this is {kind}, not a model file")
    if head[8:9] == b"{":
        return "safetensors"
    if is_tar or head.startswith(b"PK") or _TORCH_MAGIC in head[:16]:
        return "torch"
    if head[0] == 0x80 and head[1] in (2, 3, 4, 5):
        return "nvidia"
    raise ValueError("this is no model file of a known format (.safetensors, .pt, .pth, NVIDIA's .pkl)")


def _is_tar(file: BinaryIO) -> bool:
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except tarfile.TarError:
        return False
    finally:
        file.seek(0)
    return True


class UnsafeFileError(ValueError):
    """The file asks for a function or class that no model needs."""

    def __init__(self, name: str):
        super().__init__(
            f"the file asks for {name}, which no model needs and which could run code; it was refused. Do not open it "
            "with other software unless you trust its source"
        )


def load_torch(path: Path) -> Any:
    """The content of a PyTorch file: dicts, lists, numbers, argparse.Namespace, and tensors on the CPU."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        names = {member.filename.split("/")[-1] for member in members}
        if "constants.pkl" in names:
            raise ValueError("this is a TorchScript program, not weights; get the checkpoint it was made from")
        if "data.pkl" not in names:
            raise ValueError("this is a zip archive, not a model file; unpack it first")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("the file's members are compressed, which PyTorch never does; it was refused")
    with path.open("rb") as file:
        return _torch_load(file)


def _torch_load(file: BinaryIO) -> Any:
    """torch.load with weights_only. Tar archives, PyTorch's first format, are refused: they have escaped that check."""
    if _is_tar(file):
        raise ValueError("this is a tar archive, which PyTorch wrote until 2017; save the model with a newer PyTorch")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if match := re.search(r"GLOBAL\s+'?([\w.]+)", str(error)):
            raise UnsafeFileError(match[1] if "." in match[1] else f"builtins.{match[1]}") from None
        raise pickle.UnpicklingError(str(error)) from None


class _Inert:
    """Holds a value. Refuses a state: otherwise the BUILD instruction would set attributes."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None):
        self.value = value

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state for an object that has none")


class _Function(_Inert):
    """Stands for a function that the pickle may call."""

    __slots__ = ()

    def __call__(self, *args: object) -> object:
        return self.value(*args)


class _Tensor(_Inert):
    """Stands for a tensor or, with one axis, for the storage of others."""

    __slots__ = ()


class _NumpyType(_Inert):
    __slots__ = ()

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.value = self.value.newbyteorder(state[1])


class _Array(_Inert):
    """Stands for numpy.ndarray. Its state holds the values: (version, shape, dtype, is Fortran order, bytes)."""

    __slots__ = ()

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = _array(data, dtype, shape, "F" if is_fortran else "C").value


class _Dict(dict):
    """Stands for collections.OrderedDict and dnnlib.util.EasyDict, without their attributes."""

    def __setstate__(self, state: object) -> None:
        pass


class Record:
    """A pickled network, as data: the name of its class and its attributes."""

    __slots__ = ("class_name", "state")

    def __new__(cls, class_name: str = "", state: dict | None = None):
        record = super().__new__(cls)
        record.class_name, record.state = class_name, state or {}
        return record

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a network whose state is no dictionary")
        self.state = state

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Parameters and buffers of a PyTorch network by their full names."""
        tensors = {}
        for name, value in {**self.state.get("_parameters", {}), **self.state.get("_buffers", {})}.items():
            if isinstance(value, _Tensor):
                tensors[f"{prefix}{name}"] = value.value
        for name, module in self.state.get("_modules", {}).items():
            if isinstance(module, Record):
                tensors |= module.tensors(f"{prefix}{name}.")
        return tensors

    def module(self, path: str) -> Record | None:
        """The submodule of a PyTorch network at a dotted path, or None."""
        record = self
        for name in path.split("."):
            record = record.state.get("_modules", {}).get(name)
            if not isinstance(record, Record):
                return None
        return record

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Variables of a TensorFlow network and its components by their full names."""
        arrays = {f"{prefix}{name}": array.value for name, array in self.state.get("variables", [])}
        for name, component in self.state.get("components", {}).items():
            arrays |= component.arrays(f"{prefix}{name}/")
        return arrays


class TensorFlowNetwork(Record):
    """Stands for dnnlib.tflib.network.Network."""

    __slots__ = ()


def _numpy_type(name: str, *_: object) -> _NumpyType:
    """Stands for numpy.dtype, of plain numbers only."""
    if not re.fullmatch(r"[<>|=]?(f[248]|[iu][1248]|b1)", name):
        raise pickle.UnpicklingError(f"NumPy type {name}")
    return _NumpyType(np.dtype(name))


def _array(data: bytes, dtype: _NumpyType, shape: tuple, order: Literal["C", "F"] = "C", *_: object) -> _Array:
    """An array over `data`, without memory of its own. Stands for numpy.core.numeric._frombuffer."""
    return _Array(np.frombuffer(data, dtype.value).reshape(shape, order=order))


def _tensor(storage: _Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor_v2. Refuses a tensor that is not within its storage, or larger."""
    available = storage.value.numel()
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if min(offset, *size, *stride, 0) < 0 or last >= max(available, 1) or math.prod(size) > available:
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} over {available} stored numbers")
    return _Tensor(storage.value.as_strided(size, stride, offset))


_NAMES = {
    "builtins.set": _Function(lambda items=(): set(items)),
    "collections.OrderedDict": _Dict,
    "dnnlib.util.EasyDict": _Dict,
    "dnnlib.tflib.network.Network": TensorFlowNetwork,
    "torch.nn.modules.container.ModuleList": Record,
    "torch_utils.persistence._reconstruct_persistent_obj": _Function(
        lambda meta: Record(str(meta["class_name"]), dict(meta["state"]))
    ),
    "torch._utils._rebuild_parameter": _Function(lambda value, *_: value),
    "torch._utils._rebuild_tensor_v2": _Function(_tensor),
    "numpy.dtype": _Function(_numpy_type),
    "numpy.ndarray": _Inert(),
}
for _core in ("numpy.core", "numpy._core"):
    _NAMES |= {
        f"{_core}.multiarray._reconstruct": _Function(lambda *_: _Array(np.empty(0, np.float32))),
        f"{_core}.multiarray.scalar": _Function(lambda dtype, data: np.frombuffer(data, dtype.value).item()),
        f"{_core}.numeric._frombuffer": _Function(_array),
    }


class _Unpickler(pickle.Unpickler):
    """size: bytes of the file, which all its storages together may not exceed."""

    def __init__(self, file: BinaryIO, size: int):
        super().__init__(file)
        self.bytes_left = size

    def find_class(self, module: str, name: str) -> object:
        path = f"{module}.{name}".replace("__builtin__.", "builtins.")
        if path == "torch.storage._load_from_bytes":
            return _Function(self._load_storage)
        if path not in _NAMES:
            raise UnsafeFileError(path)
        return _NAMES[path]

    def _load_storage(self, data: bytes) -> _Tensor:
        """A tensor's storage from `data`, which is itself a PyTorch file."""
        self.bytes_left -= len(data)  # the pickle can ask for the same bytes again and again
        if self.bytes_left < 0:
            raise pickle.UnpicklingError("more tensors than the file holds")
        storage = _torch_load(io.BytesIO(data))
        if not isinstance(storage, torch.TypedStorage):
            raise pickle.UnpicklingError(f"{type(storage).__name__} instead of a tensor's storage")
        return _Tensor(torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage))


def load_nvidia(path: Path) -> Any:
    """The content of one of NVIDIA's pickles: builtin values, and a Record for each network."""
    try:
        with path.open("rb") as file:
            for instruction, argument, position in pickletools.genops(file):
                # The unpickler's memo grows to the largest index, so that it may not exceed the bytes before it.
                if instruction.name in ("PUT", "LONG_BINPUT") and (argument or 0) > (position or 0):
                    raise pickle.UnpicklingError(f"memo index {argument} at byte {position}")
            file.seek(0)
            return _Unpickler(file, path.stat().st_size).load()
    except UnsafeFileError:
        raise
    except Exception as error:
        raise pickle.UnpicklingError(str(error)) from None
