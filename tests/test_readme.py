"""What README.md tells people to run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def section(title: str, language: str) -> str:
    """The first block of code of that language after a heading."""
    after = README.split(f"## {title}\n")[1]
    return re.search(rf"```{language}\n(.+?)```", after, re.DOTALL).group(1)


def run(folder: Path, *command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_python_example(tmp_path):
    code = section("In Python", "python")
    for folder in ("weights", "samples"):
        code = code.replace(f'"{folder}/', f'"{ROOT.as_posix()}/{folder}/')
    short = code.replace("FinetuneConfig()", "FinetuneConfig(steps=1, batch=2, warm_start=0)")
    assert short != code
    run(tmp_path, "-c", short)
    assert {"bananas.png", "banana.safetensors", "runs"} <= set(os.listdir(tmp_path))


def test_commands(tmp_path):
    for line in section("On the command line", "sh").strip().splitlines():
        program, *words = shlex.split(line)
        assert program == "gansketching"
        words = [str(ROOT / word) if word.startswith("samples/") else word for word in words]
        quick = ["--steps", "1", "--batch", "2", "--warm-start", "0"] if words[0] == "finetune" else []
        run(tmp_path, "-m", "gansketching_core.cli", *words, *quick)
    assert {"banana.safetensors", "banana.png", "bananas.png", "drawings"} <= set(os.listdir(tmp_path))
