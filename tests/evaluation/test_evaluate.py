"""A model's samples compared with photos."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from gansketching_core.evaluation.evaluate import evaluate_model
from gansketching_core.latents.sampling import render, sample_z


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


def test_the_class_can_be_chosen():
    """Samples of a class are at no distance from that class's own images, and at some from another's."""
    model = tiny_model(class_count=3)
    photos = render(model, sample_z(model, 40, 3, labels=2))
    same, other = (evaluate_model(model, photos, Pooled(), count=40, seed=3, label=label).frechet for label in (2, 1))
    assert same == pytest.approx(0, abs=1e-6) and other > 1e-3


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="2 samples and 8 photos"):
        evaluate_model(tiny_model(), torch.rand(8, 3, 32, 32), Pooled(), count=2)
