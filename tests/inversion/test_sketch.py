from __future__ import annotations

import pytest
import torch

from gansketching_core.inversion.sketch import SketchSearch, SketchSearchConfig
from gansketching_core.latents.sampling import render, sample_z
from gansketching_core.sketches.distance import chamfer


def draw(photo: torch.Tensor) -> torch.Tensor:
    """In place of a sketcher: the contour line at the mean brightness."""
    grey = photo.mean(dim=1, keepdim=True)
    level, contrast = grey.mean(dim=(2, 3), keepdim=True), grey.std(dim=(2, 3), keepdim=True)
    return 1 - 2 * torch.exp(-((grey - level) / (0.2 * contrast)).square())


@pytest.mark.parametrize("count", [1, 2])
def test_images_come_nearer_to_the_sketches(model, run, count):
    sketches = draw(render(model, sample_z(model, count, seed=99)))
    config = SketchSearchConfig(pool=48, count=4, steps=0)
    pool, _ = run(SketchSearch(model, sketches, draw, config))
    result, reports = run(SketchSearch(model, sketches, draw, config.model_copy(update={"steps": 15})))
    assert result.distance.equal(result.distance.sort().values)
    assert len(reports) == 16 and reports[-1]["distance"] == pytest.approx(float(result.distance.median()))
    assert result.distance.mean() < pool.distance.mean()
    near = chamfer(draw(render(model, result.latents).clamp(-1, 1)), sketches).min(dim=1).values
    torch.testing.assert_close(near, result.distance, rtol=0.05, atol=1e-3)
    random = chamfer(draw(render(model, sample_z(model, 32, seed=5))), sketches).min(dim=1).values
    assert pool.distance.max() < random.median()
    assert torch.cdist(result.latents.data, result.latents.data).add(torch.eye(4) * 9).min() > 0.1


def test_a_sketch_search_can_be_stopped(model):
    search = SketchSearch(model, draw(render(model, sample_z(model, 1))), draw, SketchSearchConfig(pool=16, count=2))
    with pytest.raises(ValueError, match="take a step first"):
        search.result()
    search.step()

    def stop():
        raise KeyboardInterrupt

    search.poll = stop
    with pytest.raises(KeyboardInterrupt):
        search.step()
    assert len(search.result().latents) == 2


def test_unusable_sketches_are_refused(model):
    with pytest.raises(ValueError, match="sketch 1 is blank"):
        SketchSearch(model, torch.stack([-torch.ones(1, 32, 32), torch.ones(1, 32, 32)]), draw)
    with pytest.raises(ValueError, match="sketches have shape"):
        SketchSearch(model, torch.ones(1, 3, 32, 32), draw)
    with pytest.raises(ValueError, match="enlarge the pool"):
        SketchSearch(model, -torch.ones(1, 1, 32, 32), draw, SketchSearchConfig(pool=4, count=8))
