"""The warm-up of pretraining: which pictures random z stand for, and that the generator learns to reproduce them."""

import math

import pytest
import torch
from tiny import same_weights

from gansketching_core.training import pretrain
from gansketching_core.training.backgrounds import colours_of, recoloured
from gansketching_core.training.picture_codes import PictureCodes, reconstruction_losses
from gansketching_core.training.placement import PlacementConfig
from gansketching_core.training.pretrain import PretrainConfig, Pretrainer


def quick(**changes) -> PretrainConfig:
    small = {"resolution": 32, "latent_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    return PretrainConfig(**small | {"images": 80, "batch": 4} | changes)


def bars(count: int = 6) -> torch.Tensor:
    """Black bars at different heights, left of the middle: uint8 [count,3,64,64]."""
    pictures = torch.full((count, 3, 64, 64), 255, dtype=torch.uint8)
    for k in range(count):
        pictures[k, :, 8 * k : 8 * k + 12, :32] = 0
    return pictures


def codes_of(pictures: torch.Tensor, backgrounds: torch.Tensor | None = None, mirror: bool = False) -> PictureCodes:
    ws = torch.randn(100, 24, generator=torch.Generator().manual_seed(1)) * 3 + 2
    return PictureCodes(pictures, backgrounds, ws, mirror=mirror)


def test_a_z_along_the_components_of_a_picture_chooses_it():
    codes = codes_of(bars(), mirror=True)
    z = torch.zeros(12, 24)
    z[:, :4] = 3 * codes.choices["picture"].anchors
    w, images, weights = codes.chosen(z, 32)
    expected = torch.nn.functional.avg_pool2d(bars().float() / 127.5 - 1, 2)
    torch.testing.assert_close(images, torch.cat([expected, expected.flip(3)]))
    assert torch.equal(weights, torch.ones(12, 1, 32, 32))
    assert len({tuple(row.tolist()) for row in w.detach()}) == 12


def test_first_codes_are_spread_as_w_is_and_blends_lie_between_them():
    codes = codes_of(bars())
    z = torch.randn(500, 24, generator=torch.Generator().manual_seed(0))
    w, blended = codes.chosen(z, 32)[0].detach(), codes.blended(z).detach()
    assert w.mean() == pytest.approx(2, abs=1) and w.std(dim=0).mean() == pytest.approx(3 * 0.8, rel=0.5)
    assert (blended <= w.amax(dim=0) + 1e-4).all() and (blended >= w.amin(dim=0) - 1e-4).all()
    assert blended.std() < w.std()


def cut_out_bars() -> torch.Tensor:
    """White bars, all of the same place and shape but for their numbers of pixels: uint8 [6,4,64,64]."""
    cut_outs = torch.cat([bars(), torch.zeros(6, 1, 64, 64, dtype=torch.uint8)], dim=1)
    cut_outs[:, 3, :, :32] = 255
    return cut_outs


def test_cut_outs_stand_before_the_background_that_the_next_numbers_choose():
    backgrounds = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    backgrounds[0, 0], backgrounds[1, 1] = 255, 255  # red, green
    codes = codes_of(cut_out_bars(), backgrounds)
    pictures, behind = codes.choices["picture"].anchors, codes.choices["background"].anchors
    z = torch.zeros(2, 24)
    z[:, : pictures.shape[1]] = pictures[:1]
    z[:, pictures.shape[1] : pictures.shape[1] + behind.shape[1]] = behind
    w, images, weights = codes.chosen(z, 32)
    torch.testing.assert_close(images[:, :, 20, 10], torch.full((2, 3), 1.0))  # the white of the thing
    torch.testing.assert_close(images[:, :, 20, 20], torch.tensor([[1.0, -1, -1], [-1, 1, -1]]))
    assert weights[0, 0, 20, 10] == 4 and weights[0, 0, 20, 20] == 1
    assert not torch.equal(w[0], w[1])


def test_things_take_the_colours_that_numbers_of_their_own_choose():
    backgrounds = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    backgrounds[1] = 255
    cut_outs = cut_out_bars()
    for k in range(6):  # of different shapes too
        cut_outs[k, 3, :, : 4 * k] = 0
    colours = torch.tensor([[[0.9, 0.1, 0.1], [0.0, 0, 0]], [[0.1, 0.1, 0.9], [0.0, 0, 0]]])  # red and blue, plain
    codes = PictureCodes(cut_outs, backgrounds, torch.randn(100, 24), mirror=False, colours=colours)
    z = torch.randn(200, 24, generator=torch.Generator().manual_seed(0))
    w, images, _ = codes.chosen(z, 32)
    of_things = images[:, :, 20, 13]  # within all of them
    red = of_things[:, 0] > of_things[:, 2]
    torch.testing.assert_close(of_things[red], (colours[0, 0] * 2 - 1).expand(int(red.sum()), 3))
    torch.testing.assert_close(of_things[~red], (colours[1, 0] * 2 - 1).expand(int((~red).sum()), 3))
    assert 50 < red.sum() < 150
    other = z.clone()
    first = codes.choices["picture"].end
    other[:, first : codes.choices["colours"].end] *= -1  # nothing but the colours changes
    changed, recoloured, _ = codes.chosen(other, 32)
    assert torch.equal(images[:, :, :, 20:], recoloured[:, :, :, 20:])
    assert not torch.equal(of_things, recoloured[:, :, 20, 13]) and not torch.equal(w, changed)


def test_a_thing_keeps_its_own_colours_and_takes_those_of_another():
    rng = torch.Generator().manual_seed(0)
    rgb, alpha = torch.rand(2, 3, 16, 16, generator=rng), (torch.rand(2, 1, 16, 16, generator=rng) > 0.4).float()
    own = colours_of(torch.cat([rgb, alpha], dim=1).mul(255).round().to(torch.uint8))
    covered = rgb[1].double()[:, alpha[1, 0] > 0]
    torch.testing.assert_close(own[1, 0].double(), covered.mean(dim=1), atol=1e-3, rtol=0)
    torch.testing.assert_close(own[1, 1].double(), covered.std(dim=1, correction=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(recoloured(rgb, alpha, own), rgb, atol=5e-3, rtol=0)
    wanted = torch.tensor([[[0.5, 0.4, 0.3], [0.1, 0.1, 0.05]]]).expand(2, -1, -1)  # in range: nothing is clipped
    ours = recoloured(rgb, alpha, wanted)[0].double()[:, alpha[0, 0] > 0]
    torch.testing.assert_close(ours.mean(dim=1).float(), wanted[0, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.std(dim=1, correction=0).float(), wanted[0, 1], atol=1e-4, rtol=0)


def test_recolouring_needs_backgrounds():
    with pytest.raises(ValueError, match="there are no backgrounds"):
        Pretrainer(bars(), quick(), placement=PlacementConfig(recolour=True))


def test_losses_are_zero_for_the_picture_itself_only():
    wanted = torch.rand(2, 3, 16, 16) * 2 - 1
    pyramid = lambda x: [x, x[:, :, ::2, ::2]]  # noqa: E731
    exact = reconstruction_losses(wanted, wanted, torch.ones(2, 1, 16, 16), pyramid)
    wrong = reconstruction_losses(torch.zeros_like(wanted), wanted, torch.ones(2, 1, 16, 16), pyramid)
    assert exact == {"pixels": 0, "features": 0}
    assert float(wrong["pixels"]) == pytest.approx(4 * float(wanted.abs().mean()), rel=1e-5)
    assert float(wrong["features"]) == pytest.approx(2, rel=1e-5)


def test_the_generator_reproduces_the_pictures_for_random_z():
    config = quick(images=400, warm_up_images=960, batch=8, learning_rate=0.01, path_weight=0, ema_images=80)
    trainer = Pretrainer(bars(), config, placement=PlacementConfig(flip=False))
    assert trainer.steps_total == 120 + 50

    def error() -> float:
        """Mean difference of samples of random z from the nearest picture."""
        model = trainer.result()
        z = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
        images = model.generator.synthesize(model.generator.map(z), noise="none")
        wanted = torch.nn.functional.avg_pool2d(bars().float() / 127.5 - 1, 2)
        return float((images[:, None] - wanted[None]).abs().mean(dim=(2, 3, 4)).amin(dim=1).mean())

    before = error()
    reports = [trainer.step() for _ in range(120)]
    assert set(reports[0].losses) == {"pixels", "codes"}
    assert all(math.isfinite(value) for report in reports for value in report.losses.values())
    assert error() < 0.5 * before
    assert set(trainer.step().losses) >= {"G", "D fake", "D real", "pixels"}


def test_the_pictures_are_not_forgotten_in_the_adversarial_training():
    """With nothing remembered the images of the codes soon differ from the pictures."""
    errors = {}
    for remember in (0.0, 0.5):
        config = quick(images=4000, warm_up_images=640, batch=8, learning_rate=0.01, path_weight=0, remember=remember)
        trainer = Pretrainer(bars(), config, placement=PlacementConfig(flip=False))
        while trainer.steps_done < 80 + 40:
            trainer.step()
        with torch.no_grad():
            z = torch.randn(16, 8, generator=torch.Generator().manual_seed(2))
            w, wanted, _ = trainer.codes.chosen(z, 32)
            errors[remember] = float((trainer.generator.synthesize(w, noise="none") - wanted).abs().mean())
    assert errors[0.5] < 0.6 * errors[0.0]


def test_resuming_is_exact_in_the_warm_up_and_at_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "FIT_LATENTS", 2)
    config = quick(warm_up_images=12)
    whole, first, second = (Pretrainer(bars(), config) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(2):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        second.step()
    assert same_weights(whole.result(), second.result())
