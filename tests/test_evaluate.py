"""Sketch match: the figures in a fine-tuning's report."""

import copy

import pytest
import torch
from tiny import some_sketches, tiny_model

from gansketching_core.evaluate import sketch_match
from gansketching_core.latents import render, sample_z
from gansketching_core.photosketch import LineExtractor


def test_equal_models_match_equally():
    match = sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=6)
    assert match.before == match.after > 0 and match.nearer == 0


def test_a_model_whose_images_are_the_sketch_matches_it():
    before, after = tiny_model(), tiny_model()
    latents = sample_z(before, 1, seed=5)
    target = LineExtractor()(render(before, latents, seed=0))

    after = copy.deepcopy(before)  # whatever z, this one makes the image of that latent
    w = before.generator.map(latents.data)[0]
    last = after.generator.mapping.layers[-1]
    last.weight.zero_()
    after.generator.mapping.w_shift.copy_(w - last.bias.new_zeros(len(w)))
    last.bias.zero_()
    match = sketch_match(before, after, target, LineExtractor(), count=12)
    assert match.nearer > 0.8 and match.after < match.before
    assert f"{match.nearer:.0%} of the samples are nearer" in str(match)


def test_result_does_not_depend_on_the_batch():
    one = sketch_match(tiny_model(), tiny_model(1), some_sketches(), LineExtractor(), count=5, batch=1)
    three = sketch_match(tiny_model(), tiny_model(1), some_sketches(), LineExtractor(), count=5, batch=3)
    assert one.after == pytest.approx(three.after, rel=1e-3) and one.nearer == three.nearer


def test_can_be_cancelled():
    def cancel(done, total):
        assert (done, total) == (2, 4)
        raise InterruptedError

    with pytest.raises(InterruptedError), torch.no_grad():
        sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=4, batch=2, on_batch=cancel)
