from __future__ import annotations

import pytest
import torch

from gansketching_core.features import EXTRACTORS, extract, load_extractor
from gansketching_core.images import ImageSet


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def test_extract_takes_a_tensor_or_batches_and_tells_progress():
    x = torch.rand(7, 3, 8, 8)
    done = []
    features = extract(Mean(), x, batch=3, on_batch=done.append)
    torch.testing.assert_close(features, x.mean(dim=(2, 3)))
    assert done == [3, 6, 7]
    torch.testing.assert_close(extract(Mean(), iter(x.split(4))), features)


def test_unknown_extractor_is_refused():
    with pytest.raises(ValueError, match='"vgg" is unknown; use one of efficientnet-lite0, inception'):
        load_extractor("vgg")


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(EXTRACTORS["inception"], "packages", ("no_such_package",))
    with pytest.raises(ValueError, match=r"Inception.* is not installed: pip install torch-fidelity"):
        load_extractor("inception")


def test_efficientnet_knows_the_bundled_photos():
    """The preprocessing is right: ImageNet's classes of the photos come out on top."""
    pytest.importorskip("efficientnet_lite_pytorch")
    extractor = load_extractor()
    imagenet = {"banana_1": 954, "lemon": 951, "pineapple": 953, "strawberry_1": 949, "strawberry_2": 949}
    photos = ImageSet("samples/photos", 128, names=[f"{name}.png" for name in imagenet])
    with torch.no_grad():
        best = extractor.classify(photos.batch(torch.arange(len(photos)))).topk(5).indices
        features = extractor(photos.batch(torch.arange(2)))
    hits = [index in row.tolist() for index, row in zip(imagenet.values(), best)]
    assert sum(hits) >= 4, best
    assert features.shape == (2, 1280) and features.dtype == torch.float32
    assert not EXTRACTORS["efficientnet-lite0"].is_fid
