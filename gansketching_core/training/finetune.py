"""Customising a generator with sketches: the method of "Sketch Your Own GAN" (Wang, Bau, Zhu, ICCV 2021).

    L = L_sketch(D_Y; y, F(G(z)))  +  image_weight * L_image(D_X; x, G(z))

Only the mapping network (or a shift of w) of the generator G is trained; F, the sketcher, is frozen. D_Y compares
drawings of generated images with the user's sketches, D_X keeps the images realistic. This module only trains: the
caller owns the loop, and with it progress, previews, files and cancelling (see `finetune_run.py`).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..latents.mean_shift import shift_towards
from ..networks.precision import full_precision, has_fast_bfloat16
from ..networks.stylegan2 import Discriminator, EqualConv, GanModel, Generator, StyledConv
from ..random_streams import stream
from ..sketches.distance import SketchDistance, chamfer
from .diffaugment import augment, parse_policy
from .finetune_config import FinetuneConfig
from .losses import fake_loss, generator_loss, r1_penalty, real_loss, weight_penalty

DISTANCE_SIDE, DISTANCES_KEPT = 64, 64  # px at which lines are compared; sketches whose distances are kept


@dataclass
class StepReport:
    """What one step did: its number from 0, the mean losses, and seconds in all and by phase."""

    step: int
    losses: dict[str, float]
    seconds: float
    timings: dict[str, float] = field(default_factory=dict)


class SketchFinetuner:
    """Fine-tunes a copy of `model` so that drawings of its images look like `sketches`.

    model: a GanModel with its discriminator (without one, D_X and D_Y start from random weights); never changed.
    sketches: [N,1,R,R] in -1..1, white paper = +1, R = the model's resolution (see images.prepare_sketches).
    photosketch: photo [B,3,H,W] -> drawing [B,1,H,W], frozen. images: an ImageSet at the model's resolution, for
    regularisation by a data set. device: where to work; the model's own by default.

    Equal inputs, options and seed give equal weights on the same CPU, also when the run is stopped at any point and
    goes on from `state_dict()`: every random number of step k comes from a stream of (seed, k).
    """

    def __init__(
        self,
        model: GanModel,
        sketches: Tensor,
        photosketch: nn.Module,
        config: FinetuneConfig | None = None,
        *,
        images=None,
        device: torch.device | str | None = None,
    ):
        self.model, self.config = model, config or FinetuneConfig()
        self.poll: Callable[[], None] = lambda: None
        self.steps_done = self.phases_done = 0
        self._check(sketches, images)
        self.regularisation = self._choose_regularisation(images)
        self.device = torch.device(device) if device is not None else model.w_mean.device
        with torch.inference_mode(False), torch.enable_grad():
            self._build(sketches, photosketch, images)
        self._poll_inside(self.generator, self.photosketch, *self._discriminators.values())

    def _check(self, sketches: Tensor, images) -> None:
        size, classes = self.model.config.resolution, self.model.config.class_count
        if sketches.ndim != 4 or len(sketches) < 1 or sketches.shape[1:] != (1, size, size):
            raise ValueError(f"sketches have shape {tuple(sketches.shape)}, expected [N,1,{size},{size}]")
        if not torch.isfinite(sketches).all() or sketches.abs().max() > 1.001:
            raise ValueError("sketches must be finite numbers from -1 (ink) to 1 (paper); use images.prepare_sketches")
        if classes and self.config.class_index >= classes:
            raise ValueError(f"class_index {self.config.class_index} is outside 0 to {classes - 1}")
        if self.config.regularisation == "images" and images is None:
            raise ValueError('regularisation "images" needs images; give some, or choose "generator"')
        parse_policy(self.config.augmentation)

    def _choose_regularisation(self, images) -> str:
        chosen = self.config.regularisation
        if chosen == "auto":
            chosen = "images" if images is not None else "generator"
        return "none" if chosen in ("images", "generator") and self.config.image_weight == 0 else chosen

    def _build(self, sketches: Tensor, photosketch: nn.Module, images) -> None:
        config, model, device = self.config, self.model, self.device
        self.sketches, self.images = sketches.detach().clone().float().to(device), images
        self._distances: dict[int, SketchDistance] = {}
        self.photosketch = copy.deepcopy(photosketch).to(device).eval().requires_grad_(False)
        if hasattr(self.photosketch, "batch_statistics"):
            self.photosketch.batch_statistics = config.batch_statistics
        self.generator = _copy(model.generator, device)
        self.original_mapping = copy.deepcopy(self.generator.mapping)
        mapping = self.generator.mapping
        self.trainable = (
            {"w_shift": mapping.w_shift} if config.trainable == "w_shift" else dict(mapping.named_parameters())
        )
        if config.trainable == "mapping":
            del self.trainable["w_shift"]
        for parameter in self.trainable.values():
            parameter.requires_grad_(True)
        self.average = {name: p.detach().clone() for name, p in self.trainable.items()}
        self._originals = [p.detach().clone() for p in self.trainable.values()]
        self.optimizer = torch.optim.Adam(self.trainable.values(), lr=config.learning_rate, betas=(0.0, 0.99))
        self._discriminators: dict[str, nn.Module] = {"sketch": self._discriminator(config.sketch_discriminator)}
        if self.regularisation in ("images", "generator"):
            self._discriminators["image"] = self._discriminator("pretrained")
        ratio = config.r1_every / (config.r1_every + 1) if config.r1_gamma else 1.0
        rate, beta2 = config.discriminator_learning_rate * ratio, 0.99**ratio
        self._optimizers = {
            name: torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=rate, betas=(0.0, beta2))
            for name, network in self._discriminators.items()
        }
        self._fakes: tuple[str, Tensor, Tensor] | None = None  # (random stream, images, drawings) of the current step
        bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and has_fast_bfloat16(device))
        self._dtype = torch.bfloat16 if bfloat16 else None

    def _discriminator(self, start: str) -> Discriminator:
        if start == "pretrained" and self.model.discriminator is not None:
            network = _copy(self.model.discriminator, self.device)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.config.seed)
                network = Discriminator(self.model.config).to(self.device)
        _trainable(network, True)
        return network

    def _poll_inside(self, *networks: nn.Module) -> None:
        """Call `poll` before and after every larger layer, forwards and backwards, so that cancelling is prompt."""

        def hook(_module, _inputs, output):
            self.poll()
            if output.requires_grad:
                output.register_hook(lambda _gradient: self.poll())

        for network in networks:
            for module in network.modules():
                if isinstance(module, (StyledConv, EqualConv, nn.Conv2d, nn.ConvTranspose2d)):
                    module.register_forward_hook(hook)

    # -------------------------------------------------------------------------------------------------------- a step

    def step(self) -> StepReport:
        """One training step: both discriminators, every `r1_every` steps their R1, then the mapping network.

        `poll` may raise at any time to stop; what was finished of the step is kept and the next call goes on there.
        Raises FloatingPointError, before any weight is touched, when a loss or gradient is not finite.
        """
        started, losses, timings = time.perf_counter(), {}, {}
        with torch.inference_mode(False), torch.enable_grad():
            phases = self._phases()
            for number in range(self.phases_done, len(phases)):
                name, run = phases[number]
                self.poll()
                begun = time.perf_counter()
                with torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
                    losses.update(run(stream(self.config.seed, "phase", self.steps_done, number)))
                timings[name] = time.perf_counter() - begun
                self.phases_done += 1
        self._fakes = None
        self.steps_done, self.phases_done = self.steps_done + 1, 0
        values = {name: float(value) for name, value in losses.items()}
        return StepReport(self.steps_done - 1, values, time.perf_counter() - started, timings)

    def _phases(self) -> list[tuple[str, Callable[[torch.Generator], dict[str, Tensor]]]]:
        """The parts of a step in order. Each ends with one optimiser update; their number in the list seeds them."""
        names = list(self._discriminators)
        phases = [("warm start", self._warm_start)] if self.config.warm_start and self.steps_done == 0 else []
        phases += [(f"D {n}", lambda rng, n=n: self._update_discriminator(n, rng)) for n in names]
        if self.config.r1_gamma and self.steps_done % self.config.r1_every == 0:
            phases += [(f"R1 {n}", lambda rng, n=n: self._update_r1(n, rng)) for n in names]
        return [*phases, ("G", self._update_generator)]

    def _warm_start(self, _draw: torch.Generator) -> dict[str, Tensor]:
        """Move all w towards the samples, of a few hundred, whose drawings are nearest to each sketch."""
        small = self.model.config.resolution <= 128
        with torch.no_grad():
            shifted = shift_towards(
                replace(self.model, generator=self.generator, w_mean=self.model.w_mean.to(self.device)),
                self.sketches,
                self._draw,
                pool=512 if small else 128,
                nearest=16 if small else 8,
                per_sketch=True,
                strength=self.config.warm_start,
                spread=self.config.warm_spread if self.config.trainable == "mapping" else 1.0,
                seed=self.config.seed,
                label=self.config.class_index if self.model.config.class_count else None,
                batch=self.config.batch,
                on_batch=lambda *_: self.poll(),
            )
            self.generator.mapping.load_state_dict(shifted.generator.mapping.state_dict())
            for (name, parameter), original in zip(self.trainable.items(), self._originals):
                self.average[name].copy_(parameter)
                original.copy_(parameter)
        return {}

    def _update_discriminator(self, name: str, rng: torch.Generator) -> dict[str, Tensor]:
        kind, weight = self.config.loss, self._weight(name)
        images, drawings = self._generate("shared images")
        fake = images if name == "image" else drawings
        real = self._real_images(rng) if name == "image" else self._real_sketches(rng)
        # One backward pass after each half: the gradients add up and only one graph is in memory at a time.
        on_fake = fake_loss(self._judge(name, fake.detach(), rng), kind)
        (on_fake * weight).backward()
        self.poll()
        on_real = real_loss(self._judge(name, real, rng), kind)
        (on_real * weight).backward()
        self._descend(self._optimizers[name], on_fake + on_real, f"D {name}")
        return {f"D {name} fake": on_fake.detach(), f"D {name} real": on_real.detach()}

    def _update_r1(self, name: str, rng: torch.Generator) -> dict[str, Tensor]:
        real = self._real_images(rng) if name == "image" else self._real_sketches(rng)
        real = real.detach().requires_grad_(True)
        penalty = r1_penalty(self._judge(name, real, rng), real)
        (penalty * (self.config.r1_gamma / 2 * self.config.r1_every * self._weight(name))).backward()
        self._descend(self._optimizers[name], penalty, f"R1 {name}")
        return {f"R1 {name}": penalty.detach()}

    def _update_generator(self, rng: torch.Generator) -> dict[str, Tensor]:
        images, drawings = self._generate(
            "shared images" if self.config.share_fakes else "generator's images", with_graph=True
        )
        # The gradient is first gathered at drawings and images, one discriminator at a time, then sent once through G:
        # only one discriminator's activations are in memory at a time.
        outputs = {"sketch": drawings, "image": images}
        leaves = {name: outputs[name].detach().requires_grad_(True) for name in self._discriminators}
        losses = {}
        for name, leaf in leaves.items():
            _trainable(self._discriminators[name], False)
            loss = generator_loss(self._judge(name, leaf, rng), self.config.loss)
            (loss * self._weight(name)).backward()
            _trainable(self._discriminators[name], True)
            losses[f"G {name}"] = loss.detach()
            self.poll()
        if self.config.distance_weight:
            loss = self._sketch_distance(leaves["sketch"])
            (loss * self.config.distance_weight).backward()
            losses["sketch distance"] = loss.detach()
        torch.autograd.backward([outputs[name] for name in leaves], [leaf.grad for leaf in leaves.values()])
        if self.regularisation == "weights":
            penalty = weight_penalty(list(self.trainable.values()), self._originals)
            (penalty * self.config.weight_penalty).backward()
            losses["weights"] = penalty.detach()
        self._descend(self.optimizer, sum(losses.values()), "G")
        self._update_average()
        return losses

    # ------------------------------------------------------------------------------------------------- parts of a step

    def _sketch_distance(self, drawings: Tensor) -> Tensor:
        """Mean distance, in image sides, of drawings [B,1,R,R] to the sketch that each is nearest to."""
        side = min(DISTANCE_SIDE, drawings.shape[-1])
        small = [-F.adaptive_max_pool2d(-x, side) for x in (drawings.detach().float(), self.sketches)]  # keeps lines
        nearest = chamfer(*small).argmin(dim=1).tolist()
        with full_precision(drawings):
            return torch.stack([self._distance_to(k).distance(one.float()) for k, one in zip(nearest, drawings)]).mean()

    def _distance_to(self, index: int) -> SketchDistance:
        """The sketch of this number as a loss; the latest are kept, which take some 10 MB each."""
        if index not in self._distances:
            if len(self._distances) >= DISTANCES_KEPT:
                self._distances.pop(next(iter(self._distances)))
            self._distances[index] = SketchDistance(self.sketches[index], side=DISTANCE_SIDE)
        return self._distances[index]

    def _weight(self, name: str) -> float:
        return self.config.image_weight if name == "image" else 1.0

    def _generate(self, purpose: str, *, with_graph: bool = False) -> tuple[Tensor, Tensor]:
        """The step's batch of images [B,3,R,R] and their drawings [B,1,R,R], from the random stream `purpose`."""
        if self._fakes is None or self._fakes[0] != purpose:
            self._fakes = None  # free the old batch first
            rng = stream(self.config.seed, purpose, self.steps_done)
            with torch.set_grad_enabled(with_graph or self.config.share_fakes):
                ws = self._styles(self.generator.mapping, rng)
                images = self.generator.synthesize(ws, generator=rng)
                self.poll()
                self._fakes = (purpose, images, self._draw(images))
        return self._fakes[1:]

    def _styles(self, mapping: nn.Module, rng: torch.Generator) -> Tensor:
        """w+ of random z, two of them crossed over with probability `style_mixing`: [B,L,w_dim]."""
        gan = self.model.config
        z = torch.randn(2, self.config.batch, gan.z_dim, generator=rng).to(self.device)
        crossover = int(torch.randint(1, gan.style_count, (), generator=rng))
        mixes = float(torch.rand((), generator=rng)) < self.config.style_mixing
        ws = [mapping(one, self._labels())[:, None].expand(-1, gan.style_count, -1) for one in z[: 1 + mixes]]
        return torch.cat([ws[0][:, :crossover], ws[-1][:, crossover:]], dim=1)

    def _labels(self) -> Tensor | None:
        if not self.model.config.class_count:
            return None
        return torch.full((self.config.batch,), self.config.class_index, device=self.device)

    def _draw(self, images: Tensor) -> Tensor:
        """F: images [B,3,R,R] -> drawings [B,1,R,R], at a smaller size where `sketch_scale` says so."""
        halvings = round(-math.log2(self.config.sketch_scale))
        for _ in range(halvings):
            images = F.interpolate(images, scale_factor=0.5, mode="bicubic")
        drawings = self.photosketch(images)
        for _ in range(halvings):
            drawings = F.interpolate(drawings, scale_factor=2.0, mode="bicubic")
        return drawings

    def _judge(self, name: str, x: Tensor, rng: torch.Generator) -> Tensor:
        """Logits [B,1]. Only what D_Y sees is augmented."""
        if name == "sketch":
            x = augment(x.expand(-1, 3, -1, -1), self.config.augmentation, rng)
        return self._discriminators[name](x, self._labels())

    def _real_sketches(self, rng: torch.Generator) -> Tensor:
        chosen = torch.randint(len(self.sketches), (self.config.batch,), generator=rng)
        return self.sketches[chosen.to(self.device)]

    @torch.no_grad()
    def _real_images(self, rng: torch.Generator) -> Tensor:
        """x of the image term: the user's images, or samples of the original generator."""
        if self.regularisation == "images":
            chosen = torch.randint(len(self.images), (self.config.batch,), generator=rng)
            return self.images.batch(chosen).to(self.device)
        return self.generator.synthesize(self._styles(self.original_mapping, rng), generator=rng)

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor, what: str) -> None:
        """One optimiser update from the gathered gradients, unless they or the loss are not finite."""
        gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
        finite = torch.isfinite(torch.stack([g.sum() for g in gradients]).sum() + loss.detach())
        if finite:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not finite:
            raise FloatingPointError(
                f"the {what} loss or its gradient is not finite in step {self.steps_done}; the weights before it "
                "are kept. Use a lower learning rate, or float32 precision."
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        for name, parameter in self.trainable.items():
            self.average[name].lerp_(parameter, 1 - decay)

    # --------------------------------------------------------------------------------------------------- state, result

    def result(self) -> GanModel:
        """The customised model so far: averaged weights where `ema` is on. The base's discriminator is handed on."""
        with torch.inference_mode(False), torch.no_grad():
            generator = _copy(self.generator, self.model.w_mean.device).eval()
            parameters = dict(generator.mapping.named_parameters())
            moved = self.average if self.config.ema else self.trainable
            for name, value in moved.items():
                parameters[name].data.copy_(value.detach())
            w_mean = generator.mean_w()
        return GanModel(
            generator,
            self.model.discriminator,
            self.model.config,
            w_mean,
            f"{self.model.name}, customised",
            self.model.base_hash,
            {"base_name": self.model.name, **self.model.metadata},
        )

    def state_dict(self) -> dict:
        """Everything a later process needs to go on; plain tensors, numbers and strings, for torch.save."""
        return {
            "config": self.config.model_dump(),
            "step": self.steps_done,
            "phase": self.phases_done,
            "moving": {name: p.detach().clone() for name, p in self.trainable.items()},
            "average": dict(self.average),
            "w_shift": self.generator.mapping.w_shift.detach().clone(),
            "optimizer": self.optimizer.state_dict(),
            "discriminators": {name: d.state_dict() for name, d in self._discriminators.items()},
            "optimizers": {name: o.state_dict() for name, o in self._optimizers.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`. All options but the number of steps must be the same."""
        ours = self.config.model_dump()
        for key, theirs in state["config"].items():
            if key != "steps" and ours.get(key) != theirs:
                raise ValueError(f"the saved run has {key} = {theirs}, this one {ours.get(key)}: use the same options")
        with torch.inference_mode(False), torch.no_grad():
            self.generator.mapping.w_shift.copy_(state["w_shift"])
            for name, parameter in self.trainable.items():
                parameter.copy_(state["moving"][name])
                self.average[name] = state["average"][name].clone().to(self.device)
            self.optimizer.load_state_dict(state["optimizer"])
            for name, discriminator in self._discriminators.items():
                discriminator.load_state_dict(state["discriminators"][name])
                self._optimizers[name].load_state_dict(state["optimizers"][name])
        self.steps_done, self.phases_done, self._fakes = int(state["step"]), int(state["phase"]), None


def _trainable(discriminator: nn.Module, yes: bool) -> None:
    discriminator.requires_grad_(yes)
    if discriminator.mapping is not None:
        discriminator.mapping.w_shift.requires_grad_(False)


def _copy(network: Generator | Discriminator, device: torch.device) -> Generator | Discriminator:
    """A frozen copy in evaluation mode that can enter autograd even where the original was made in inference mode."""
    with torch.device("meta"):  # no random weights are drawn only to be overwritten
        twin = type(network)(network.config)
    weights = {name: value.detach().to(device, copy=True) for name, value in network.state_dict().items()}
    twin.load_state_dict(weights, assign=True)
    return twin.eval().requires_grad_(False)
