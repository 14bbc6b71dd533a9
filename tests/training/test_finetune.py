"""The fine-tuner: what is trained and what is not, every option, exact resuming, errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from tiny import same_weights, some_sketches, tiny_model

from gansketching_core import random_streams
from gansketching_core.datasets import ImageSet
from gansketching_core.latents.mean_shift import shift_towards
from gansketching_core.networks.line_extractor import LineExtractor
from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.sketches import distance
from gansketching_core.sketches.distance import SketchDistance
from gansketching_core.training.finetune import SketchFinetuner
from gansketching_core.training.finetune_config import FinetuneConfig


def quick(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"steps": 3, "batch": 4, "r1_every": 2, "warm_start": 0, "precision": "float32"} | changes)


def trained(config, model=None, steps=3, **inputs):
    finetuner = SketchFinetuner(model or tiny_model(), some_sketches(), LineExtractor(), config, **inputs)
    reports = [finetuner.step() for _ in range(steps)]
    return finetuner, reports


def changed(before, after):
    return {name for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}


def test_the_whole_mapping_network_is_trained_and_nothing_else():
    model = tiny_model()
    pristine = {name: value.clone() for name, value in model.generator.state_dict().items()}
    finetuner, reports = trained(quick(), model)
    trained_names = changed(model.generator, finetuner.result().generator)
    assert trained_names == {f"mapping.layers.{k}.{kind}" for k in range(2) for kind in ("weight", "bias")}
    assert all(torch.equal(value, pristine[name]) for name, value in model.generator.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in finetuner.generator.synthesis.parameters())
    assert [r.step for r in reports] == [0, 1, 2] and all(r.seconds > 0 for r in reports)


def test_w_shift_alone_is_trained():
    model = tiny_model()
    finetuner, _ = trained(quick(trainable="w_shift"), model)
    result = finetuner.result()
    assert changed(model.generator, result.generator) == {"mapping.w_shift"}
    z = torch.randn(4, 8)
    shift = result.generator.mapping.w_shift
    torch.testing.assert_close(result.generator.map(z), model.generator.map(z) + shift)


def test_losses_of_a_step():
    _, reports = trained(quick())
    always = {f"{who} {what}" for who in ("D sketch", "D image") for what in ("fake", "real")}
    always |= {"G sketch", "G image", "sketch distance"}
    r1 = {"R1 sketch", "R1 image"}
    assert [set(r.losses) for r in reports] == [always | r1, always, always | r1]  # every second step
    assert all(math.isfinite(v) for r in reports for v in r.losses.values())


def test_first_losses_are_the_formula():
    """At step 0 no weight has changed: the losses are those of the pretrained discriminator on the same images."""
    model, seen = tiny_model(), {}
    finetuner = SketchFinetuner(model, some_sketches(1), LineExtractor(), quick(augmentation="", ema=0))
    finetuner._discriminators["sketch"].register_forward_hook(
        lambda _module, inputs, output: seen.setdefault("calls", []).append((inputs[0].detach(), output.detach()))
    )
    losses = finetuner.step().losses
    (fake, fake_logits), (real, real_logits) = seen["calls"][:2]
    torch.testing.assert_close(real, some_sketches(1).expand(4, 3, -1, -1))  # 1 channel repeated to 3
    torch.testing.assert_close(fake[:, 0], fake[:, 2])
    assert losses["D sketch fake"] == pytest.approx(float(F.softplus(fake_logits).mean()))
    assert losses["D sketch real"] == pytest.approx(float(F.softplus(-real_logits).mean()))
    torch.testing.assert_close(model.discriminator(fake), fake_logits)


@pytest.mark.parametrize("kind", ["softplus", "least_squares", "hinge", "wasserstein", "original"])
def test_every_loss_trains(kind):
    finetuner, _ = trained(quick(loss=kind), steps=1)
    assert changed(tiny_model().generator, finetuner.result().generator)


def test_regularisation_by_images_needs_and_uses_them():
    with pytest.raises(ValueError, match='regularisation "images" needs images'):
        trained(quick(regularisation="images"))
    with_images, _ = trained(quick(), images=ImageSet(torch.rand(5, 32, 32, 3), 32))
    assert with_images.regularisation == "images"
    without, _ = trained(quick())
    assert without.regularisation == "generator"
    assert not same_weights(with_images.result(), without.result())


def test_regularisation_by_weights_and_none():
    _, reports = trained(quick(regularisation="weights"))
    assert "weights" in reports[-1].losses and "G image" not in reports[-1].losses
    free, reports = trained(quick(regularisation="none", distance_weight=0))
    assert set(reports[1].losses) == {"D sketch fake", "D sketch real", "G sketch"}
    original = tiny_model().generator.mapping.layers[1].weight

    def distance(finetuner):
        return float((finetuner.trainable["layers.1.weight"].detach() - original).abs().mean())

    strong, _ = trained(quick(regularisation="weights", weight_penalty=1e5))
    assert distance(strong) < distance(free)


def test_the_sketch_distance_pulls_every_image_to_its_nearest_sketch():
    """The loss is the mean over the batch of the distance to the nearest of the sketches; with it they come nearer."""
    options = {"regularisation": "none", "batch": 8, "learning_rate": 1.0, "ema": 0, "style_mixing": 0.0}
    ends = []
    for weight in (0, 3000):
        finetuner, reports = trained(quick(distance_weight=weight, **options), steps=40)
        assert ("sketch distance" in reports[0].losses) == bool(weight)
        model = finetuner.result()
        images = model.generator.synthesize(
            model.generator.map(torch.randn(64, 8, generator=random_streams.stream(1, "phase")))
        )
        ends.append(float(finetuner._sketch_distance(LineExtractor()(images))))
    assert ends[1] < 0.95 * ends[0]
    drawings = torch.cat([some_sketches(), some_sketches().roll(2, dims=3)])
    nearest = [min(float(SketchDistance(sketch).distance(one)) for sketch in some_sketches()) for one in drawings]
    assert float(finetuner._sketch_distance(drawings)) == pytest.approx(sum(nearest) / 6, rel=1e-4)


def test_the_sketch_distance_takes_any_number_of_sketches_also_faint_ones(monkeypatch):
    sketches = torch.cat([some_sketches(), some_sketches().roll(4, dims=2)])
    limit = 3 * SketchDistance(sketches[0]).nbytes
    monkeypatch.setattr("gansketching_core.training.finetune.DISTANCES_BYTES", limit)
    finetuner = SketchFinetuner(tiny_model(), sketches, LineExtractor(), quick())
    assert float(finetuner._sketch_distance(sketches)) == pytest.approx(
        sum(float(SketchDistance(one).distance(one)) for one in sketches) / 6, rel=1e-4
    )
    assert 0.3 * limit < sum(distance.nbytes for distance in finetuner._distances.values()) <= limit
    faint = 0.6 + 0.4 * some_sketches(1)  # nowhere darker than the threshold of ink
    assert math.isfinite(
        SketchFinetuner(tiny_model(), faint, LineExtractor(), quick()).step().losses["sketch distance"]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"share_fakes": False},
        {"sketch_discriminator": "scratch"},
        {"style_mixing": 0.0},
        {"augmentation": "color,cutout"},
        {"ema": 0.0},
        {"seed": 1},
        {"precision": "bfloat16"},
        {"sketch_scale": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_options_change_the_run(change):
    results = []
    for options in ({}, change):
        model = tiny_model(resolution=64, channels=(8, 8, 8, 4, 4))  # a sketcher needs 32 px, also at half the size
        finetuner = SketchFinetuner(model, some_sketches(size=64), LineExtractor(), quick(**options))
        finetuner.step()
        results.append(finetuner.result())
    assert not same_weights(*results)


def test_batch_statistics_reach_the_sketcher():
    sketcher = PhotoSketch(width=4, blocks=1).eval()
    for yes in (True, False):
        finetuner = SketchFinetuner(
            tiny_model(), some_sketches(), sketcher, quick(batch_statistics=yes, precision="float32")
        )
        assert finetuner.photosketch.batch_statistics is yes
        finetuner.step()
    assert sketcher.batch_statistics is False  # the caller's network is left alone


def test_class_conditional_models():
    model = tiny_model(class_count=3)
    finetuner, _ = trained(quick(class_index=2), model, steps=2)
    assert changed(model.generator, finetuner.result().generator)
    with pytest.raises(ValueError, match="class_index 3 is outside 0 to 2"):
        trained(quick(class_index=3), model)


def test_works_inside_inference_mode():
    with torch.inference_mode():
        model = tiny_model()
        inside, _ = trained(quick(), model)
    outside, _ = trained(quick())
    assert same_weights(inside.result(), outside.result())
    assert not inside.result().generator.mapping.layers[0].weight.is_inference()


@pytest.mark.parametrize("share_fakes", [True, False])
def test_resuming_is_exact_wherever_it_stops(share_fakes, tmp_path):
    config = quick(share_fakes=share_fakes, steps=4)
    whole, _ = trained(config, steps=4)
    polls = 0
    for stop_at in (1, 9, 30, 55, 80, 120):
        finetuner = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
        polls = 0

        def poll(stop_at=stop_at):
            nonlocal polls
            polls += 1
            if polls == stop_at:
                raise InterruptedError

        finetuner.poll = poll
        with pytest.raises(InterruptedError):
            while finetuner.steps_done < 4:
                finetuner.step()
        torch.save(finetuner.state_dict(), tmp_path / "state.pt")
        later = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
        later.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        while later.steps_done < 4:
            later.step()
        assert same_weights(whole.result(), later.result()), f"stopped at poll {stop_at}"


@pytest.mark.parametrize("share_fakes", [True, False])
def test_the_same_finetuner_goes_on_wherever_poll_raises(share_fakes):
    """What an interrupted phase leaves (gradients, a freed graph, a frozen discriminator) has no effect."""
    config = quick(share_fakes=share_fakes)
    whole, _ = trained(config, steps=2)
    finetuner = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
    polls = 0
    pause = 0

    def poll():
        nonlocal polls, pause
        polls += 1
        if polls == pause:
            raise InterruptedError

    finetuner.poll = poll
    interruptions = 0
    while finetuner.steps_done < 2:
        pause = polls + (7, 19, 31, 43, 1000)[interruptions % 5]
        try:
            finetuner.step()
        except InterruptedError:
            interruptions += 1
    assert interruptions >= 4
    assert same_weights(whole.result(), finetuner.result())
    for name, discriminator in whole._discriminators.items():
        again = finetuner._discriminators[name].state_dict()
        assert all(torch.equal(value, again[key]) for key, value in discriminator.state_dict().items())


def test_a_resumed_run_is_held_to_the_weights_of_its_warm_start():
    config = quick(regularisation="weights", warm_start=1.0, weight_penalty=1e3)
    whole, _ = trained(config, steps=3)
    first, _ = trained(config, steps=1)
    later = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), config)
    later.load_state_dict(first.state_dict())
    for _ in range(2):
        later.step()
    assert same_weights(whole.result(), later.result())


def test_initial_weights_leave_all_global_generators_alone(monkeypatch):
    model = tiny_model()
    config = quick(sketch_discriminator="scratch", seed=5)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPUs were seeded"))
    before = torch.random.get_rng_state()
    finetuner = SketchFinetuner(model, some_sketches(), LineExtractor(), config)
    assert torch.equal(before, torch.random.get_rng_state())
    again = SketchFinetuner(model, some_sketches(), LineExtractor(), config)
    first, second = (f._discriminators["sketch"].out.weight for f in (finetuner, again))
    assert torch.equal(first, second)


def test_distance_maps_of_the_sketches_are_computed_once(monkeypatch):
    maps = 0
    original = distance.distance_transform_edt

    def count(*args, **options):
        nonlocal maps
        maps += 1
        return original(*args, **options)

    monkeypatch.setattr(distance, "distance_transform_edt", count)
    finetuner = SketchFinetuner(tiny_model(), some_sketches(9), LineExtractor(), quick())
    assert maps == 9
    maps = 0
    finetuner.step()
    assert maps <= 4  # one for each drawing of the batch


def test_going_on_with_other_options_is_refused():
    finetuner, _ = trained(quick(), steps=1)
    other = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), quick(learning_rate=0.5))
    with pytest.raises(ValueError, match=r"the saved run has learning_rate 0\.02, this one 0\.5"):
        other.load_state_dict(finetuner.state_dict())


def test_nan_stops_and_leaves_the_weights_good():
    finetuner, _ = trained(quick(), steps=1)
    good = {name: p.detach().clone() for name, p in finetuner.trainable.items()}
    with torch.no_grad():
        finetuner._discriminators["sketch"].out.weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"not finite in step 1.*lower learning rate"):
        finetuner.step()
    assert all(torch.equal(good[name], p) for name, p in finetuner.trainable.items())


@pytest.mark.parametrize(
    ("sketches", "message"),
    [
        (torch.zeros(2, 1, 64, 64), r"\(2, 1, 64, 64\), expected \[N,1,32,32\]"),
        (torch.zeros(0, 1, 32, 32), r"\(0, 1, 32, 32\)"),
        (torch.full((1, 1, 32, 32), math.nan), "finite numbers"),
        (torch.full((1, 1, 32, 32), 255.0), "from -1 .* to 1"),
    ],
)
def test_bad_sketches_are_refused(sketches, message):
    with pytest.raises(ValueError, match=message):
        SketchFinetuner(tiny_model(), sketches, LineExtractor(), quick())


def test_presets():
    paper = FinetuneConfig.preset("paper")
    assert (paper.learning_rate, paper.batch, paper.image_weight, paper.r1_gamma) == (0.002, 4, 0.7, 10)
    assert (paper.ema, paper.style_mixing, paper.r1_every, paper.batch_statistics) == (0, 0.9, 16, True)
    assert FinetuneConfig.preset("fast", steps=7) == FinetuneConfig(steps=7)
    with pytest.raises(ValueError, match='"quick" is unknown; use one of fast, paper'):
        FinetuneConfig.preset("quick")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        FinetuneConfig(steps=0)
    with pytest.raises(ValueError, match='augmentation "zoom" is unknown'):
        trained(quick(augmentation="zoom"))


def test_warm_start_shifts_w_towards_the_sketches():
    model = tiny_model()
    cold, _ = trained(quick(warm_start=0), model, steps=1)
    assert not cold.result().generator.mapping.w_shift.any()
    half, reports = trained(quick(warm_start=0.5, warm_spread=1.0), model, steps=2)
    whole, _ = trained(quick(warm_start=1.0, warm_spread=1.0), model, steps=1)
    shift = shift_towards(model, some_sketches(), LineExtractor(), pool=512, nearest=16, per_sketch=True, batch=4)
    torch.testing.assert_close(whole.generator.mapping.w_shift, shift.generator.mapping.w_shift)
    torch.testing.assert_close(half.generator.mapping.w_shift * 2, whole.generator.mapping.w_shift)
    assert "warm start" in reports[0].timings and "warm start" not in reports[1].timings
    assert torch.equal(half.result().generator.mapping.w_shift, half.generator.mapping.w_shift)
    assert torch.equal(half.original_mapping.w_shift, torch.zeros(8))  # the image term still looks at the original


def test_the_warm_start_reduces_the_spread_of_w():
    model, z = tiny_model(), torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    finetuner = SketchFinetuner(model, some_sketches(), LineExtractor(), quick(warm_start=1.0, warm_spread=0.4))
    finetuner._warm_start(torch.Generator())
    before, after = model.generator.mapping(z), finetuner.generator.mapping(z)
    torch.testing.assert_close(after - after.mean(0), 0.4 * (before - before.mean(0)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(finetuner.result().generator.mapping(z), after)  # also in the average
    alone, _ = trained(quick(trainable="w_shift", warm_start=1.0, warm_spread=0.4), model, steps=1)
    shift = alone.result().generator.mapping(z) - before
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), rtol=1e-4, atol=1e-5)  # a shift and nothing else


def test_resuming_after_a_warm_start_is_exact():
    whole, _ = trained(quick(warm_start=1.0), steps=2)
    first, _ = trained(quick(warm_start=1.0), steps=1)
    later = SketchFinetuner(tiny_model(), some_sketches(), LineExtractor(), quick(warm_start=1.0))
    later.load_state_dict(first.state_dict())
    assert "warm start" not in later.step().timings
    assert same_weights(whole.result(), later.result())
