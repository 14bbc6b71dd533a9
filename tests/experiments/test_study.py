"""The study on a tiny model and pictures of coloured discs: cells, resuming, tables and sheets."""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageDraw
from tiny import same_weights, tiny_model

from gansketching_core.cli import study
from gansketching_core.cli.main import main
from gansketching_core.experiments import study_report
from gansketching_core.experiments.study import Study
from gansketching_core.experiments.study_plan import METHODS, Cell, plan
from gansketching_core.latents.mean_shift import shift_towards
from gansketching_core.latents.sampling import sample_z as sample
from gansketching_core.latents.spaces import to_w
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.training.finetune_config import FinetuneConfig
from gansketching_core.training.placement import PlacementConfig, placement_of


class Colours(torch.nn.Module):
    """Mean colour in four quarters: [B,3,H,W] -> [B,12]."""

    name = "mean colours"

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for kind, colour, count in (("plum_red", "purple", 40), ("lime", "green", 40), ("fig", "brown", 12)):
        (root / kind).mkdir()
        for k in range(count):
            picture = Image.new("RGB", (64, 64), "white")
            ImageDraw.Draw(picture).ellipse((8, 8 + k % 9, 56, 56), fill=colour)
            picture.save(root / kind / f"{k:03}.png")
    return root


def make(photos, folder, **options):
    placement = PlacementConfig(rotate=20, zoom_out=0.7)
    options = {"samples": 16, "steps": 2, "kinds_steps": 2, **options}
    return Study(photos, tiny_model(), LineExtractor(), Colours(), folder, placement=placement, **options)


def test_plan_starts_with_every_method_of_the_main_table():
    cells = plan(["plum", "lime"], list(METHODS), 2, human=["lime"])
    assert [str(cell) for cell in cells[:3]] == ["plum.original.0", "plum.shift.0", "plum.shift-features.0"]
    assert len(cells) == len(set(cells))
    assert {cell.target for cell in cells if METHODS[cell.method].human} == {"lime"}
    assert Cell("plum", "fast", 1) in cells and Cell("plum", "scratch", 1) not in cells
    with pytest.raises(ValueError, match='"magic" is unknown; use some of original'):
        plan(["plum"], ["magic"], 1)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_gives_its_numbers(photos, tmp_path, method):
    for name in ("sketches/a.png", "sketches/b.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        picture = Image.new("L", (64, 64), 255)
        ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), outline=0, width=3)
        picture.save(path)
    task = make(photos, tmp_path, human={"plum": tmp_path / "sketches"})
    result = task.measure(Cell("plum", method, 0))
    assert result["frechet"] >= 0 and 0 <= result["precision"] <= 1 and 0 <= result["beats"] <= 1
    assert result["extractor"] == "mean colours" and result["distance"] > 0
    assert result["frechet_kinds"] >= 0 and 0 <= result["shape"] <= 1 and result["colours"] <= 1
    assert (result["colours"] == 1) == (method == "original")
    assert result["steps"] == (2 if METHODS[method].preset else 0)
    assert (result["seconds"] > 0) == (method not in ("original", "photos"))


def test_photos_of_the_class_are_much_nearer_than_the_model(photos, tmp_path):
    task = make(photos, tmp_path, samples=32)
    right, original = (task.measure(Cell("plum", name, 0)) for name in ("photos", "original"))
    assert right["frechet"] < 0.1 * original["frechet"] and right["precision"] > original["precision"]


def test_methods_differ_as_they_say(photos, tmp_path):
    task = make(photos, tmp_path)
    base = tiny_model()
    assert same_weights(task._customised(Cell("plum", "original", 0))[0], base)
    once, far = (task._customised(Cell("plum", name, 0))[0] for name in ("shift", "warm-only"))
    config, drawings = FinetuneConfig(), task.drawings("plum", 0)
    centred = shift_towards(base, drawings, task.sketcher, strength=config.warm_start, per_sketch=True)
    changes = [to_w(model, sample(base, 4)).data - to_w(base, sample(base, 4)).data for model in (once, far)]
    torch.testing.assert_close(changes[0], changes[0][:1].expand_as(changes[0]), atol=1e-5, rtol=0)
    centre = centred.w_mean - base.w_mean
    together = (config.warm_spread - 1) * (to_w(base, sample(base, 4)).data - base.w_mean)
    torch.testing.assert_close(changes[1], centre + together, atol=1e-5, rtol=1e-4)


def test_the_mean_shift_averages_the_samples_of_least_distance():
    """By the given distance: here the last samples."""
    model, lines = tiny_model(), LineExtractor()
    w = to_w(model, sample(model, 32, 0)).data
    order = torch.arange(32.0).flip(0)
    shifted = shift_towards(
        model, torch.ones(1, 1, 32, 32), lines, pool=32, nearest=4, distance=lambda drawings, _: order[:, None]
    )
    expected = w[-4:].mean(dim=0) - model.w_mean
    torch.testing.assert_close(shifted.generator.mapping.w_shift, expected, atol=1e-5, rtol=1e-4)


def test_distances_by_features_are_smallest_for_drawings_like_the_sketches(photos, tmp_path):
    """Of drawings with ink in different quarters."""
    drawings = torch.ones(6, 1, 32, 32)
    for k in range(4):
        drawings[k, :, 16 * (k // 2) :, 16 * (k % 2) :][:, :8, :8] = -1  # drawings 4 and 5 stay blank
    sketches = drawings[[2, 1]] * 0.9
    distances = make(photos, tmp_path)._by_features(drawings, sketches)
    assert distances.shape == (6, 2)
    assert set(distances.amin(dim=1).argsort()[:2].tolist()) == {1, 2}
    assert distances.argmin(dim=0).tolist() == [2, 1]


def test_seconds_leave_out_the_reading_of_photos(photos, tmp_path, monkeypatch):
    """Otherwise the first method of a process, or the first after a stop, would seem slower than the others."""
    seen, clock = [], SimpleNamespace(perf_counter=lambda: seen.append("clock") or 0.0)
    pictures = Study._pictures
    monkeypatch.setattr(Study, "_pictures", lambda self, *a: seen.append("photos") or pictures(self, *a))
    monkeypatch.setattr("gansketching_core.experiments.study.time", clock)
    make(photos, tmp_path)._customised(Cell("plum", "shift", 0))
    assert seen == ["photos", "clock", "clock"]


def test_measured_cells_are_kept_and_others_are_not_mixed_in(photos, tmp_path, monkeypatch):
    cell = Cell("lime", "shift", 0)
    first = make(photos, tmp_path).measure(cell)
    monkeypatch.setattr(Study, "_customised", lambda *_: pytest.fail("measured again"))
    assert make(photos, tmp_path).measure(cell) == first
    assert make(photos, tmp_path, samples=17).kept(cell) is None
    assert make(photos, tmp_path, steps=3).kept(cell) == first  # nothing is trained for it
    trained = [make(photos, tmp_path, steps=steps).fingerprint(Cell("lime", "fast", 0)) for steps in (2, 3)]
    assert trained[0] != trained[1]
    make(photos, tmp_path).path(cell).write_text("{")
    assert make(photos, tmp_path).kept(cell) is None


def test_a_cell_depends_on_photos_sketches_options_and_the_revision(photos, tmp_path, monkeypatch):
    """Each change gives its cells another fingerprint, and no others."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    sketches = tmp_path / "sketches"
    sketches.mkdir()
    Image.new("L", (64, 64), 255).save(sketches / "a.png")

    def fingerprints():
        study = make(folder, tmp_path, human={"plum": sketches})
        return {name: study.fingerprint(Cell("plum", name, 0)) for name in METHODS}

    def changed():
        before = known.copy()
        known.update(fingerprints())
        return {name for name in METHODS if known[name] != before[name]}

    known = fingerprints()
    assert changed() == set()
    Image.new("L", (64, 64), 0).save(sketches / "a.png")
    assert changed() == {"human-1", "human-5"}
    Image.new("RGB", (64, 64), "red").save(folder / "lime" / "000.png")
    assert changed() == set(METHODS)
    (folder / "lime" / "000.png").rename(folder / "lime" / "renamed.png")
    assert changed() == set(METHODS)
    stronger = replace(METHODS["warm-only"], options={**METHODS["warm-only"].options, "strength": 2.0})
    monkeypatch.setitem(METHODS, "warm-only", stronger)
    assert changed() == {"warm-only"}
    monkeypatch.setattr("gansketching_core.experiments.study.REVISION", -1)
    assert changed() == set(METHODS)


def test_a_stopped_training_goes_on(photos, tmp_path):
    def study(polls):
        def poll():
            nonlocal polls
            polls -= 1
            if polls == 0:
                raise KeyboardInterrupt

        return make(photos, tmp_path / str(polls < 0), poll=poll)

    cell = Cell("plum", "scratch", 0)
    whole = study(-1).measure(cell)
    with pytest.raises(KeyboardInterrupt):
        study(60).measure(cell)
    assert list((tmp_path / "False" / "runs").glob("*/state.pt"))
    resumed = make(photos, tmp_path / "False").measure(cell)
    assert resumed["frechet"] == whole["frechet"] and resumed["distance"] == whole["distance"]


def test_unknown_and_small_classes_are_refused_before_work(photos, tmp_path):
    task = make(photos, tmp_path)
    with pytest.raises(ValueError, match=r"no photos of .melon.*fig, lime, plum"):
        task.check(["lime", "melon"])
    with pytest.raises(ValueError, match='"fig" has 11 training photos; the study needs 30'):
        task.check(["fig"])
    with pytest.raises(ValueError, match="samples is 3"):
        make(photos, tmp_path, samples=3)


def test_tables_of_partial_results():
    """A table uses the seeds that all its rows have, and in its means the classes that all its rows have."""
    numbers = {
        "frechet_kinds": 1.25,
        "kid": 250.4,
        "precision": 0.5,
        "recall": 0.25,
        "distance": 0.03,
        "beats": 0.75,
        "shape": 0.5,
        "colours": 0.875,
        "steps": 0,
        "seconds": 9,
    }
    values = {
        ("plum", "fast", 0): 10.0,
        ("plum", "fast", 1): 14.0,
        ("plum", "fast", 2): 99.0,
        ("lime", "fast", 0): 30.0,
        ("plum", "original", 0): 50.0,
        ("plum", "original", 1): 50.0,
        ("plum", "cold", 0): 20.0,
    }
    results = {Cell(*key): {"frechet": value, **numbers} for key, value in values.items()}
    main, ablations = study_report.tables(results, ["plum", "lime"]).split("## Ablations")
    assert f"| full method, preset fast | 12.0 ± {statistics.stdev([10, 14]):.1f} | 30.0 | 21.0 |" in main
    assert (
        "| KID x 1000 |" in main and "| original model | 50.0 ± 0.0 | - | - |" in main and "| mean over plum |" in main
    )
    assert (
        "| full method, preset fast | 12.0 | 1.25 | 250 | 0.50 | 0.25 | 0.0300 | 0.75 | 0.50 | 0.88 | 0 | 9 | 2 |"
        in main
    )
    assert "| full method, preset fast | 10.0 | 30.0 | 20.0 |" in ablations
    assert "| without the warm start | 20.0 | - | - |" in ablations
    assert "paper" not in main + ablations


def test_the_command_measures_reports_and_goes_on(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "load_generator", lambda *_: tiny_model())
    monkeypatch.setattr(study, "load_extractor", lambda _: Colours())
    options = ["--data", str(photos), "--output", str(tmp_path), "--sketcher", "lines", "--samples", "16"]
    options += ["--classes", "plum", "--methods", "original", "shift", "--seeds", "1"]
    assert main(["study", "fruit", *options]) == 0
    assert "2 of 2 cells" in capsys.readouterr().out
    assert "Extractor: mean colours" in (tmp_path / "tables.md").read_text()
    with Image.open(tmp_path / "plum.jpg") as sheet:
        assert sheet.height > 4 * 60  # sketches, photos and two methods
    assert main(["study", "fruit", *options, "--classes", "melon"]) == 2
    assert 'no photos of "melon"' in capsys.readouterr().err


def test_the_study_of_poses_has_its_own_model_classes_and_unplaced_pictures(tmp_path, monkeypatch):
    asked, made = [], []
    monkeypatch.setattr(study, "load_generator", lambda name, *_: asked.append(name) or tiny_model())
    monkeypatch.setattr(study, "load_sketcher", lambda name, *_: asked.append(name) or LineExtractor())
    monkeypatch.setattr(study, "load_extractor", lambda _: Colours())
    monkeypatch.setattr(study, "_measure", lambda task, cells, _: made.append((task, cells)))
    for pose in study.STUDIES["poses"].classes:
        (tmp_path / "data" / pose).mkdir(parents=True)
        for k in range(50):
            Image.new("RGB", (32, 32), (5 * k, 0, 0)).save(tmp_path / "data" / pose / f"{k:02}.png")
    options = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / "out"), "--samples", "16", "--seeds", "1"]
    assert main(["study", "poses", *options, "--methods", "original"]) == 0
    ((task, cells),) = made
    assert asked == ["horse", "sketcher_scenes"]
    assert [cell.target for cell in cells] == list(study.STUDIES["poses"].classes)
    images = task.held_out("rearing", 0)
    assert (images.amax(dim=(2, 3)) - images.amin(dim=(2, 3))).max() < 1e-5, "plain pictures, without a white margin"


def test_placing_is_read_from_the_model():
    model = tiny_model()
    assert placement_of(model).zoom_out == 1.0
    placed = SimpleNamespace(config=model.config, metadata={"training": json.dumps({"zoom_out": 0.5, "unknown": 1})})
    assert placement_of(placed).zoom_out == 0.5
