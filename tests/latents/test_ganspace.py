from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_model

from gansketching_core.latents.ganspace import Directions, edit, fit_directions, sheet
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.latents.spaces import Latents, to_w, to_w_plus, truncate
from gansketching_core.random_streams import stream


@pytest.fixture(scope="module")
def directions(model) -> Directions:
    return fit_directions(model, components=8, samples=25_000, seed=4)


def test_directions_are_orthonormal_and_those_of_a_plain_pca(model, directions):
    torch.testing.assert_close(directions.components @ directions.components.T, torch.eye(8), rtol=0, atol=1e-6)
    chunks = {0: 10_000, 10_000: 10_000, 20_000: 5_000}  # where each starts, and its length
    z = [torch.randn(count, 16, generator=stream(4, "pca", start)) for start, count in chunks.items()]
    w = to_w(model, Latents("z", torch.cat(z))).data.double().numpy()
    _, values, vectors = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(directions.mean, w.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(directions.stdev, values[:8] / np.sqrt(25_000 - 1), rtol=1e-5)
    np.testing.assert_allclose(np.abs((directions.components.numpy() * vectors[:8]).sum(axis=1)), 1, atol=1e-5)
    assert (directions.components.gather(1, directions.components.abs().argmax(1, keepdim=True)) > 0).all()


def test_fitting_is_checked_reported_and_stopped(model):
    calls = []
    fit_directions(model, components=1, samples=12_000, on_batch=lambda *done: calls.append(done))
    assert calls == [(10_000, 12_000), (12_000, 12_000)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_directions(model, components=1, samples=12_000, on_batch=stop)
    with pytest.raises(ValueError, match="1 to 12 directions"):
        fit_directions(model, components=13)
    with pytest.raises(ValueError, match="samples is 12"):
        fit_directions(model, components=1, samples=12)
    assert len(fit_directions(tiny_model(class_count=3), components=2, samples=1000)) == 2


def test_an_edit_adds_standard_deviations_to_some_layers(model, directions):
    z = sample_z(model, 3)
    edited = edit(model, z, directions, 2, 1.5, first=1, last=4)
    change = edited.data - to_w_plus(model, z).data
    assert not change[:, [0, 5, 6, 7]].any()
    expected = 1.5 * directions.stdev[2] * directions.components[2]
    torch.testing.assert_close(change[:, 1:5], expected.expand(3, 4, -1), rtol=1e-4, atol=1e-6)
    each = edit(model, z[0], directions, 2, torch.tensor([0.0, 1.5]), first=1, last=4)
    torch.testing.assert_close(each.data, torch.cat([to_w_plus(model, z[0]).data, edited.data[:1]]))


def test_truncation_scales_an_edit_made_before_it(model, directions):
    z = sample_z(model, 3)
    plain = to_w_plus(model, truncate(model, z, 0.5)).data
    after = edit(model, z, directions, 0, 2.0, psi=0.5).data - plain
    before = edit(model, z, directions, 0, 2.0, psi=0.5, before_truncation=True).data - plain
    torch.testing.assert_close(before, after / 2, rtol=1e-4, atol=1e-6)


def test_each_latent_can_have_its_own_strength(model, directions):
    z, strengths = sample_z(model, 3), torch.tensor([0.0, 1.5, -2.0])
    edited = edit(model, z, directions, 2, strengths).data
    single = [edit(model, z[k], directions, 2, strength).data for k, strength in enumerate(strengths.tolist())]
    torch.testing.assert_close(edited, torch.cat(single), rtol=1e-4, atol=1e-6)
    for wrong in (2, 4):
        with pytest.raises(ValueError, match=f"{wrong} strengths given for 3 latents"):
            edit(model, z, directions, 2, torch.ones(wrong))


def test_edits_that_do_not_fit_are_refused(model, directions):
    z = sample_z(model, 1)
    with pytest.raises(ValueError, match='layers 3 to 8: the model "tiny 0" has layers 0 to 7'):
        edit(model, z, directions, 0, 1.0, first=3, last=8)
    with pytest.raises(ValueError, match="there are 8 directions"):
        edit(model, z, directions, 8, 1.0)
    with pytest.raises(ValueError, match="do not fit the model"):
        edit(model, z, Directions(torch.eye(4), torch.zeros(4), torch.ones(4)), 0, 1.0)


def test_the_sheet_has_a_row_for_each_component(model, directions):
    z = sample_z(model, 1)
    images = sheet(model, z, directions, components=3, strengths=(-2.0, 0.0, 2.0))
    torch.testing.assert_close(images[1::3], render(model, z).expand(3, -1, -1, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(images[5], render(model, edit(model, z, directions, 1, 2.0))[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="shows one latent"):
        sheet(model, sample_z(model, 2), directions, components=8)
