"""Training a StyleGAN2 from scratch: the bundled base models, or one on your own pictures.

The recipe is StyleGAN2's (Karras et al., CVPR 2020): non-saturating loss, lazy R1, lazy path-length regularisation,
style mixing and an EMA of the generator. Both networks see the same batch of generated images in a step. A second
discriminator, on the features of an ImageNet network, can be added (`networks.projected_discriminator`).
"""

from __future__ import annotations

import copy
import math
import time
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..networks.projected_discriminator import ProjectedDiscriminator
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from ..random_streams import seeded_init, stream
from .diffaugment import augment, parse_policy
from .loop import StepReport, check_options
from .losses import fake_loss, generator_loss, lazy_ratio, r1_penalty, real_loss
from .placement import PlacementConfig, placed
from .style_mixing import random_styles


class PretrainConfig(BaseModel):
    """Options of `gansketching pretrain`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: Literal[32, 64, 128, 256, 512, 1024] = Field(default=64, description="Side of the images in pixels.")
    latent_dim: int = Field(default=128, ge=8, le=1024, description="Length of z and of w.")
    mapping_layers: int = Field(default=4, ge=1, le=16, description="Depth of the mapping network.")
    channel_base: int = Field(
        default=2048, ge=64, le=65536, description="Channels at resolution r: min(channel_base / r, max)."
    )
    channel_max: int = Field(default=192, ge=8, le=1024, description="Limit of the channels of each layer.")
    images: int = Field(default=200_000, ge=1, description="Length of the training, in real images.")
    batch: int = Field(default=16, ge=1, le=1024, description="Images per step.")
    learning_rate: float = Field(default=0.002, gt=0, le=0.1, description="Adam's learning rate of both networks.")
    decay_from: float = Field(
        default=0.7, ge=0, le=1, description="Share of the training after which the learning rate decreases to 0."
    )
    r1_gamma: float = Field(default=1.0, ge=0, description="Weight of the R1 penalty.")
    r1_every: int = Field(default=16, ge=1, description="Steps between R1 penalties (lazy regularisation).")
    path_weight: float = Field(default=2.0, ge=0, description="Weight of path-length regularisation; 0 disables it.")
    path_every: int = Field(default=8, ge=1, description="Steps between path-length penalties.")
    style_mixing: float = Field(default=0.5, ge=0, le=1, description="Probability that a batch mixes two latents.")
    ema_images: int = Field(default=5000, ge=1, description="Half-life of the generator's moving average, in images.")
    augmentation: str = Field(
        default="", description="DiffAugment of the discriminator's input; any of color, translation, cutout, upscale."
    )
    feature_weight: float = Field(
        default=0.0, ge=0, description="Weight of a second discriminator, on ImageNet features; 0 disables it."
    )
    feature_augmentation: str = Field(
        default="color,translation,cutout", description="DiffAugment of the second discriminator's input."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16 is faster where the hardware supports it."
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="Seed of every random number.")

    def gan_config(self) -> GanConfig:
        """The networks that these options describe."""
        sizes = [2**k for k in range(2, int(math.log2(self.resolution)) + 1)]
        return GanConfig(
            resolution=self.resolution,
            z_dim=self.latent_dim,
            w_dim=self.latent_dim,
            mapping_layers=self.mapping_layers,
            channels=tuple(max(1, min(self.channel_base // size, self.channel_max)) for size in sizes),
        )


class Pretrainer:
    """Trains a generator and a discriminator; the generator of the result is the EMA.

    Equal seeds give equal runs, also across a stop and `load_state_dict`.

    Args:
        pictures: uint8 [N,3,S,S], S at least the resolution; twice the resolution keeps rotated and shrunk pictures
            sharp.
        config: the options.
        placement: how pictures are placed at random.
        weights: [N], relative sampling probabilities; equal by default.
        base: a model to train further, instead of new networks. Its networks must be those that the options describe.
        device: where to train.
    """

    resumes_within_step = False

    def __init__(
        self,
        pictures: Tensor,
        config: PretrainConfig | None = None,
        *,
        placement: PlacementConfig | None = None,
        weights: Tensor | None = None,
        base: GanModel | None = None,
        device: torch.device | str = "cpu",
    ):
        if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.dtype != torch.uint8 or len(pictures) < 2:
            raise ValueError(f"pictures are {pictures.dtype} {tuple(pictures.shape)}, expected uint8 [N,3,S,S], N >= 2")
        self.config = config = config or PretrainConfig()
        self.placement = placement or PlacementConfig()
        parse_policy(config.augmentation)
        parse_policy(config.feature_augmentation)
        self.pictures = pictures
        self.device = torch.device(device)
        self.weights = torch.ones(len(pictures)) if weights is None else weights.float()
        with seeded_init(config.seed):
            self.generator = Generator(config.gan_config()).to(self.device)
            self.discriminator = Discriminator(config.gan_config()).to(self.device)
            self.projected = ProjectedDiscriminator().to(self.device) if config.feature_weight else None
        if base is not None:
            self._start_from(base)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator.mapping.w_shift.requires_grad_(False)
        self.steps_done = 0
        self.mean_path = torch.zeros((), device=self.device)
        self._networks = {"generator": self.generator, "discriminator": self.discriminator}
        if self.projected:
            self._networks["projected"] = self.projected
        self._ratios = {
            "generator": lazy_ratio(config.path_every if config.path_weight else 0),
            "discriminator": lazy_ratio(config.r1_every if config.r1_gamma else 0),
            "projected": 1.0,
        }
        self._optimizers = {name: self._optimizer(name) for name in self._networks}

    def _start_from(self, base: GanModel) -> None:
        if base.config != self.generator.config:
            raise ValueError(
                f"{base.name} has other networks ({base.config}) than these options: {self.config.gan_config()}"
            )
        if base.discriminator is None:
            raise ValueError(f"{base.name} has no discriminator, which training it further needs")
        self.generator.load_state_dict(base.generator.state_dict())
        self.discriminator.load_state_dict(base.discriminator.state_dict())

    def _optimizer(self, name: str) -> torch.optim.Adam:
        ratio = self._ratios[name]
        parameters = [parameter for parameter in self._networks[name].parameters() if parameter.requires_grad]
        return torch.optim.Adam(parameters, lr=self.config.learning_rate * ratio, betas=(0.0, 0.99**ratio))

    @property
    def steps_total(self) -> int:
        return math.ceil(self.config.images / self.config.batch)

    def step(self) -> StepReport:
        """One update of all networks. Raises FloatingPointError if a loss is not finite."""
        started = time.perf_counter()
        config = self.config
        k = self.steps_done
        rng = stream(config.seed, "pretraining", k)
        self._set_learning_rates()
        losses: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            fake = self._update_generator(rng, losses)
            if config.path_weight and k % config.path_every == 0:
                self._regularise_path(rng, losses)
            real = self._real(rng)
            self._update_discriminator(real, fake, rng, losses)
            if config.r1_gamma and k % config.r1_every == 0:
                self._regularise_gradient(real, rng, losses)
            self._update_projected(real, fake, rng, losses)
        self._update_average()
        values = {name: float(value) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"the losses of step {k} are not finite: {values}; use a lower learning rate")
        self.steps_done += 1
        return StepReport(k, values, time.perf_counter() - started)

    def _set_learning_rates(self) -> None:
        done = self.steps_done / self.steps_total
        start = self.config.decay_from
        factor = 1.0 if done <= start else max(0.0, (1 - done) / (1 - start))
        for name, optimizer in self._optimizers.items():
            optimizer.param_groups[0]["lr"] = self.config.learning_rate * factor * self._ratios[name]

    def _styles(self, batch: int, rng: torch.Generator) -> Tensor:
        """Random w+: [batch,L,w_dim]."""
        return random_styles(self.generator.mapping, self.generator.config, batch, self.config.style_mixing, rng)

    def _real(self, rng: torch.Generator) -> Tensor:
        """A batch of pictures, placed at random: [B,3,R,R] in -1..1."""
        chosen = torch.multinomial(self.weights, self.config.batch, replacement=True, generator=rng)
        return placed(self.pictures[chosen].to(self.device), self.config.resolution, self.placement, rng)

    def _update_generator(self, rng: torch.Generator, losses: dict[str, Tensor]) -> Tensor:
        self.discriminator.requires_grad_(False)
        fake = self.generator.synthesize(self._styles(self.config.batch, rng), generator=rng)
        loss = generator_loss(self.discriminator(augment(fake, self.config.augmentation, rng)))
        losses["G"] = loss.detach()
        if self.projected:
            self.projected.heads.requires_grad_(False)
            seen = self.projected(augment(fake, self.config.feature_augmentation, rng))
            on_features = generator_loss(seen, "hinge")
            losses["G features"] = on_features.detach()
            loss = loss + on_features * self.config.feature_weight
        _descend(self._optimizers["generator"], loss)
        return fake.detach()

    def _regularise_path(self, rng: torch.Generator, losses: dict[str, Tensor]) -> None:
        """Path-length penalty (StyleGAN2, eq. 4) on half a batch, as NVIDIA's code does."""
        ws = self._styles(max(1, self.config.batch // 2), rng)
        fake = self.generator.synthesize(ws, generator=rng)
        noise = torch.randn(fake.shape, generator=rng).to(fake) / self.config.resolution
        (gradient,) = torch.autograd.grad((fake * noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        mean = self.mean_path.lerp(lengths.mean(), 0.01)
        self.mean_path = mean.detach()
        penalty = (lengths - mean).square().mean()
        _descend(self._optimizers["generator"], penalty * self.config.path_weight * self.config.path_every)
        losses["path"] = penalty.detach()

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, rng: torch.Generator, losses: dict[str, Tensor]
    ) -> None:
        self.discriminator.requires_grad_(True)
        on_fake = fake_loss(self.discriminator(augment(fake, self.config.augmentation, rng)))
        on_real = real_loss(self.discriminator(augment(real, self.config.augmentation, rng)))
        _descend(self._optimizers["discriminator"], on_fake + on_real)
        losses["D fake"] = on_fake.detach()
        losses["D real"] = on_real.detach()

    def _update_projected(self, real: Tensor, fake: Tensor, rng: torch.Generator, losses: dict[str, Tensor]) -> None:
        if self.projected is None:
            return
        self.projected.heads.requires_grad_(True)
        policy = self.config.feature_augmentation
        on_fake = fake_loss(self.projected(augment(fake, policy, rng)), "hinge")
        on_real = real_loss(self.projected(augment(real, policy, rng)), "hinge")
        loss = on_fake + on_real
        _descend(self._optimizers["projected"], loss)
        losses["D features"] = loss.detach()

    def _regularise_gradient(self, real: Tensor, rng: torch.Generator, losses: dict[str, Tensor]) -> None:
        real = real.detach().requires_grad_(True)
        penalty = r1_penalty(self.discriminator(augment(real, self.config.augmentation, rng)), real)
        _descend(self._optimizers["discriminator"], penalty * (self.config.r1_gamma / 2 * self.config.r1_every))
        losses["R1"] = penalty.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        seen = (self.steps_done + 1) * self.config.batch
        half_life = min(self.config.ema_images, 0.05 * seen)
        weight = 1 - 0.5 ** (self.config.batch / half_life)
        for ours, theirs in zip(self.average.parameters(), self.generator.parameters()):
            ours.lerp_(theirs, weight)

    def result(self, name: str = "model") -> GanModel:
        """The averaged generator and the discriminator, on the CPU, frozen."""
        generator = copy.deepcopy(self.average).cpu().eval().requires_grad_(False)
        discriminator = copy.deepcopy(self.discriminator).cpu().eval().requires_grad_(False)
        return GanModel(generator, discriminator, generator.config, generator.mean_w(), name)

    def state_dict(self) -> dict:
        """Everything a later process needs to go on; plain tensors, numbers and strings."""
        return {
            "config": self.config.model_dump(),
            "placement": self.placement.model_dump(),
            "step": self.steps_done,
            "networks": {name: network.state_dict() for name, network in self._networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "average": self.average.state_dict(),
            "mean_path": self.mean_path,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`. Raises ValueError if options other than the number of images differ."""
        check_options(state["config"], self.config, length="images")
        check_options(state["placement"], self.placement)
        for name, network in self._networks.items():
            network.load_state_dict(state["networks"][name])
            self._optimizers[name].load_state_dict(state["optimizers"][name])
        self.average.load_state_dict(state["average"])
        self.mean_path = state["mean_path"].to(self.device)
        self.steps_done = int(state["step"])


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
