from __future__ import annotations

import pytest
import torch
from loaded_pack import tiny_model


@pytest.fixture
def nodes(pack, monkeypatch):
    import importlib

    module = importlib.import_module(f"{pack.module.__name__}.nodes.evaluation")

    class Colours(torch.nn.Module):
        name, is_fid = "mean colours", False

        def forward(self, x):
            return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)

    monkeypatch.setattr(module, "load_extractor", lambda _: Colours())
    return pack


def test_evaluate_model(nodes):
    model, done = tiny_model(nodes), []
    nodes.host.set_hooks(progress=lambda value, total, _: done.append((value, total)))
    report, *numbers = nodes.node("EvaluateModel").evaluate(
        model, torch.rand(10, 40, 32, 3), "efficientnet-lite0", 12, 3, 0, -1
    )
    nodes.host.set_hooks()
    assert "mean colours. 12 samples, 10 photos" in report and "Path length" in report
    assert all(isinstance(number, float) for number in numbers) and done[-1] == (25, 25)


def test_missing_extractor_is_told_before_the_run(nodes, monkeypatch):
    check = nodes.classes["GANSketching_EvaluateModel"].VALIDATE_INPUTS
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install torch-fidelity" in check("inception")


def test_sketch_match_score(nodes):
    original, customised = tiny_model(nodes), tiny_model(nodes, 1)
    sketcher = nodes.core.LineExtractor()
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:24, 10:50] = 1  # a MASK: what is marked is the line
    node, done = nodes.node("SketchMatchScore"), []
    nodes.host.set_hooks(progress=lambda value, total, _: done.append(value))
    report, before, after, nearer, beats = node.score(original, customised, mask, sketcher, 6, 0, -1)
    nodes.host.set_hooks()
    assert before > 0 and after > 0 and 0 <= nearer <= 1 and f"{nearer:.0%} of the samples are nearer" in report
    assert 0 <= beats <= 1 and "have the shape of a sketch" in report
    assert done[-1] == 12 and done == sorted(done)
    assert node.score(original, original, mask, sketcher, 6, 0, -1)[3] == 0


def test_the_score_is_the_fine_tuning_s(nodes):
    """With the default widgets and the sketches that the training got, the node gives the training's own figures."""
    original, customised = tiny_model(nodes), tiny_model(nodes, 1)
    sketcher = nodes.core.LineExtractor()
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    ring = ((((x - 16) ** 2 + (y - 16) ** 2).sqrt() - 9).abs() > 1).float()  # an IMAGE as Prepare Sketch gives it
    sketches = nodes.core.prepare_sketches(ring[None, :, :, None], 32, nodes.core.SketchConfig(strokes="keep"))
    expected = nodes.core.sketch_match(original, customised, sketches, sketcher)

    node = nodes.node("SketchMatchScore")
    inputs = node.INPUT_TYPES()["required"]
    defaults = {name: inputs[name][1]["default"] for name in ("count", "seed", "class_index")}
    _, *figures = node.score(original, customised, ring[None, :, :, None], sketcher, **defaults)
    assert figures == [expected.before, expected.after, expected.nearer, expected.beats]


def test_the_class_of_a_conditional_model_can_be_chosen(nodes):
    original, customised = (tiny_model(nodes, seed, class_count=3) for seed in (0, 1))
    score = nodes.node("SketchMatchScore").score
    mask = torch.zeros(1, 32, 32)
    mask[:, 16, 4:28] = 1
    medians = {score(original, customised, mask, nodes.core.LineExtractor(), 6, 0, index)[2] for index in range(3)}
    assert len(medians) == 3
    evaluate = nodes.node("EvaluateModel").evaluate
    photos = torch.rand(6, 32, 32, 3)
    assert len({evaluate(original, photos, "efficientnet-lite0", 8, 0, 0, index)[1] for index in range(3)}) == 3
