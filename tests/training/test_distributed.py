"""Several processes and micro-batches: the same bits as one process, kills, cancelling; and what is refused."""

import ast
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trained_together
from tiny import same_weights, some_sketches, tiny_model
from trained_together import finetune

from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.networks.stylegan2 import _minibatch_std
from gansketching_core.random_streams import Part, random_samples, stream
from gansketching_core.training import distributed
from gansketching_core.training.distributed import Team
from gansketching_core.training.finetune import SketchFinetuner
from gansketching_core.training.finetune_config import FinetuneConfig
from gansketching_core.training.micro_batches import MicroBatches, _share, _Tree
from gansketching_core.training.sketcher import SketcherConfig, SketcherTrainer

ROOT = Path(__file__).resolve().parents[2]
HELPERS = ROOT / "tests" / "helpers"
needs_gloo = pytest.mark.skipif(
    sys.platform == "win32" or not torch.distributed.is_available(), reason="needs torch.distributed and SIGKILL"
)


def together(what: str, folder: Path, *arguments: int, processes: int = 2) -> subprocess.CompletedProcess:
    """Runs tests/helpers/trained_together.py in several processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command += ["--master-port", str(port), str(HELPERS / "trained_together.py"), what, str(folder)]
    environment = {"PYTHONPATH": f"{HELPERS}:{ROOT}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=600, check=False
    )


def assert_no_threads_left(ended: subprocess.CompletedProcess) -> None:
    """gloo's threads have ended before Python, which they would abort on a busy machine."""
    assert ended.stderr.count("threads left:") == 2
    assert "gloo" not in ended.stderr.split("threads left:", 1)[1]


def tensors(tree: dict, path: str = ""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from tensors(value, f"{path}{name}.")
        elif isinstance(value, torch.Tensor):
            yield path + str(name), value


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@needs_gloo
@pytest.mark.usefixtures("one_thread")
def test_two_processes_give_the_bits_of_one(tmp_path):
    """All three trainers, with three micro-batches for two processes; sampling; evaluation."""
    done = together("train", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    trained_together.run_commands(tmp_path / "one")
    trained_together.train(tmp_path / "one")
    one, two = (torch.load(tmp_path / name / "weights.pt") for name in ("one", "two"))
    first, second = dict(tensors(one["weights"])), dict(tensors(two["weights"]))
    assert first.keys() == second.keys() and len(first) > 100
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert one["losses"] == two["losses"] and one["match"] == two["match"]
    pictures = sorted((tmp_path / "one" / "photos").iterdir())
    assert len(pictures) == 9
    for picture in pictures:
        assert picture.read_bytes() == (tmp_path / "two" / "photos" / picture.name).read_bytes()
    numbers = [(tmp_path / name / "numbers.json").read_text() for name in ("one", "two")]
    assert numbers[0] == numbers[1]
    assert done.stdout.count("Frechet distance") == 1, "only one process prints"
    assert_no_threads_left(done)


@needs_gloo
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on_in_one(tmp_path, rank):
    killed = together("kill", tmp_path, 1, 40, rank)
    assert killed.returncode != 0 and "the same command goes on from the last saved state" in killed.stderr
    assert [path.name for path in tmp_path.glob("*/model.safetensors")] == []
    assert len(list(tmp_path.glob("*/state.pt"))) == 1
    rest = finetune(tmp_path)
    assert 0 < rest.trained_steps < trained_together.FINETUNE.steps
    assert same_weights(rest.model, finetune(tmp_path / "whole").model)


@needs_gloo
@pytest.mark.usefixtures("one_thread")
def test_cancelling_in_one_process_ends_all_after_the_same_step(tmp_path):
    cancelled = together("cancel", tmp_path, 1, 1)
    assert cancelled.returncode != 0 and cancelled.stderr.count("KeyboardInterrupt") >= 2
    assert_no_threads_left(cancelled)
    rest = finetune(tmp_path)
    assert rest.trained_steps == trained_together.FINETUNE.steps - 2
    assert same_weights(rest.model, finetune(tmp_path / "whole").model)
    assert together("stop", tmp_path / "stopped").returncode == 0
    assert (len(list((tmp_path / "stopped").glob("*/model.safetensors")))) == 1


# --------------------------------------------------------------------------------------------------- micro-batches


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("share_fakes", [True, False])
def test_micro_batches_give_the_gradients_of_the_whole_batch(share_fakes):
    options = {"batch": 16, "warm_start": 0, "r1_every": 2, "precision": "float32", "share_fakes": share_fakes}
    options["augmentation"] = "color,translation,cutout,upscale"
    reports, models = [], []
    for size in 0, 8, 4:
        config = FinetuneConfig(steps=2, micro_batch=size, **options)
        finetuner = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
        reports.append([finetuner.step().losses for _ in range(2)])
        models.append(finetuner.result())
    for other, model in zip(reports[1:], models[1:]):
        for before, after in zip(reports[0], other):
            assert before == pytest.approx(after, rel=1e-3)
        for name, value in models[0].generator.mapping.state_dict().items():
            torch.testing.assert_close(model.generator.mapping.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_whole_batch_as_one_micro_batch_changes_nothing():
    models = []
    for size in 0, 4:
        config = FinetuneConfig(steps=1, batch=4, micro_batch=size, warm_start=0, precision="float32")
        finetuner = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
        finetuner.step()
        models.append(finetuner.result())
    assert same_weights(*models)


def test_parts_have_whole_groups_of_the_minibatch_standard_deviation():
    x = torch.randn(24, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = _minibatch_std(x, 4)
    for count in 2, 3, 6:
        seen = []
        for index in range(count):
            part = Part(index, count, group=4)
            torch.testing.assert_close(_minibatch_std(part.of(x), 4), part.of(whole))
            seen += part.of(torch.arange(24)).tolist()
        assert sorted(seen) == list(range(24))


def test_random_numbers_of_a_sample_do_not_depend_on_the_parts():
    whole = random_samples(torch.randn, (2, 12, 3), stream(7, "pretraining", 1), axis=1)
    for count in 1, 2, 3:
        for index in range(count):
            part = Part(index, count, group=4)
            mine = random_samples(torch.randn, (2, 12 // count, 3), stream(7, "pretraining", 1, part=part), axis=1)
            assert torch.equal(mine, part.of(whole, axis=1))


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13])
def test_the_sum_does_not_depend_on_who_adds_up_what(count):
    vectors = torch.randn(count, 50, generator=torch.Generator().manual_seed(count)) * 10.0 ** torch.linspace(-3, 3, 50)
    alone = _Tree()
    for index, vector in enumerate(vectors):
        alone.add(index, 1, vector)
    torch.testing.assert_close(alone.total(), vectors.sum(dim=0), rtol=1e-3, atol=1e-3)
    for processes in range(2, 7):
        whole = _Tree()
        for rank in range(processes):
            own = _Tree()
            for index in _share(count, rank, processes):
                own.add(index, 1, vectors[index])
            for block in own.blocks:
                whole.add(*block)
        assert torch.equal(whole.total(), alone.total()), f"{processes} processes"
        shares = [_share(count, rank, processes) for rank in range(processes)]
        assert [index for share in shares for index in share] == list(range(count)) and len(shares[0]) > 0


def test_what_cannot_be_cut_is_refused_with_a_remedy():
    two = Team()
    two.size = 2
    with pytest.raises(ValueError, match=re.escape("micro_batch is 3, but the batch of 8")):
        MicroBatches(8, 3, group=4)
    with pytest.raises(ValueError, match="use another batch"):
        MicroBatches(6, 3, group=4)
    with pytest.raises(ValueError, match="2 processes share out micro-batches: use 4 or 8 as micro_batch"):
        MicroBatches(16, group=4, team=two)
    config = FinetuneConfig.preset("paper", batch=8, micro_batch=4)
    with pytest.raises(ValueError, match="batch_statistics: the sketcher normalises over the whole batch"):
        SketchFinetuner(tiny_model(), some_sketches(), PhotoSketch(width=4, blocks=1), config)
    SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
    with pytest.raises(ValueError, match="makes 3 parts, into which a batch of 4 cannot be cut"):
        SketcherTrainer(SketcherConfig(batch=18, micro_batch=6), [torch.zeros(4, 5, 128, 128, dtype=torch.uint8)])


def test_one_module_knows_torch_distributed():
    for path in (ROOT / "gansketching_core").rglob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        modules = {
            node.module for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)
        }
        uses = any((name or "").startswith("torch.distributed") for name in names | modules)
        assert uses == (path == Path(distributed.__file__)), path
