from __future__ import annotations

import pytest
import torch

from gansketching_core.latents.spaces import Latents, join, to_space, to_w, to_w_plus, truncate


def test_spaces_are_checked(model, z):
    with pytest.raises(ValueError, match='"x" is unknown'):
        Latents("x", torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"w\+ latents have shape"):
        Latents("w+", torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r"labels have shape \(\)"):
        Latents("z", torch.zeros(1, 4), torch.tensor(0))
    with pytest.raises(ValueError, match="do not fit the model"):
        to_w(model, Latents("w", torch.zeros(1, 13)))
    with pytest.raises(ValueError, match="can't be turned into w"):
        to_w(model, to_w_plus(model, z))


def test_z_is_mapped_to_the_other_spaces(model, z):
    w = model.generator.map(z.data)
    assert to_space(model, z, "z") is z
    assert to_space(model, z, "w").data.equal(w)
    assert to_space(model, z, "w+").data.equal(w[:, None].repeat(1, 8, 1))


def test_truncation(model, z):
    w = to_w(model, z).data
    assert truncate(model, z, 1.0).data.equal(w)
    assert truncate(model, z, 0.0).data.equal(model.w_mean.expand(5, -1))
    torch.testing.assert_close(truncate(model, z, 0.6).data, model.w_mean + 0.6 * (w - model.w_mean))
    cut = truncate(model, z, 0.6, cutoff=3)
    assert cut.space == "w+" and cut.data[:, 3:].equal(to_w_plus(model, z).data[:, 3:])
    torch.testing.assert_close(cut.data[:, 2], truncate(model, z, 0.6).data)
    with pytest.raises(ValueError, match="has 8 layers"):
        truncate(model, z, 0.6, cutoff=9)


def test_joined_latents_keep_their_order(model, z):
    assert join([z[0], z[1:4], z[-1]]).data.equal(z.data)
    assert len(z[-1]) == 1 and z[-1].data.equal(z.data[4:])
    with pytest.raises(IndexError, match="latent 5 of 5"):
        z[5]
    with pytest.raises(ValueError, match="w, z"):
        join([z, to_w(model, z)])
    with pytest.raises(ValueError, match="some have none"):
        join([z, Latents("z", z.data, torch.zeros(5))])
