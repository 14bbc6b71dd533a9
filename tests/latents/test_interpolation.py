from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from gansketching_core.latents.interpolation import lerp, slerp, style_mix, walk
from gansketching_core.latents.sampling import sample_z
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus


def test_slerp_keeps_the_norm_and_turns_evenly():
    rng = torch.Generator().manual_seed(1)
    data = torch.nn.functional.normalize(torch.randn(12, 16, generator=rng, dtype=torch.float64)) * 4
    a, b = Latents("z", data[:6]), Latents("z", data[6:])
    steps = [slerp(a, b, t).data for t in torch.linspace(0, 1, 6, dtype=torch.float64)]
    assert steps[0].equal(a.data) and steps[-1].equal(b.data)
    for step in steps:
        torch.testing.assert_close(step.norm(dim=1), torch.full((6,), 4.0, dtype=torch.float64))
    angles = torch.stack([torch.acos((x * y).sum(1) / 16) for x, y in zip(steps, steps[1:])])
    torch.testing.assert_close(angles, angles[:1].expand_as(angles), rtol=1e-6, atol=1e-6)


def test_slerp_special_cases():
    a = Latents("z", torch.tensor([[3.0, 0.0]]))
    assert slerp(a, a, 0.3).data.equal(a.data)
    assert slerp(a, Latents("z", torch.tensor([[0.0, 5.0]])), 0.5).data.norm() == pytest.approx(4)
    with pytest.raises(ValueError, match="opposites"):
        slerp(a, Latents("z", -a.data), 0.5)
    with pytest.raises(ValueError, match="norm 0"):
        slerp(a, Latents("z", 0 * a.data), 0.5)
    with pytest.raises(ValueError, match="use lerp"):
        slerp(Latents("w", a.data), Latents("w", a.data), 0.5)


def test_lerp_extrapolates():
    a, b = Latents("w", torch.tensor([[1.0, 2.0]])), Latents("w", torch.tensor([[3.0, 2.5]]))
    assert lerp(a, b, 2.0).data.tolist() == [[5.0, 3.0]]
    assert lerp(a, b, -1.0).data.tolist() == [[-1.0, 1.5]]
    assert lerp(a, b, torch.tensor([0.0, 2.0])).data.tolist() == [[1.0, 2.0], [5.0, 3.0]]
    with pytest.raises(ValueError, match="bring both to one space"):
        lerp(a, Latents("z", b.data), 0.5)


def test_walk_passes_through_its_keys(model, z):
    for keys in (z, to_w(model, z), to_w_plus(model, z)):
        assert walk(keys, 9).data[::2].equal(keys.data)
        looped = walk(keys, 10, loop=True)
        assert looped.data[::2].equal(keys.data)
        torch.testing.assert_close(looped.data[9:], walk(keys[[4, 0]], 3).data[1:2])
    torch.testing.assert_close(walk(z, 3, mode="lerp").data[1], z.data[2])
    assert len(walk(z, 1)) == 1
    with pytest.raises(ValueError, match="at least two"):
        walk(z[0], 5)
    with pytest.raises(ValueError, match="frames is 0"):
        walk(z, 0)


def test_a_walk_stays_in_one_class():
    model = tiny_model(class_count=3)
    assert walk(sample_z(model, 4, labels=1), 7).labels.tolist() == [1] * 7
    with pytest.raises(ValueError, match="turn them into w first"):
        walk(sample_z(model, 2), 7)


def test_style_mix_takes_a_layer_range(model, z):
    mixed = style_mix(model, z, z[2], 4, 6)
    base, style = to_w_plus(model, z).data, to_w_plus(model, z[2]).data.expand(5, -1, -1)
    assert mixed.data[:, [0, 1, 2, 3, 7]].equal(base[:, [0, 1, 2, 3, 7]])
    assert mixed.data[:, 4:7].equal(style[:, 4:7])
    with pytest.raises(ValueError, match='layers 4 to 8: the model "tiny 0" has layers 0 to 7'):
        style_mix(model, z, z[2], 4, 8)
    with pytest.raises(ValueError, match="2 styles given for 5"):
        style_mix(model, z, z[:2])
