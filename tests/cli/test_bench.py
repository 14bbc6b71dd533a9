"""The command `bench`."""

from __future__ import annotations

from command_line import failed, run

from gansketching_core.experiments import bench


def test_bench_prints_a_table(capsys, monkeypatch):
    calls = []

    def measure(gan, batch, config, *, device, steps):
        calls.append((gan.resolution, batch, config.batch, config.precision, config.steps, steps))
        return bench.BenchReport(1.0, 2.0, 3.0, 4.125, 5.0, 6.0, 7.0)

    monkeypatch.setattr(bench, "bench", measure)
    options = ["--batch", 1, "--steps", 1, "--precision", "bfloat16", "--preset", "paper"]
    assert run("bench", "--resolution", 64, 32, *options) == 0
    assert calls == [(size, 1, 1, "bfloat16", 75_000, 1) for size in (64, 32)]
    header, titles, first, second = capsys.readouterr().out.strip().splitlines()
    assert "batch 1, paper" in header and titles.split() == "px D R1 G step GiB sample GiB".split()
    assert [float(value) for value in first.split()] == [64, 1, 2, 3, 4.125, 5, 6, 7] and second.startswith("   32 ")
    assert "--steps 0: use 1 or more" in failed(capsys, "bench", "--steps", 0)
    assert "--batch 0: Input should be" in failed(capsys, "bench", "--batch", 0)
    assert "resolution 48" in failed(capsys, "bench", "--resolution", 48)
