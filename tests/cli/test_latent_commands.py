"""project, project-sketch, interpolate, directions and animate, end to end on a tiny random model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import failed, run
from PIL import Image, ImageChops
from tiny import some_sketches, tiny_model

from gansketching_core import images
from gansketching_core.checkpoints import load, native
from gansketching_core.latents import latent_files, sampling

LINES = ["--sketcher", "lines"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working directory with model.safetensors."""
    monkeypatch.chdir(tmp_path)
    native.save_model(tiny_model(), tmp_path / "model.safetensors")
    return tmp_path


def frames_of(path) -> list[Image.Image]:
    with Image.open(path) as film:
        frames = []
        for k in range(film.n_frames):
            film.seek(k)
            frames.append(film.convert("RGB"))
        return frames


@pytest.fixture
def second(here):
    """customised.safetensors: the same model, shifted."""
    model = tiny_model()
    model.generator.mapping.w_shift += 1.0
    model.name, model.w_mean = "shifted", model.w_mean + 1
    native.save_customised(model, here / "customised.safetensors", trainable="w_shift")
    return here / "customised.safetensors"


BASE = ["--base", "model.safetensors"]
MODEL = ["--model", "model.safetensors"]


def test_project_writes_latents_and_pairs(here, capsys):
    model = tiny_model()
    target = sampling.render(model, sampling.sample_z(model, 1, seed=4))
    images.save_png(target, here / "photos/one.png")
    Image.new("RGB", (60, 40), "red").save(here / "photos/two.png")
    quick = ["--steps", 3, "--pool", 6, "--starts", 1]
    assert run("project", "photos", *MODEL, "--output", "out", "--space", "w", *quick) == 0
    latents = latent_files.load_latents(here / "out/latents.safetensors")
    assert latents.space == "w" and len(latents) == 2
    assert Image.open(here / "out/projected.png").size == (4 * 34 - 2, 32)
    shown = capsys.readouterr().out
    assert "one: PSNR" in shown and "two: PSNR" in shown
    assert run("sample", "model.safetensors", "--latents", "out/latents.safetensors", "--output", "made") == 0
    assert len(list((here / "made").glob("*.png"))) == 2
    assert "--starts 0" in failed(capsys, "project", "photos", *MODEL, "--starts", 0)


def test_project_with_a_mask(here, capsys):
    Image.new("RGB", (40, 40), "red").save(here / "photo.png")
    Image.new("L", (40, 40), 0).save(here / "mask.png")
    assert "mask is empty" in failed(capsys, "project", "photo.png", *MODEL, "--mask", "mask.png")


def test_project_sketch(here, capsys):
    images.save_png(some_sketches(1)[0], here / "ring.png")
    quick = ["--steps", 1, "--pool", 8, "--count", 3]
    assert run("project-sketch", "ring.png", *MODEL, *LINES, "--output", "out", *quick) == 0
    names = sorted(path.name for path in (here / "out").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png", "latents.safetensors", "sheet.png"]
    assert len(latent_files.load_latents(here / "out/latents.safetensors")) == 3
    assert "distance of the lines" in capsys.readouterr().out


def test_ctrl_c_keeps_the_best_so_far(here, monkeypatch, capsys):
    from gansketching_core.inversion.image import Projector

    step = Projector.step

    def interrupted(self):
        if self.steps_done == 2:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Projector, "step", interrupted)
    Image.new("RGB", (40, 40), "red").save(here / "photo.png")
    assert run("project", "photo.png", *MODEL, "--pool", 4, "--starts", 1, "--output", "out") == 0
    assert (here / "out/latents.safetensors").is_file()
    assert "best so far" in capsys.readouterr().err


def test_interpolate_writes_a_film_that_returns(here, second):
    film = ["--frames", 4, "--count", 2, "--output", "film.webp", "--size", 68]
    assert run("interpolate", "model.safetensors", second, *BASE, *film) == 0
    shown = frames_of(here / "film.webp")
    assert len(shown) == 6 and shown[0].size == (68, 33)
    for frame, mirrored in ((1, 5), (2, 4)):
        difference = ImageChops.difference(shown[frame], shown[mirrored])
        assert max(high for _, high in difference.getextrema()) < 32  # WebP is lossy
    assert run("interpolate", "model.safetensors", second, *BASE, *film, "--no-back") == 0
    assert len(frames_of(here / "film.webp")) == 4


def test_interpolate_writes_a_model(here, second, capsys):
    assert run("interpolate", "model.safetensors", second, *BASE, "--alpha", 1, "--output", "mixed.safetensors") == 0
    base = tiny_model()
    mixed = load.load_customised(here / "mixed.safetensors", base)
    shifted = load.load_customised(second, base)
    z = sampling.sample_z(base, 2)
    assert torch.equal(sampling.render(mixed, z), sampling.render(shifted, z))
    native.save_model(tiny_model(7), here / "other.safetensors")
    assert "different base models" in failed(capsys, "interpolate", "model.safetensors", "other.safetensors")
    assert "films are written as" in failed(capsys, "interpolate", "model.safetensors", second, "--output", "x.mp4")


def test_directions_and_their_sheet(here, capsys):
    options = ["--components", 4, "--rows", 3, "--samples", 1000]
    assert run("directions", *MODEL, *options) == 0
    assert len(latent_files.load_directions(here / "directions.safetensors")) == 4
    assert Image.open(here / "directions.png").size == (5 * 34 - 2, 3 * 34 - 2)
    assert run("directions", *MODEL, "--load", "directions.safetensors", "--output", "again.safetensors") == 0
    assert (here / "again.png").is_file()
    assert "layers 0 to 90" in failed(capsys, "directions", *MODEL, *options, "--last-layer", 90)


@pytest.mark.parametrize("name", ["walk.webp", "walk.gif", "walk.png"])
def test_animate_walks(here, name):
    assert run("animate", *MODEL, "--keys", 3, "--frames", 5, "--output", name) == 0
    assert len(frames_of(here / name)) == 5 and frames_of(here / name)[0].size == (256, 256)


def test_animate_walks_through_saved_latents_and_along_a_direction(here, capsys):
    latent_files.save_latents(sampling.sample_z(tiny_model(), 3), here / "keys.safetensors")
    assert run("animate", *MODEL, "--latents", "keys.safetensors", "--frames", 4, "--no-loop") == 0
    assert run("animate", *MODEL, "--component", 1, "--samples", 1000, "--frames", 4, "--output", "edit.webp") == 0
    assert len(frames_of(here / "edit.webp")) == 4
    assert "--frames 2 or more" in failed(capsys, "animate", *MODEL, "--frames", 1)
    assert "at least two" in failed(capsys, "animate", *MODEL, "--keys", 1, "--frames", 4)


def test_a_class_can_be_chosen(here, capsys):
    native.save_model(tiny_model(class_count=3), here / "classes.safetensors")
    model = ["--model", "classes.safetensors", "--label", 2]
    some_walk = ["animate", *model, "--keys", 2, "--frames", 2, "--output", "walk.png"]
    assert run(*some_walk, "--no-loop") == 0
    expected = sampling.render(tiny_model(class_count=3), sampling.sample_z(tiny_model(class_count=3), 2, labels=2))
    film = F.interpolate(expected, 256, mode="bicubic", antialias=True)
    for image, frame in zip(images.to_comfy(film), frames_of(here / "walk.png")):
        assert (image * 255 - torch.from_numpy(np.array(frame, dtype=np.float32))).abs().mean() < 2
    assert run("directions", *model, "--components", 2, "--samples", 1000) == 0
    assert run("sample", "classes.safetensors", "--label", 2, "--count", 1, "--grid", "one.png") == 0
    assert "class [3, 3] is outside 0 to 2" in failed(capsys, *some_walk, "--label", 3)
    assert "has no classes" in failed(capsys, "animate", *MODEL, "--label", 0)


def test_damaged_latents_are_named(here, capsys):
    (here / "latents.safetensors").write_bytes(b"\xff" * 50)
    for command in (["sample", "model.safetensors"], ["animate", *MODEL]):
        message = failed(capsys, *command, "--latents", "latents.safetensors")
        assert "latents.safetensors is not a readable safetensors file" in message
    (here / "directions.npz").write_bytes(b"PK" * 50)
    message = failed(capsys, "directions", *MODEL, "--load", "directions.npz")
    assert "directions.npz can't be read as GANSpace directions" in message


def test_compose_writes_samples_and_a_model(here, second, capsys):
    assert run("compose", "customised.safetensors=0.5", "--original", "model.safetensors", "--count", 4) == 0
    assert Image.open(here / "composed.png").size == (66, 66)
    mixed = ["compose", "customised.safetensors=1", "customised.safetensors=-0", "--original", "model.safetensors"]
    assert run(*mixed, "--output", "same.safetensors") == 0
    base = tiny_model()
    same = load.load_customised(here / "same.safetensors", base)
    z = sampling.sample_z(base, 2)
    assert torch.equal(sampling.render(same, z), sampling.render(load.load_customised(second, base), z))
    assert "write for example banana.safetensors=0.5" in failed(capsys, "compose", "customised.safetensors")
    for weight in ("nan", "inf", "much"):
        assert "is no model with a weight" in failed(capsys, "compose", f"customised.safetensors={weight}")
    assert "no model file holds" in failed(capsys, *mixed, "--mode", "w", "--output", "a.safetensors")
    assert "samples as .png" in failed(capsys, *mixed, "--output", "a.jpg")


def test_bridge_fits_and_takes_latents_across(here, capsys):
    native.save_model(tiny_model(5), here / "other.safetensors")
    latent_files.save_latents(sampling.sample_z(tiny_model(), 3), here / "z.safetensors")
    quick = ["--samples", 20, "--held-out", 4, "--steps", 1, "--pool", 4]
    models = ["bridge", "model.safetensors", "other.safetensors"]
    assert run(*models, *quick, "--latents", "z.safetensors", "--picture", "pairs.png") == 0
    assert "Bridge fitted to 20 samples" in capsys.readouterr().out
    assert latent_files.load_latents(here / "crossed.safetensors").space == "w"
    assert Image.open(here / "pairs.png").size == (6 * 34 - 2, 32)
    again = ["--load", "bridge.safetensors", "--latents", "z.safetensors"]
    assert run(*models, *again, "--crossed", "again.safetensors") == 0
    both = [latent_files.load_latents(here / f"{name}.safetensors").data for name in ("crossed", "again")]
    assert both[0].equal(both[1])
    assert "the bridge leads from" in failed(capsys, "bridge", "other.safetensors", "model.safetensors", *again)
    assert "--load needs --latents" in failed(capsys, *models, "--load", "bridge.safetensors")
