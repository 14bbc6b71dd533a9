"""The command `bench`."""

from __future__ import annotations

import json

from command_line import failed, run

from gansketching_core.experiments import bench, live_tensors


def test_bench_prints_a_table_and_compares_it_with_an_earlier_one(capsys, monkeypatch, tmp_path):
    calls, seconds = [], 4.0

    def measure(gan, batch, config, *, device, steps, processes):
        calls.append((gan.resolution, batch, config.batch, config.micro_batch, config.precision, config.steps, steps))
        return bench.BenchReport(1.0, 2.0, 3.0, seconds, 5.0, 6.0, 7.0)

    monkeypatch.setattr(bench, "bench", measure)
    monkeypatch.setattr(live_tensors, "count_live_tensors", lambda gan, config: 3 * 2**29)
    options = ["--batch", 8, "--micro-batch", 0, 4, "--steps", 1, "--precision", "bfloat16", "--preset", "paper"]
    file = tmp_path / "earlier.json"
    assert run("bench", "--resolution", 64, 32, *options, "--json", file) == 0
    cases = [(size, micro) for size in (64, 32) for micro in (0, 4)]
    assert calls == [(size, 8, 8, micro, "bfloat16", 75_000, 1) for size, micro in cases]
    header, titles, first, *rest = capsys.readouterr().out.strip().splitlines()
    assert "preset paper" in header
    assert titles.split() == "px batch micro precision ckpt procs D R1 G step GiB tensors sample GiB".split()
    assert first.split() == "64 8 0 bfloat16 auto 1 1.000 2.000 3.000 4.000 5.000 1.500 6.000 7.000".split()
    assert len(rest) == 3

    seconds = 3.0
    assert run("bench", "--resolution", 32, *options, "--compare", file) == 0
    now, change = capsys.readouterr().out.strip().splitlines()[2:4]
    assert now.split()[9] == "3.000" and change.split()[9] == "-25%"
    assert {row["iteration"] for row in json.loads(file.read_text())["rows"]} == {4.0}


def test_memory_is_counted_without_measuring(capsys, monkeypatch):
    monkeypatch.setattr(bench, "bench", None)
    monkeypatch.setattr(live_tensors, "count_live_tensors", lambda gan, config: gan.resolution * config.batch * 2**20)
    assert run("bench", "--resolution", 1024, "--memory-only") == 0
    assert capsys.readouterr().out.split("auto")[-1].split() == ["1"] + ["-"] * 5 + ["4.000", "-", "-"]


def test_mistakes(capsys, tmp_path):
    assert "--steps 0: use 1 or more" in failed(capsys, "bench", "--steps", 0)
    assert "--batch 0: Input should be" in failed(capsys, "bench", "--batch", 0)
    assert "resolution 48" in failed(capsys, "bench", "--resolution", 48)
    assert "--processes 0: use 1 or more" in failed(capsys, "bench", "--processes", 0)
    assert "2 processes share out micro-batches: use 4" in failed(capsys, "bench", "--batch", 8, "--processes", 1, 2)
    assert "micro_batch is 3" in failed(capsys, "bench", "--batch", 8, "--micro-batch", 3)
    (tmp_path / "other.json").write_text("[]")
    assert "is not a file that bench --json has written" in failed(
        capsys, "bench", "--compare", tmp_path / "other.json"
    )
