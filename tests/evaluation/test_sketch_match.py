"""The sketch match: the figures in a fine-tuning's report, of `evaluate` and of the Sketch Match Score node."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny import some_sketches, tiny_model

from gansketching_core.evaluation.colours import colours_kept
from gansketching_core.evaluation.sketch_match import sketch_match
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.networks.line_extractor import LineExtractor


def test_a_model_compared_with_itself():
    match = sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=7)
    assert match.before == match.after > 0 and match.nearer == 0
    assert match.colours == 1
    assert match.beats == pytest.approx(3 / 7)  # seven different distances: three are below their median


def test_a_model_whose_images_are_the_sketch_matches_it():
    before = tiny_model()
    latents = sample_z(before, 1, seed=5)
    target = LineExtractor()(render(before, latents))

    after = copy.deepcopy(before)  # for every z this model makes the image of that latent
    last = after.generator.mapping.layers[-1]
    last.weight.zero_()
    last.bias.zero_()
    after.generator.mapping.w_shift.copy_(before.generator.map(latents.data)[0])
    match = sketch_match(before, after, target, LineExtractor(), count=12)
    assert match.nearer > 0.8 and match.beats > 0.8 and match.after < match.before
    assert f"{match.nearer:.0%} of the samples are nearer than before" in str(match)
    assert f"{match.shape_after:.0%} of the samples have the shape of a sketch" in str(match)
    images = [render(model, sample_z(before, 12, seed=1)).clamp(-1, 1) for model in (before, after)]
    assert match.colours == pytest.approx(colours_kept(images[1], images[0]), abs=0.02)
    assert "of the colours of the original's samples" in str(match)


def test_the_result_does_not_depend_on_the_batch():
    one = sketch_match(tiny_model(), tiny_model(1), some_sketches(), LineExtractor(), count=5, batch=1)
    three = sketch_match(tiny_model(), tiny_model(1), some_sketches(), LineExtractor(), count=5, batch=3)
    assert one.after == pytest.approx(three.after, rel=1e-3) and one.nearer == three.nearer


@pytest.mark.parametrize(("resolution", "count"), [(32, 64), (256, 16)])
def test_the_number_of_samples_follows_from_the_resolution(resolution, count):
    channels = (4,) * (resolution.bit_length() - 2)
    model, done = tiny_model(resolution=resolution, channels=channels), []
    sketch_match(model, model, some_sketches(1, resolution), LineExtractor(), on_batch=lambda *now: done.append(now))
    assert done[-1] == (2 * count, 2 * count) and done == sorted(done)


def test_the_class_can_be_chosen():
    before, after = tiny_model(class_count=3), tiny_model(1, class_count=3)
    medians = [
        sketch_match(before, after, some_sketches(), LineExtractor(), count=6, label=label).after for label in range(3)
    ]
    assert len(set(medians)) == 3


def test_can_be_cancelled():
    def cancel(done, total):
        assert (done, total) == (2, 8)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=4, batch=2, on_batch=cancel)


def test_one_sample_is_too_few():
    with pytest.raises(ValueError, match=r"count is 1.*use 2 or more"):
        sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=1)


def test_models_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="images of 32 px, the customised model of 64 px"):
        sketch_match(
            tiny_model(), tiny_model(resolution=64, channels=(4,) * 5), torch.ones(1, 1, 32, 32), LineExtractor()
        )
