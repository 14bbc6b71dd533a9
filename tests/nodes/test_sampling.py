"""Sample and Side by Side."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import SAMPLING, tiny_model


def test_sample_shares_latents_between_models(pack, home):
    node, first, second = pack.node("Sample"), tiny_model(pack), tiny_model(pack, seed=1)
    pictures, latents = node.sample(first, 5, 3, **SAMPLING)
    assert pictures.shape == (3, 32, 32, 3) and latents.space == "z"
    assert torch.equal(node.sample(first, 0, 1, latents=latents, **SAMPLING)[0], pictures)
    assert torch.allclose(node.sample(first, 5, 4, **SAMPLING)[0][:3], pictures, atol=1e-5)
    assert not torch.equal(node.sample(second, 5, 3, latents=latents, **SAMPLING)[0], pictures)


def test_sample_reports_progress_and_can_be_cancelled(pack, home):
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total)))
    pack.node("Sample").sample(tiny_model(pack), 0, 200, **SAMPLING)
    assert seen[-1] == (200, 200) and len(seen) > 1

    def stop():
        raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("Sample").sample(tiny_model(pack), 0, 2, **SAMPLING)


def test_bad_sampling_values_are_named(pack, home):
    with pytest.raises(ValueError, match="truncation 9"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "truncation": 9})
    with pytest.raises(ValueError, match="no classes"):
        pack.node("Sample").sample(tiny_model(pack), 0, 1, **{**SAMPLING, "class_index": 2})


def test_side_by_side(pack):
    left, right = torch.zeros(4, 64, 64, 3), torch.ones(4, 64, 64, 3) * 0.5
    (picture,) = pack.node("SideBySide").compose(left, right, "before", "after", 0)
    assert picture.shape[0] == 1 and picture.shape[3] == 3
    assert picture.shape[2] > 4 * 128 and picture.shape[1] > 2 * 128
    darkest = (picture[0] == 0).all(dim=2)
    assert darkest.sum() >= 4 * 128**2 and not darkest[:, picture.shape[2] // 2 :].any()
    (wider,) = pack.node("SideBySide").compose(left, right, "before", "after", 0, sketches=torch.ones(30, 256, 256, 3))
    assert wider.shape[1] == picture.shape[1] and wider.shape[2] < 2 * picture.shape[2]


def test_side_by_side_takes_batches_of_different_lengths_and_sizes(pack):
    left, right = torch.zeros(5, 64, 64, 3), torch.zeros(2, 32, 48, 3)
    (picture,) = pack.node("SideBySide").compose(left, right, "", "", 0)
    assert (picture[0] == 0).all(dim=2).sum() == 5 * 128**2 + 2 * 128 * 85


@pytest.mark.parametrize("empty", ["left", "right", "sketches"])
def test_side_by_side_names_an_empty_batch(pack, empty):
    batches = dict.fromkeys(("left", "right", "sketches"), torch.zeros(2, 64, 64, 3)) | {
        empty: torch.zeros(0, 64, 64, 3)
    }
    with pytest.raises(ValueError, match=r"empty|no images"):
        pack.node("SideBySide").compose(**batches, left_title="before", right_title="after", columns=0)
