"""Mixed precision is used where the processor has instructions for it."""

import pytest
import torch

from gansketching_core.networks import precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu sse2 avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags\t\t: fpu sse2 avx512f amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu sse2 avx2 avx512f\n", False),
    ],
)
def test_linux_lists_the_processors_instructions(flags, expected, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    assert precision.has_fast_bfloat16(torch.device("cpu")) is expected


@pytest.mark.parametrize("supported", [True, False])
def test_elsewhere_pytorch_is_asked(supported, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    capabilities = {"avx512_bf16": supported, "avx2": True, "cpu_name": "avx512_bf16"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision.has_fast_bfloat16(torch.device("cpu")) is supported


def test_older_pytorch_cannot_be_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "none")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.has_fast_bfloat16(torch.device("cpu")) is False
