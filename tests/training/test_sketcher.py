"""Training of the small photo-to-sketch network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from gansketching_core import random_streams
from gansketching_core.checkpoints.load import load_photosketch
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.training.sketcher import (
    SketcherConfig,
    SketcherTrainer,
    drawing_losses,
    evaluate_sketcher,
    train_sketcher,
)
from gansketching_core.training.sketcher_data import (
    augment_pairs,
    balanced,
    find_lines,
    find_object,
    make_pair,
    pairs_from_file,
)

TINY = SketcherConfig(width=4, blocks=1, steps=30, batch=4, learning_rate=0.01, precision="float32", large_every=4)


def disc(centre=(64, 64), radius=40, colour=(240, 210, 40)):
    """A photo [128,128,3] of a plain disc on white, with a soft edge."""
    y, x = np.mgrid[:128, :128]
    inside = np.clip(radius + 0.5 - np.hypot(y - centre[0], x - centre[1]), 0, 1)[..., None]
    return np.uint8(255 * (1 - inside) + np.array(colour) * inside)


@pytest.fixture(scope="module")
def pairs():
    items = []
    for k in range(6):
        photo = disc((50 + 5 * k, 70), 25 + 3 * k, (200 - 30 * k, 60, 20 + 30 * k))
        inside = find_object(photo)
        items.append(make_pair(photo, find_lines(photo, inside), inside))
    return torch.stack(items)


def test_outline_is_closed_and_where_the_object_ends():
    photo = disc()
    lines = find_lines(photo, find_object(photo))
    y, x = np.nonzero(lines)
    assert np.abs(np.hypot(y - 64, x - 64) - 40).max() < 2.5
    _, areas = ndimage.label(~lines)
    assert areas == 2  # inside and outside are kept apart


def test_bright_highlights_stay_inside_the_object_and_specks_outside():
    photo = disc()
    photo[50:58, 50:58] = 255
    photo[5:8, 5:8] = 0
    inside = find_object(photo)
    assert inside[54, 54] and not inside[6, 6]


def test_a_gap_that_the_object_encloses_is_ground_and_gets_lines():
    """As between the legs of an animal."""
    photo = disc()
    photo[54:74, 54:74] = 255
    inside = find_object(photo)
    assert not inside[64, 64] and inside[64, 40]
    assert ndimage.binary_dilation(find_lines(photo, inside), iterations=2)[64, 54]


def test_strong_inner_edges_are_drawn():
    photo = disc(colour=(240, 240, 40))
    photo[:, 64:][find_object(photo)[:, 64:]] = (120, 10, 10)
    lines = find_lines(photo, find_object(photo))
    assert ndimage.binary_dilation(lines, iterations=2)[45:83, 64].all()


def test_pairs_file_keeps_only_lines_with_evidence(tmp_path):
    photo = disc(radius=30)
    at = np.hypot(*(np.mgrid[:128, :128] - 64))
    sketch = np.where((np.abs(at - 30) < 2) | (np.abs(at - 55) < 2), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "pairs.npz", photo=photo[None], sketch=sketch[None])
    pairs = pairs_from_file(tmp_path / "pairs.npz")
    lines = pairs[0, 3].numpy() == 0
    assert lines[(np.abs(at - 30) < 2)].sum() > 100
    assert not lines[at > 40].any()


@pytest.mark.parametrize(
    "arrays",
    [
        {"photo": np.zeros((2, 64, 64, 3), np.uint8)},
        {"photo": np.zeros((2, 64, 64, 3), np.uint8), "sketch": np.zeros((3, 64, 64), np.uint8)},
        {"photo": np.zeros((2, 64, 64, 3)), "sketch": np.zeros((2, 64, 64))},
    ],
)
def test_unusable_pairs_are_named(tmp_path, arrays):
    np.savez(tmp_path / "pairs.npz", **arrays)
    with pytest.raises(ValueError, match=r"pairs\.npz"):
        pairs_from_file(tmp_path / "pairs.npz")


def test_augmented_lines_follow_the_photo_with_one_pen(pairs):
    x = pairs.float() / 255
    for step in range(4):
        photo, ink = augment_pairs(x, 2.5, random_streams.stream(0, "sketcher training", step))
        assert photo.shape == (6, 3, 128, 128) and photo.abs().max() <= 1
        assert ink.min() >= 0 and ink.max() <= 1
        grey = photo.mean(dim=1, keepdim=True)
        edges = (grey[..., 1:, :-1] - grey[..., :-1, :-1]).abs() + (grey[..., :-1, 1:] - grey[..., :-1, :-1]).abs()
        near_line = F.max_pool2d(ink, 9, 1, 4)[..., :-1, :-1] > 0
        strongest = edges.flatten(1).argmax(dim=1)
        assert near_line.flatten(1).gather(1, strongest[:, None]).all()
    width = ink.sum(dim=(1, 2, 3)) / (ndimage_length(ink) + 1e-6)
    assert ((width > 1.8) & (width < 3.4)).all()


def test_backgrounds_are_behind_the_objects(pairs):
    """Of the same pairs with the same random numbers; two thirds get one."""
    x = pairs[:1].expand(60, -1, -1, -1).float() / 255
    green = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    plain, ink = augment_pairs(x, 2.5, random_streams.stream(0, "sketcher training", 0))
    photo, same_ink = augment_pairs(x, 2.5, random_streams.stream(0, "sketcher training", 0), green)
    assert torch.equal(ink, same_ink)
    differs = (photo - plain).abs().amax(dim=1) > 0.2  # [60,H,W]
    assert 30 <= differs.any(dim=(1, 2)).sum() <= 50
    filled = [ndimage.binary_fill_holes(lines > 0.5) for lines in ink[:, 0].numpy()]
    inner = np.stack([ndimage.binary_erosion(area, iterations=5) for area in filled])
    assert inner.mean() > 0.02 and not (differs.numpy() & inner).any()


def test_sets_of_photos_are_shown_equally_often(pairs):
    trainer = SketcherTrainer(TINY.model_copy(update={"batch": 16}), [pairs[:1], pairs[1:5]], pairs[5:])
    chosen = trainer._choose((16,), torch.Generator().manual_seed(0))
    assert [((chosen >= a) & (chosen < b)).sum().item() for a, b in ((0, 1), (1, 5), (5, 6))] == [5, 5, 6]


def ndimage_length(ink):
    """Length of the lines: half of the boundary of what is inked."""
    lengths = []
    for image in ink[:, 0].numpy() > 0.5:
        area, rim = image.sum(), (image & ~ndimage.binary_erosion(image)).sum()
        lengths.append(rim / 2 if area else 1)
    return torch.tensor(lengths, dtype=torch.float32)


def test_losses_are_small_for_the_right_drawing_only():
    ink = torch.zeros(1, 1, 32, 32)
    ink[..., 10, 4:28] = 1
    right = drawing_losses(6 * (1 - 2 * ink), ink)
    blank = drawing_losses(torch.full_like(ink, 6.0), ink)
    assert sum(right.values()) < 0.01 < 0.3 < sum(blank.values())


def test_training_reduces_the_losses(pairs):
    trainer = SketcherTrainer(TINY, [pairs], pairs)
    losses = [sum(trainer.step().losses.values()) for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    net = trainer.result()
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_evaluation_tells_a_good_sketcher_from_a_blank_one(pairs):
    good = evaluate_sketcher(LineExtractor(), pairs, size=64)
    blank = evaluate_sketcher(lambda photo: torch.ones_like(photo[:, :1]), pairs, size=64)
    assert good["chamfer"] < 0.02 < blank["chamfer"]
    assert good["l1"] < blank["l1"] == pytest.approx(blank["wanted"])


def test_resuming_is_exact(pairs):
    whole = SketcherTrainer(TINY, [pairs])
    for _ in range(6):
        whole.step()
    first = SketcherTrainer(TINY, [pairs])
    for _ in range(3):
        first.step()
    second = SketcherTrainer(TINY, [pairs])
    second.load_state_dict(first.state_dict())
    torch.manual_seed(5)  # the global generator has no say
    for _ in range(3):
        second.step()
    expected = whole.result().state_dict()
    assert all(torch.equal(expected[name], value) for name, value in second.result().state_dict().items())


def test_resuming_with_other_options_is_refused(pairs):
    state = SketcherTrainer(TINY, [pairs]).state_dict()
    other = SketcherTrainer(TINY.model_copy(update={"batch": 8}), [pairs])
    with pytest.raises(ValueError, match="batch 4, this one 8"):
        other.load_state_dict(state)


def test_a_training_can_be_made_longer(pairs):
    first = SketcherTrainer(TINY, [pairs])
    first.step()
    longer = SketcherTrainer(TINY.model_copy(update={"steps": 60}), [pairs])
    longer.load_state_dict(first.state_dict())
    assert longer.steps_done == 1


def test_result_does_not_change_when_training_goes_on(pairs):
    trainer = SketcherTrainer(TINY, [pairs])
    net = trainer.result()
    before = net.model[1].weight.clone()
    trainer.step()
    assert torch.equal(net.model[1].weight, before)


def test_balanced_takes_the_same_of_every_folder():
    names = [f"many/{k:03d}" for k in range(90)] + [f"few/{k}" for k in range(4)] + [f"some/{k}" for k in range(9)]
    chosen = balanced(names, 12)
    assert [sum(name.startswith(folder) for name in chosen) for folder in ("many", "few", "some")] == [4, 4, 4]
    assert len(set(balanced(names, 1000))) == len(names)


def test_an_interrupted_training_goes_on_and_ends_as_if_nothing_happened(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(11):
        Image.fromarray(disc(radius=20 + k)).save(photos / f"{k:02d}.png")
    config = TINY.model_copy(update={"steps": 4})
    expected = train_sketcher(config, [photos], None, tmp_path / "whole.safetensors")

    def interrupt(report):
        if report.step == 1:
            raise KeyboardInterrupt

    out = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_sketcher(config, [photos], None, out, on_step=interrupt)
    steps = []
    net = train_sketcher(config, [photos], None, out, on_step=lambda report: steps.append(report.step))
    assert steps == [2, 3]
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), expected.state_dict().values()))
    loaded = load_photosketch(out)
    photo = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded(photo), net(photo), atol=0.02, rtol=0)
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.safetensors"]
