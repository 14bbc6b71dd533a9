"""Project Image and Project Sketch, on a tiny model."""

from __future__ import annotations

import pytest
import torch
from loaded_pack import defaults, images_of, ring, seeded, tiny_model

pytestmark = pytest.mark.usefixtures("inference_mode", "home")


@pytest.fixture
def model(pack):
    return tiny_model(pack)


def test_project_image_finds_latents_for_sample(pack, model):
    targets = images_of(pack, model, seeded(pack, model, count=2))
    seen = []
    pack.host.set_hooks(progress=lambda value, total, preview: seen.append((value, total, preview)))
    options = defaults(pack, "ProjectImage", space="w", steps=6, pool=8, starts=2)
    latents, reconstruction, report = pack.node("ProjectImage").project(model, targets, **options)
    assert latents.space == "w" and reconstruction.shape == (2, 32, 32, 3)
    assert torch.allclose(images_of(pack, model, latents), reconstruction, atol=1e-4)
    assert "2 images projected into w of tiny" in report and "dB" in report
    assert [step[:2] for step in seen[:6]] == [(k, 6) for k in range(1, 7)] and seen[0][2].width > 200


def test_project_image_takes_a_mask_and_any_size(pack, model):
    photo, mask = torch.rand(1, 50, 70, 3), torch.zeros(50, 70)
    mask[10:40, 20:50] = 1
    options = defaults(pack, "ProjectImage", steps=2, pool=4, starts=1)
    _, reconstruction, _ = pack.node("ProjectImage").project(model, photo, mask=mask, **options)
    assert reconstruction.shape == (1, 32, 32, 3)
    with pytest.raises(ValueError, match="mask is empty"):
        pack.node("ProjectImage").project(model, photo, mask=torch.zeros(1, 50, 70), **options)
    with pytest.raises(ValueError, match="steps 0"):
        pack.node("ProjectImage").project(model, photo, **{**options, "steps": 0})


def test_projecting_can_be_cancelled_and_leaves_the_model_alone(pack, model):
    before, calls = pack.core.weights_hash(model), []

    def stop():
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt

    pack.host.set_hooks(poll=stop)
    with pytest.raises(KeyboardInterrupt):
        pack.node("ProjectImage").project(model, torch.rand(1, 32, 32, 3), **defaults(pack, "ProjectImage", pool=4))
    assert len(calls) == 6 and pack.core.weights_hash(model) == before


def test_project_sketch_finds_several_images(pack, model):
    options = defaults(pack, "ProjectSketch", steps=2, pool=12, count=3)
    lines = pack.core.LineExtractor()
    latents, pictures, drawings, report = pack.node("ProjectSketch").project(model, ring(), lines, **options)
    assert len(latents) == 3 and pictures.shape == drawings.shape == (3, 32, 32, 3)
    assert torch.allclose(images_of(pack, model, latents), pictures, atol=1e-4)
    assert len({tuple(z) for z in latents.data.tolist()}) == 3 and "3 images for 1 sketches" in report
    with pytest.raises(ValueError, match="enlarge the pool"):
        pack.node("ProjectSketch").project(model, ring(), lines, **{**options, "count": 13})
