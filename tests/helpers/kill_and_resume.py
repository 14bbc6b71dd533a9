"""A long check of `finetune` in several processes: random ones are killed, and the bits of one process must come out.

    python tests/helpers/kill_and_resume.py --batch 8 --kills 20

Fine-tunes the bundled model with 1, 2 and 4 processes of one thread; then starts the same training again and again with
2, 4 or 1 processes, kills a random one of them with SIGKILL at a random moment, and lets the last one finish. With
--folder, a check that was stopped goes on. pytest runs a short form with small models:
tests/training/test_distributed.py.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from gansketching_core import load_customised, load_model

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, processes: int, args: argparse.Namespace) -> subprocess.Popen:
    """The command `finetune`, whose runs and result are kept in `folder`."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    command += ["-m", "gansketching_core.cli", "finetune", "--model", "fruit", "--device", "cpu"]
    command += ["--sketches", str(ROOT / "samples/sketches/banana"), "--steps", str(args.steps)]
    command += ["--batch", str(args.batch), "--micro-batch", str(args.micro_batch), "--precision", "float32"]
    command += ["--runs", str(folder / "runs"), "--output", str(folder / "model.safetensors")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def workers(launched: subprocess.Popen, processes: int) -> list[int]:
    """Numbers of the processes that train, as soon as there are all; [] if the launcher has ended."""
    if processes == 1:
        return [launched.pid]
    while launched.poll() is None:
        found = subprocess.run(["pgrep", "-P", str(launched.pid)], capture_output=True, text=True, check=False)
        numbers = [int(line) for line in found.stdout.split()]
        if len(numbers) == processes:
            return numbers
        time.sleep(0.1)
    return []


def run(folder: Path, processes: int, args: argparse.Namespace) -> None:
    if (folder / "model.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if start(folder, processes, args).wait():
        raise SystemExit((folder / "log").read_text()[-2000:])
    print(f"{processes} processes: {time.monotonic() - started:.0f} s", flush=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    base = load_model(ROOT / "weights/fruit.safetensors")
    return load_customised(folder / "model.safetensors", base).generator.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> str:
    return "the same bits" if all(torch.equal(a[name], b[name]) for name in a) else "DIFFERENT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--longest", type=float, default=60, help="seconds after which a process is killed, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary one")
    args = parser.parse_args()
    if args.folder:
        check(args.folder, args)
        return
    with tempfile.TemporaryDirectory() as temporary:
        check(Path(temporary), args)


def check(folder: Path, args: argparse.Namespace) -> None:
    chance = random.Random(args.seed)
    for count in sorted({1, *args.processes}):
        run(folder / str(count), count, args)
        print(f"{count} processes: {same(weights(folder / '1'), weights(folder / str(count)))}", flush=True)
    expected = weights(folder / "1")
    killed = folder / "killed"
    number = 0
    while number < args.kills:
        killed.mkdir(exist_ok=True)
        count = chance.choice(args.processes)
        launched = start(killed, count, args)
        victims = workers(launched, count)
        time.sleep(chance.uniform(0, args.longest))
        if victims and launched.poll() is None:
            number += 1
            victim = chance.randrange(count)
            os.kill(victims[victim], signal.SIGKILL)
            moment = time.monotonic()
            launched.wait()
            seconds = time.monotonic() - moment
            print(f"kill {number}: process {victim} of {count}, the others ended after {seconds:.1f} s", flush=True)
        elif launched.wait() == 0:
            print(f"finished by {count}: {same(expected, weights(killed))}", flush=True)
            shutil.rmtree(killed)
    run(killed, args.processes[-1], args)
    print(f"finished by {args.processes[-1]}: {same(expected, weights(killed))}", flush=True)


if __name__ == "__main__":
    main()
