"""The networks against independent formulas in float64: loops, and scipy for the filters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from formats import SMALL, small_model
from scipy.signal import convolve2d, correlate2d
from torch.autograd import gradcheck, gradgradcheck

from gansketching_core.networks.resampling import downsample, fir, upsample
from gansketching_core.networks.stylegan2 import (
    Discriminator,
    GanConfig,
    Generator,
    StyledConv,
    ToRGB,
    config_f_channels,
)

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
TINY = GanConfig(resolution=32, z_dim=5, w_dim=4, mapping_layers=2, channels=(4, 3, 3, 2))


def randomised(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network in float64 with random values added to every parameter, biases and noise strengths included."""
    rng = torch.Generator().manual_seed(seed)
    net.double()
    with torch.no_grad():
        for value in net.parameters():
            value += 0.5 * torch.randn(value.shape, generator=rng, dtype=torch.float64)
    return net


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------------------------- independent formulas


def leaky(x: np.ndarray, clamp: float | None = None) -> np.ndarray:
    x = np.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x if clamp is None else np.clip(x, -clamp, clamp)


def dense(layer, x: np.ndarray, lr_mul: float = 1.0) -> np.ndarray:
    """[I] -> [O] by the definition of an equalised layer."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return (
        np.array(
            [sum(weight[o, i] * lr_mul / math.sqrt(len(x)) * x[i] for i in range(len(x))) for o in range(len(bias))]
        )
        + bias * lr_mul
    )


def filter_up(x: np.ndarray) -> np.ndarray:
    """[H, W] -> [2H, 2W]: zeros between the pixels, 2 before and 1 behind, filter with a gain of 4."""
    spread = np.zeros((2 * x.shape[0] + 3, 2 * x.shape[1] + 3))
    spread[2:-1:2, 2:-1:2] = x
    return convolve2d(spread, 4 * TAPS, mode="valid")


def filter_down(x: np.ndarray) -> np.ndarray:
    return convolve2d(np.pad(x, 1), TAPS, mode="valid")[::2, ::2]


def modulated(weight: np.ndarray, style: np.ndarray, *, demodulate: bool) -> np.ndarray:
    """Eq. 1 and 3 of the StyleGAN2 paper, after scaling by 1/sqrt(fan_in). weight [O,I,k,k], style [I]."""
    fan_out, fan_in, size, _ = weight.shape
    result = np.zeros_like(weight)
    for o in range(fan_out):
        for i in range(fan_in):
            result[o, i] = weight[o, i] * style[i] / math.sqrt(fan_in * size * size)
        if demodulate:
            result[o] /= math.sqrt((result[o] ** 2).sum() + 1e-8)
    return result


def convolve(x: np.ndarray, weight: np.ndarray, *, up: bool = False) -> np.ndarray:
    """[I,H,W] -> [O,H,W], zero padded, or [O,2H,2W]: each pixel adds the kernel at twice its position."""
    if not up:
        return np.array([sum(correlate2d(x[i], w[i], mode="same") for i in range(len(x))) for w in weight])
    output = np.zeros((len(weight), 2 * x.shape[1] + 1, 2 * x.shape[2] + 1))
    for o in range(len(weight)):
        for i in range(len(x)):
            for row in range(x.shape[1]):
                for column in range(x.shape[2]):
                    output[o, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += x[i, row, column] * weight[o, i]
    return np.array([convolve2d(np.pad(plane, 1), 4 * TAPS, mode="valid") for plane in output])


def styled(layer: StyledConv, x: np.ndarray, w: np.ndarray, noise: np.ndarray) -> np.ndarray:
    weight = modulated(layer.weight.detach().numpy(), dense(layer.affine, w), demodulate=True)
    x = convolve(x, weight, up=layer.up) + layer.noise_strength.item() * noise
    return leaky(x + layer.bias.detach().numpy()[:, None, None], layer.clamp)


def to_rgb(layer: ToRGB, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    weight = modulated(layer.weight.detach().numpy(), dense(layer.affine, w), demodulate=False)
    rgb = np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], x) + layer.bias.detach().numpy()[:, None, None]
    return rgb if layer.clamp is None else np.clip(rgb, -layer.clamp, layer.clamp)


def generate(net: Generator, ws: np.ndarray) -> np.ndarray:
    """One image [3,R,R] of ws [L, w_dim] with the stored noise."""
    g = net.synthesis
    noise = [layer.noise_const.numpy() for layer in g.layers]
    x = styled(g.layers[0], g.const.detach().numpy(), ws[0], noise[0])
    rgb = to_rgb(g.to_rgb[0], x, ws[1])
    for k in range(1, len(g.to_rgb)):
        for layer in (2 * k - 1, 2 * k):
            x = styled(g.layers[layer], x, ws[layer], noise[layer])
        rgb = np.array([filter_up(plane) for plane in rgb]) + to_rgb(g.to_rgb[k], x, ws[2 * k + 1])
    return rgb


def deviation(x: np.ndarray, group: int = 4) -> np.ndarray:
    """[B,C,H,W] -> [B]: each sample's group is every n-th one, n groups of at most `group`."""
    groups = math.ceil(len(x) / group)
    result = np.zeros(len(x))
    for sample in range(len(x)):
        members = [other for other in range(len(x)) if other % groups == sample % groups]
        pixels = []
        for c in range(x.shape[1]):
            for row in range(x.shape[2]):
                for column in range(x.shape[3]):
                    values = [x[member, c, row, column] for member in members]
                    mean = sum(values) / len(values)
                    pixels.append(math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-8))
        result[sample] = sum(pixels) / len(pixels)
    return result


def discriminate(net: Discriminator, images: np.ndarray, labels: tuple[int, ...] = ()) -> np.ndarray:
    """Logits [B] of images [B,3,R,R], of one class each where there are labels."""

    def convolution(layer, x, filtered=False):
        weight = layer.weight.detach().numpy()
        weight = weight / math.sqrt(weight[0].size)
        if filtered:  # filter with 2 zeros around, then every second position of the convolution without padding
            x = np.array([convolve2d(np.pad(plane, 2), TAPS, mode="valid") for plane in x])
            x = np.array([sum(correlate2d(x[i], w[i], mode="valid") for i in range(len(x))) for w in weight])
            x = x[:, ::2, ::2]
        else:
            x = convolve(x, weight)
        return leaky(x + layer.bias.detach().numpy()[:, None, None], layer.clamp)

    features = []
    for x in images:
        x = convolution(net.from_rgb, x)
        for block in net.blocks:
            y = convolution(block.conv2, convolution(block.conv1, x), filtered=True)
            if block.skip is not None:
                weight = block.skip.detach().numpy()[:, :, 0, 0] / math.sqrt(len(x))
                skip = np.einsum("oi,ihw->ohw", weight, np.array([filter_down(plane) for plane in x]))
                y = (y + skip) / math.sqrt(2)
            x = y
        features.append(x)
    spread = deviation(np.array(features), net.config.stddev_group)
    logits = []
    for k, x in enumerate(features):
        x = convolution(net.final_conv, np.concatenate([x, np.full((1, 4, 4), spread[k])]))
        x = dense(net.out, leaky(dense(net.hidden, x.reshape(-1))))
        logits.append(x @ direction(net, labels[k]) / math.sqrt(len(x)) if labels else x[0])
    return np.array(logits)


def direction(net: Discriminator, label: int) -> np.ndarray:
    """[cmap_dim] of a class, from the discriminator's mapping network."""
    x = dense(net.mapping.embed, np.eye(net.config.class_count)[label])
    x = x / math.sqrt((x**2).mean() + 1e-8)
    for layer in net.mapping.layers:
        x = leaky(dense(layer, x, lr_mul=0.01))
    return x


# -------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_by_loops(up, clamp):
    layer = randomised(StyledConv(3, 2, 4, 8 if up else 4, up=up, clamp=clamp))
    x, w, noise = normal(2, 3, 4, 4), normal(2, 4, seed=2), normal(2, 1, layer.size, layer.size, seed=3)
    expected = [styled(layer, *(t.numpy() for t in (x[b], w[b], noise[b, 0]))) for b in range(2)]
    np.testing.assert_allclose(layer(x, w, noise).detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    if clamp:
        assert layer(x, w, noise).abs().max() == clamp


def test_to_rgb_by_loops():
    layer = randomised(ToRGB(3, 4, clamp=None))
    x, w = normal(2, 3, 4, 4), normal(2, 4, seed=2)
    expected = [to_rgb(layer, x[b].numpy(), w[b].numpy()) for b in range(2)]
    np.testing.assert_allclose(layer(x, w).detach().numpy(), expected, rtol=1e-9)


def test_filters_by_scipy():
    x = normal(2, 3, 6, 6)
    up = [[filter_up(plane) for plane in sample] for sample in x.numpy()]
    down = [[filter_down(plane) for plane in sample] for sample in x.numpy()]
    np.testing.assert_allclose(upsample(x).numpy(), up, rtol=1e-9)
    np.testing.assert_allclose(downsample(x).numpy(), down, rtol=1e-9)
    same = [[convolve2d(np.pad(plane, 2), TAPS, mode="valid") for plane in sample] for sample in x.numpy()]
    np.testing.assert_allclose(fir(x, pad=(2, 2)).numpy(), same, rtol=1e-9)
    assert upsample(torch.ones(1, 1, 8, 8))[0, 0, 2:-2, 2:-2].eq(1).all()


@pytest.mark.parametrize(
    "arguments", [{"up": 2, "pad": (2, 1)}, {"down": 2, "pad": (1, 1)}, {"pad": (2, 2)}, {"pad": (1, 1)}]
)
def test_filters_differentiate_twice(arguments):
    x = normal(1, 2, 4, 4).requires_grad_()
    assert gradcheck(lambda t: fir(t, **arguments), x)
    assert gradgradcheck(lambda t: fir(t, **arguments), x)


# ------------------------------------------------------------------------------------------------------------ networks


def test_mapping_by_loops():
    net = randomised(Generator(TINY))
    z = normal(3, 5)
    for sample, w in zip(z.numpy(), net.map(z).detach().numpy()):
        x = sample / math.sqrt((sample**2).mean() + 1e-8)
        for layer in net.mapping.layers:
            x = leaky(dense(layer, x, lr_mul=0.01))
        np.testing.assert_allclose(w, x + net.mapping.w_shift.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("clamp", [None, 0.8])
def test_generator_by_loops(clamp):
    net = randomised(Generator(TINY.model_copy(update={"conv_clamp": clamp})))
    ws = normal(1, 8, 4)
    expected = generate(net, ws[0].numpy())
    np.testing.assert_allclose(net.synthesize(ws, noise="const")[0].detach().numpy(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("changes", [{}, {"residual_discriminator": False}, {"conv_clamp": 0.8}, {"stddev_group": 2}])
def test_discriminator_by_loops(changes):
    net = randomised(Discriminator(TINY.model_copy(update=changes)))
    images = normal(4, 3, 32, 32)
    np.testing.assert_allclose(
        net(images).detach().numpy()[:, 0], discriminate(net, images.numpy()), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 6, 8])
def test_batch_statistics_by_loops(batch):
    """Also for batches that are no multiple of the group size, which the reference does not support."""
    net = randomised(Discriminator(TINY))
    seen = []
    net.final_conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    net(normal(batch, 3, 32, 32))
    x = seen[0].numpy()
    assert x.shape == (batch, 5, 4, 4)
    np.testing.assert_allclose(x[:, 4], np.broadcast_to(deviation(x[:, :4])[:, None, None], (batch, 4, 4)), rtol=1e-9)


def test_discriminator_differentiates_twice():
    net = randomised(Discriminator(TINY))
    images = normal(2, 3, 32, 32).requires_grad_()
    assert gradcheck(net, images, fast_mode=True)
    assert gradgradcheck(net, images, fast_mode=True)


def test_gradient_penalty_by_finite_differences():
    """R1 and its gradient with respect to weights: the double backward that training uses."""
    net, images = randomised(Discriminator(TINY)), normal(2, 3, 32, 32)

    def penalty(create_graph: bool = False) -> torch.Tensor:
        x = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=create_graph)
        return gradient.square().sum()

    for weight in (net.from_rgb.weight, net.blocks[1].conv2.weight, net.blocks[0].skip, net.hidden.weight):
        (gradient,) = torch.autograd.grad(penalty(create_graph=True), weight)
        index = tuple(s // 2 for s in weight.shape)
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[index] += step
            values.append(penalty().item())
            with torch.no_grad():
                weight[index] -= step
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_only_the_mapping_network_learns_when_synthesis_is_frozen():
    net = randomised(Generator(TINY))
    net.synthesis.requires_grad_(False)
    net.synthesize(net.map(normal(2, 5)), noise="const").square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.mapping.parameters())
    assert all(p.grad is None for p in net.synthesis.parameters())


def test_w_shift_moves_w_and_nothing_else():
    net, z = randomised(Generator(TINY)), normal(3, 5)
    net.mapping.w_shift.data.zero_()
    before = net.map(z)
    shift = normal(4, seed=9)
    net.mapping.w_shift.data += shift
    assert torch.equal(net.map(z), before + shift)


# --------------------------------------------------------------------------------------------------------------- noise


def test_noise_modes():
    net = randomised(Generator(TINY))
    ws = normal(2, 8, 4)
    none, const = net.synthesize(ws, noise="none"), net.synthesize(ws, noise="const")
    assert torch.equal(const, net.synthesize(ws, noise="const")) and not torch.allclose(none, const)
    maps = [layer.noise_const[None, None] for layer in net.synthesis.layers]
    assert torch.equal(net.synthesize(ws, noise=maps), const)
    assert torch.equal(net.synthesize(ws, noise=[0 * m for m in maps]), none)

    first, again, other = (
        net.synthesize(ws, noise="random", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.allclose(first, other)
    same_w = net.synthesize(ws[:1].expand(2, -1, -1), noise="random")
    assert not torch.allclose(same_w[0], same_w[1])  # every sample has noise of its own

    for layer in net.synthesis.layers:
        layer.noise_strength.data.zero_()
    assert torch.allclose(net.synthesize(ws, noise="random"), none)


def test_noise_mistakes():
    net = Generator(TINY)
    ws = torch.zeros(2, 4)
    maps = [layer.noise_const[None, None] for layer in net.synthesis.layers]
    with pytest.raises(ValueError, match='noise "static" is unknown; use "none", "const", "random"'):
        net.synthesize(ws, noise="static")
    with pytest.raises(ValueError, match="3 noise maps given, the model has 7 layers"):
        net.synthesize(ws, noise=maps[:3])
    with pytest.raises(ValueError, match=r"noise map 1 has shape \(1, 1, 4, 4\), expected \[1 or 2,1,8,8\]"):
        net.synthesize(ws, noise=[maps[0]] * 7)


# ------------------------------------------------------------------------------------------------------ shapes, classes


@pytest.mark.parametrize(("resolution", "styles"), [(32, 8), (64, 10), (128, 12)])
def test_shapes(resolution, styles):
    channels = (4,) * (styles // 2)
    config = GanConfig(resolution=resolution, z_dim=5, w_dim=4, mapping_layers=1, channels=channels)
    net, discriminator = Generator(config), Discriminator(config)
    assert config.style_count == styles
    images = net.synthesize(net.map(torch.randn(2, 5)))
    assert images.shape == (2, 3, resolution, resolution)
    w = torch.randn(2, 4)
    plus = w[:, None].expand(-1, styles, -1)
    assert torch.equal(net.synthesize(w, noise="const"), net.synthesize(plus, noise="const"))
    assert discriminator(images).shape == (2, 1)
    sizes = [tuple(x.shape[2:]) for x in discriminator.features(images)]
    assert sizes == [(resolution >> k, resolution >> k) for k in range(1, styles // 2)]


def test_every_style_has_its_layers():
    net = randomised(Generator(TINY))
    ws = normal(1, 8, 4)
    image = net.synthesize(ws, noise="const")
    for k in range(8):
        changed = ws.clone()
        changed[:, k] += 1
        assert not torch.allclose(net.synthesize(changed, noise="const"), image)


def test_config_f():
    assert config_f_channels(1024) == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert config_f_channels(256, 16384) == (512, 512, 512, 512, 256, 128, 64)
    assert GanConfig(resolution=256).style_count == 14 and GanConfig(resolution=1024).style_count == 18
    with torch.device("meta"):
        net = Generator(GanConfig(resolution=64))
    assert sum(p.numel() for p in net.mapping.parameters()) == 8 * (512 * 512 + 512) + 512
    modulation = 512 * 512 + 512
    convolutions = 9 * (512 * 512 * 9 + modulation + 512 + 1)
    to_rgb = 5 * (512 * 3 + modulation + 3)
    assert sum(p.numel() for p in net.synthesis.parameters()) == 512 * 16 + convolutions + to_rgb


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 48}, "resolution 48 is not a power of two from 32 to 1024"),
        ({"resolution": 2048}, "resolution 2048 is not a power of two"),
        ({"resolution": 64, "channels": (8, 8, 8)}, "must be 5 numbers from 1 to 4096"),
        ({"resolution": 32, "channels": (8, 8, 8, 0)}, "must be 4 numbers from 1 to 4096"),
        ({"mapping_layers": 0}, "mapping_layers"),
        ({"depth": 8}, "depth"),
    ],
)
def test_configuration_mistakes(fields, message):
    with pytest.raises(ValueError, match=message):
        GanConfig(**fields)


def test_shape_mistakes():
    net, discriminator = Generator(TINY), Discriminator(TINY)
    with pytest.raises(ValueError, match=r"z has shape \(2, 4\), expected \[B, 5\]"):
        net.map(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"w has shape \(2, 7, 4\), expected \[B, 4\] or \[B, 8, 4\]"):
        net.synthesize(torch.zeros(2, 7, 4))
    with pytest.raises(ValueError, match=r"images have shape \(2, 3, 64, 64\), expected \[B,3,32,32\]"):
        discriminator(torch.zeros(2, 3, 64, 64))


def test_conditional_generator_by_loops():
    net = randomised(Generator(TINY.model_copy(update={"class_count": 3})))
    z, labels = normal(4, 5), torch.tensor([0, 2, 1, 2])
    for sample, label, w in zip(z.numpy(), labels, net.map(z, labels).detach().numpy()):
        embedded = dense(net.mapping.embed, np.eye(3)[label])
        parts = (part / math.sqrt((part**2).mean() + 1e-8) for part in (sample, embedded))
        x = np.concatenate(list(parts))
        for layer in net.mapping.layers:
            x = leaky(dense(layer, x, lr_mul=0.01))
        np.testing.assert_allclose(w, x + net.mapping.w_shift.detach().numpy(), rtol=1e-9)
    assert torch.equal(net.map(z, labels), net.map(z, torch.eye(3)[labels]))


def test_conditional_discriminator_by_loops():
    net = Discriminator(TINY.model_copy(update={"class_count": 3, "cmap_dim": 6, "discriminator_mapping_layers": 2}))
    net = randomised(net)
    net.mapping.w_shift.data.zero_()
    images, labels = normal(3, 3, 32, 32), (0, 2, 1)
    expected = discriminate(net, images.numpy(), labels)
    np.testing.assert_allclose(net(images, torch.tensor(labels)).detach().numpy()[:, 0], expected, rtol=1e-8)


def test_class_mistakes():
    net = Generator(TINY.model_copy(update={"class_count": 3}))
    with pytest.raises(ValueError, match="class-conditional: give labels, integers from 0 to 2"):
        net.map(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"class \[3\] is outside 0 to 2"):
        net.map(torch.zeros(1, 5), torch.tensor([3]))
    with pytest.raises(ValueError, match="labels have 4 classes, the model 3"):
        net.map(torch.zeros(1, 5), torch.zeros(1, 4))


def test_mean_w():
    net = small_model(SMALL).generator
    z = torch.randn(4096, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net.mean_w(), net.map(z).mean(dim=0))
    assert torch.equal(net.mean_w(), net.mean_w())
    assert small_model(SMALL.model_copy(update={"class_count": 5})).generator.mean_w().shape == (16,)
