"""PhotoSketch: numbers of the published architecture, weights, statistics and gradients."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F

from gansketching_core.networks.photosketch import PhotoSketch


def with_random_weights(net, seed=0):
    """Random weights and running statistics, as a trained network has."""
    torch.manual_seed(seed)
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if "running_var" in name else 0.2 * torch.randn_like(value))
    return net.eval().requires_grad_(False)


def reference(weights, x, blocks, batch_statistics=False):
    """The published network written out as functions of its state dict."""

    def norm(x, key):
        mean, var = weights[key + ".running_mean"], weights[key + ".running_var"]
        if batch_statistics:
            mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        x = (x - mean.view(1, -1, 1, 1)) / (var + 1e-5).sqrt().view(1, -1, 1, 1)
        return x * weights[key + ".weight"].view(1, -1, 1, 1) + weights[key + ".bias"].view(1, -1, 1, 1)

    def reflected(x, key, pad):
        return F.conv2d(F.pad(x, (pad,) * 4, mode="reflect"), weights[key + ".weight"], weights.get(key + ".bias"))

    x = norm(reflected(x, "model.1", 3), "model.2").relu()
    for k in (4, 7):
        x = norm(F.conv2d(x, weights[f"model.{k}.weight"], stride=2, padding=1), f"model.{k + 1}").relu()
    for k in range(10, 10 + blocks):
        y = norm(reflected(x, f"model.{k}.conv_block.1", 1), f"model.{k}.conv_block.2").relu()
        x = x + norm(reflected(y, f"model.{k}.conv_block.6", 1), f"model.{k}.conv_block.7")
    for k in (10 + blocks, 13 + blocks):
        up = F.conv_transpose2d(x, weights[f"model.{k}.weight"], stride=2, padding=1, output_padding=1)
        x = norm(up, f"model.{k + 1}").relu()
    return reflected(x, f"model.{17 + blocks}", 3).tanh()


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_numbers_of_the_published_architecture(batch_statistics):
    net = with_random_weights(PhotoSketch(width=4, blocks=2).double())
    net.batch_statistics = batch_statistics
    x = torch.rand(3, 3, 32, 40, dtype=torch.float64) * 2 - 1
    expected = reference(net.state_dict(), x, 2, batch_statistics)
    torch.testing.assert_close(net(x), expected, atol=1e-10, rtol=0)


def test_default_size_and_names_are_the_published_ones():
    names = [name for name, _ in PhotoSketch().named_parameters()]
    assert sum(p.numel() for p in PhotoSketch().parameters()) == 11_377_153
    assert {"model.1.weight", "model.10.conv_block.1.weight", "model.18.conv_block.6.weight", "model.26.bias"} <= set(
        names
    )
    assert "model.1.bias" not in names and "model.19.bias" not in names


def test_weights_from_before_batch_counters_load_strictly():
    source = PhotoSketch(width=2, blocks=1)
    old = OrderedDict((k, v) for k, v in source.state_dict().items() if "num_batches" not in k)
    target = PhotoSketch(width=2, blocks=1)
    target.load_state_dict(old, strict=True)
    torch.testing.assert_close(target.model[1].weight, source.model[1].weight)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 48), (2, 36, 100)])
def test_shapes_and_range(shape):
    batch, height, width = shape
    drawing = with_random_weights(PhotoSketch(width=4, blocks=1))(torch.rand(batch, 3, height, width) * 2 - 1)
    assert drawing.shape == (batch, 1, height, width)
    assert drawing.abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 3, 28, 28), (1, 3, 64, 66), (1, 1, 64, 64), (3, 64, 64)])
def test_unsuitable_photos_are_refused(shape):
    with pytest.raises(ValueError, match="photos"):
        PhotoSketch(width=2, blocks=0)(torch.zeros(shape))


def test_a_drawing_depends_on_its_own_photo_unless_asked_otherwise():
    net = with_random_weights(PhotoSketch(width=4, blocks=1))
    photo, other = torch.rand(2, 3, 32, 32) * 2 - 1, torch.zeros(1, 3, 32, 32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.testing.assert_close(net(photo)[:1], net(torch.cat([photo[:1], other]))[:1])
    net.batch_statistics = True
    assert net.batch_statistics
    difference = net(photo)[:1] - net(torch.cat([photo[:1], other]))[:1]
    assert difference.abs().max() > 1e-3
    net.batch_statistics = False
    torch.testing.assert_close(net(photo)[:1], net(photo[:1]))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_training_mode_records_statistics():
    net = PhotoSketch(width=2, blocks=0).train()
    before = net.model[2].running_mean.clone()
    net(torch.rand(2, 3, 32, 32))
    assert not torch.equal(before, net.model[2].running_mean)


def test_gradients_agree_with_finite_differences():
    sketcher = with_random_weights(PhotoSketch(width=2, blocks=1).double())
    torch.manual_seed(1)
    photo = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1).requires_grad_()
    direction, weight = torch.randn_like(photo), torch.randn(1, 1, 32, 32, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((sketcher(photo) * weight).sum(), photo)
    with torch.no_grad():
        step = 1e-6
        up, down = ((sketcher(photo + s * direction) * weight).sum() for s in (step, -step))
    torch.testing.assert_close((gradient * direction).sum(), (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
