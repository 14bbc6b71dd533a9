"""Sketch match: the figures in a fine-tuning's report."""

import copy

import pytest
import torch
from tiny import some_sketches, tiny_model

from gansketching_core.evaluation.evaluate import evaluate_model
from gansketching_core.evaluation.sketch_match import SketchMatch, sketch_match
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.networks.line_extractor import LineExtractor


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


def test_share_that_beats_the_median_of_the_base():
    match = sketch_match(tiny_model(), tiny_model(1), some_sketches(), LineExtractor(), count=6)
    assert 0 <= match.beats <= 1
    same = sketch_match(tiny_model(), tiny_model(), some_sketches(), LineExtractor(), count=7)
    assert same.beats == pytest.approx(3 / 7)  # seven different distances: three are below their median
    assert SketchMatch(0.2, 0.1, 0.9).beats is None


# --------------------------------------------------------------------------------------------------------- with photos


class Pooled(torch.nn.Module):
    """Colours of a picture at 2 x 2 pixels: [B,12]."""

    name, is_fid = "2 x 2 pixels", False

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x.clamp(-1, 1), 2).flatten(1)


def test_a_models_own_samples_are_at_no_distance():
    model, done = tiny_model(), []
    photos = render(model, sample_z(model, 40, 3))
    result = evaluate_model(
        model, photos, Pooled(), count=40, seed=3, path_length_pairs=4, on_batch=lambda *now: done.append(now)
    )
    assert result.frechet == pytest.approx(0, abs=1e-6) and result.precision == result.recall == 1
    assert result.kid < 1 and result.path_length > 0
    assert done[-1] == (84, 84) and [now for now, _ in done] == sorted(now for now, _ in done)
    far = evaluate_model(model, 1 - photos, Pooled(), count=40, seed=3)
    assert far.frechet > 0.01 and far.path_length is None


def test_the_text_names_the_extractor_and_says_fid_only_of_inception():
    text = str(evaluate_model(tiny_model(), torch.rand(8, 3, 32, 32), Pooled(), count=8))
    assert "2 x 2 pixels" in text and "Frechet distance:" in text and "FID" not in text
    inception = Pooled()
    inception.is_fid = True
    assert "FID:" in str(evaluate_model(tiny_model(), torch.rand(8, 3, 32, 32), inception, count=8))


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="2 samples and 8 photos"):
        evaluate_model(tiny_model(), torch.rand(8, 3, 32, 32), Pooled(), count=2)
