"""Training a StyleGAN2 from scratch: the bundled base models, or one on your own pictures.

The recipe is StyleGAN2's (Karras et al., CVPR 2020): non-saturating loss, lazy R1, lazy path-length regularisation,
style mixing and an EMA of the generator. Both networks see the same batch of generated images in a step. A second
discriminator, on the features of an ImageNet network, can be added (`networks.projected_discriminator`). With few
pictures the generator can first learn to reproduce them (`picture_codes`).
"""

import copy
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ..networks.precision import full_precision
from ..networks.projected_discriminator import ProjectedDiscriminator
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from ..options import Options, option
from ..random_streams import random_samples, seeded_init, stream
from .backgrounds import colours_of
from .diffaugment import augment, parse_policy
from .distributed import ALONE, Team
from .loop import StepReport, Trainer, check_options
from .losses import GanLoss, fake_loss, generator_loss, r1_penalty, real_loss
from .micro_batches import Losses, MicroBatches, micro_batch_option
from .optimizers import lazy_adam, set_trainable, update
from .picture_codes import PictureCodes, reconstruction_losses
from .placement import PlacementConfig, placed
from .style_mixing import random_styles, synthesize

FITS = 3  # updates of the mapping network in a step of the warm-up
FIT_LATENTS = 32  # latents in such an update, for each image of the batch
FIT_RATE = 20.0  # of the first such updates, times the learning rate; it goes down to 1


class PretrainConfig(Options):
    """Options of `gansketching pretrain`."""

    resolution: Literal[32, 64, 128, 256, 512, 1024] = option(64, "Side of the images in pixels.")
    latent_dim: int = option(128, "Length of z and of w.", ge=8, le=1024)
    mapping_layers: int = option(4, "Depth of the mapping network.", ge=1, le=16)
    channel_base: int = option(2048, "Channels at resolution r: min(channel_base / r, max).", ge=64, le=65536)
    channel_max: int = option(192, "Limit of the channels of each layer.", ge=8, le=1024)
    images: int = option(200_000, "Length of the training, in real images.", ge=1)
    warm_up_images: int = option(
        0,
        "Images of a start in which the generator reproduces the pictures, before the training proper. For a few "
        "hundred pictures 30000 save most of the training.",
        ge=0,
    )
    remember: float = option(
        0.5, "Share of every batch that goes on reproducing pictures after such a start.", ge=0, le=1
    )
    batch: int = option(16, "Images per step.", ge=1, le=1024)
    learning_rate: float = option(0.002, "Adam's learning rate of both networks.", gt=0, le=0.1)
    decay_from: float = option(0.7, "Share of the training after which the learning rate decreases to 0.", ge=0, le=1)
    r1_gamma: float = option(1.0, "Weight of the R1 penalty.", ge=0)
    r1_every: int = option(16, "Steps between R1 penalties (lazy regularisation).", ge=1)
    path_weight: float = option(2.0, "Weight of path-length regularisation; 0 disables it.", ge=0)
    path_every: int = option(8, "Steps between path-length penalties.", ge=1)
    style_mixing: float = option(0.5, "Probability that a batch mixes two latents.", ge=0, le=1)
    ema_images: int = option(5000, "Half-life of the generator's moving average, in images.", ge=1)
    augmentation: str = option(
        "", "DiffAugment of the discriminator's input; any of color, translation, cutout, upscale."
    )
    pixel_weight: float = option(
        1.0, "Weight of StyleGAN2's discriminator; 0 leaves it untrained, for twice as fast steps.", ge=0
    )
    feature_weight: float = option(0.0, "Weight of a second discriminator, on ImageNet features; 0 disables it.", ge=0)
    feature_augmentation: str = option("color,translation,cutout", "DiffAugment of the second discriminator's input.")
    precision: Literal["float32", "bfloat16"] = option("float32", "bfloat16 is faster where the hardware supports it.")
    seed: int = option(0, "Seed of every random number.", ge=0, le=2**63 - 1)
    micro_batch: int = micro_batch_option(" The mean of the path lengths is then that of a micro-batch.")

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


class Pretrainer(Trainer):
    """Trains a generator and a discriminator; the generator of the result is the EMA.

    Equal seeds give equal runs, also across a stop and `load_state_dict`, in any number of processes.

    Args:
        pictures: uint8 [N,3,S,S]; S of twice the resolution keeps rotated and shrunk pictures sharp.
        placement: how pictures are placed at random.
        weights: [N], relative sampling probabilities; equal by default.
        backgrounds: uint8 [M,3,S,S]; then the pictures are cut-outs [N,4,S,S] (`backgrounds.cut_out`), placed before
            random ones of these.
        base: a model to train further, instead of new networks. Its networks must be those that the options describe,
            or, of a model for smaller images, their first blocks.
        team: the processes that share out the micro-batches.
    """

    length = "images"

    def __init__(
        self,
        pictures: Tensor,
        config: PretrainConfig | None = None,
        *,
        placement: PlacementConfig | None = None,
        weights: Tensor | None = None,
        backgrounds: Tensor | None = None,
        base: GanModel | None = None,
        device: torch.device | str = "cpu",
        team: Team = ALONE,
    ):
        channels = 3 if backgrounds is None else 4
        if pictures.ndim != 4 or pictures.shape[1] != channels or pictures.dtype != torch.uint8 or len(pictures) < 2:
            given = f"{pictures.dtype} {tuple(pictures.shape)}"
            raise ValueError(f"pictures are {given}, expected uint8 [N,{channels},S,S], N >= 2")
        self.config = config = config or PretrainConfig()
        self.team = team
        group = config.gan_config().stddev_group
        self.micro_batches = MicroBatches(config.batch, config.micro_batch, group=group, team=team)
        self.placement = placement or PlacementConfig()
        parse_policy(config.augmentation)
        parse_policy(config.feature_augmentation)
        if not config.pixel_weight and not config.feature_weight:
            raise ValueError("pixel_weight and feature_weight are both 0: one discriminator is needed")
        self.pictures = pictures
        self.backgrounds = backgrounds
        self.colours = None
        if self.placement.recolour:
            if backgrounds is None:
                raise ValueError("recolour changes things placed before backgrounds, and there are no backgrounds")
            self.colours = colours_of(pictures)
        self.device = torch.device(device)
        self.weights = torch.ones(len(pictures)) if weights is None else weights.float()
        with seeded_init(config.seed):
            self.generator = Generator(config.gan_config()).to(self.device)
            self.discriminator = Discriminator(config.gan_config()).to(self.device)
            self.projected = None
            if config.feature_weight:
                self.projected = ProjectedDiscriminator(max(96, min(config.resolution, 224))).to(self.device)
        if base is not None:
            self._start_from(base)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        self.generator.mapping.w_shift.requires_grad_(False)
        self.mean_path = torch.zeros((), device=self.device)
        path_every = config.path_every if config.path_weight else 0
        r1_every = config.r1_every if config.r1_gamma else 0
        self._networks = {"generator": self.generator, "discriminator": self.discriminator}
        self._optimizers = {
            "generator": lazy_adam(self.generator.parameters(), config.learning_rate, path_every),
            "discriminator": lazy_adam(self.discriminator.parameters(), config.learning_rate, r1_every),
        }
        self.codes = self._picture_codes() if config.warm_up_images else None
        if self.projected:
            self._networks["projected"] = self.projected
            self._optimizers["projected"] = lazy_adam(self.projected.parameters(), config.learning_rate)

    @torch.no_grad()
    def _picture_codes(self) -> PictureCodes:
        z = torch.randn(2000, self.config.latent_dim, generator=stream(self.config.seed, "codes"))
        ws = self.generator.mapping(z.to(self.device))
        mirror, seed = self.placement.flip, self.config.seed
        codes = PictureCodes(self.pictures, self.backgrounds, ws, mirror=mirror, colours=self.colours, seed=seed)
        mapping = [p for p in self.generator.mapping.parameters() if p.requires_grad]
        trained = [p for p in self.generator.synthesis.parameters() if p.requires_grad]
        rate = self.config.learning_rate
        self._warm_up_optimizers = {
            "reconstruction": torch.optim.Adam([*trained, *codes.parameters()], rate, betas=(0.5, 0.99)),
            "mapping": torch.optim.Adam(mapping, rate / self.generator.config.mapping_lr_mul, betas=(0.9, 0.99)),
        }
        return codes.to(self.device)

    def _start_from(self, base: GanModel) -> None:
        """Copy the weights of a model with the same networks, or of one for smaller images with their first blocks."""
        ours, theirs = self.generator.config, base.config
        new_blocks = ours.block_count - theirs.block_count
        larger = theirs.model_copy(update={"resolution": ours.resolution, "channels": ours.channels})
        if larger != ours or theirs.channels != ours.channels[: theirs.block_count]:
            raise ValueError(f"{base.name} has other networks ({theirs}) than these options: {ours}")
        if base.discriminator is None:
            raise ValueError(f"{base.name} has no discriminator, which training it further needs")
        self.generator.load_state_dict(base.generator.state_dict(), strict=not new_blocks)
        lower = copy.deepcopy(base.discriminator)
        if new_blocks:
            for to_rgb in self.generator.synthesis.to_rgb[theirs.block_count :]:
                nn.init.zeros_(to_rgb.weight)  # type: ignore[arg-type]  # at first new blocks only enlarge the images
            lower.from_rgb = self.discriminator.from_rgb
            lower.blocks = nn.ModuleList([*self.discriminator.blocks[:new_blocks], *lower.blocks])
        self.discriminator.load_state_dict(lower.state_dict())

    @property
    def steps_total(self) -> int:
        return self._warm_up_steps + math.ceil(self.config.images / self.config.batch)

    @property
    def _warm_up_steps(self) -> int:
        return math.ceil(self.config.warm_up_images / self.config.batch)

    def step(self) -> StepReport:
        """One update of all networks. Raises FloatingPointError if a loss or gradient is not finite."""
        started = time.perf_counter()
        config = self.config
        k = self.steps_done
        streams = self.micro_batches.streams(config.seed, "pretraining", k)
        self._set_learning_rates()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            losses = self._warm_up(streams) if k < self._warm_up_steps else self._train_all(k, streams)
        self._update_average()
        self.steps_done += 1
        values = {name: float(value) for name, value in losses.items()}
        return StepReport(k, values, time.perf_counter() - started)

    def _train_all(self, k: int, streams: dict[int, torch.Generator]) -> Losses:
        """A step of the adversarial training."""
        config = self.config
        fakes, losses = self._update_generator(streams)
        if self.codes is not None and config.remember:
            losses |= self._fit_mapping(streams)
        if config.path_weight and k % config.path_every == 0:
            losses |= self._regularise_path(streams)
        reals = self._reals(streams)
        if config.pixel_weight:
            on_fake, on_real = self._update_discriminator("discriminator", reals, fakes, streams)
            losses |= {"D fake": on_fake, "D real": on_real}
            if config.r1_gamma and k % config.r1_every == 0:
                losses |= self._regularise_gradient(reals, streams)
        if self.projected:
            on_fake, on_real = self._update_discriminator("projected", reals, fakes, streams)
            losses["D features"] = on_fake + on_real
        return losses

    def _warm_up(self, streams: dict[int, torch.Generator]) -> Losses:
        """Reproduce pictures from their codes, and bring what the mapping network makes of random z nearer to those."""

        def reconstruct(index: int) -> Losses:
            rng = streams[index]
            w, wanted, weights = self._chosen(rng)
            losses = reconstruction_losses(synthesize(self.generator, w, rng), wanted, weights, self._pyramid)
            torch.stack(list(losses.values())).sum().backward()
            return losses

        losses = self._update("reconstruction", reconstruct)
        for _ in range(FITS):
            losses |= self._fit_mapping(streams)
        return losses

    def _fit_mapping(self, streams: dict[int, torch.Generator]) -> Losses:
        """Bring what the mapping network makes of random z nearer to the codes of the pictures."""
        codes, count = self.codes, FIT_LATENTS * self.micro_batches.size
        assert codes is not None

        def fit(index: int) -> Losses:
            z = random_samples(torch.randn, (count, self.config.latent_dim), streams[index]).to(self.device)
            with full_precision(z):
                wanted = codes.blended(z).detach()
                loss = ((self.generator.mapping(z) - wanted) / codes.deviation).square().mean()
                loss.backward()
            return {"codes": loss}

        return self._update("mapping", fit)

    def _chosen(self, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """w+ [B,L,w_dim] of pictures that random z choose, the pictures [B,3,R,R], and their pixels' weights."""
        assert self.codes is not None
        z = random_samples(torch.randn, (self.micro_batches.size, self.config.latent_dim), rng).to(self.device)
        w, wanted, weights = self.codes.chosen(z, self.config.resolution)
        return w[:, None].expand(-1, self.generator.config.style_count, -1), wanted, weights

    @property
    def _pyramid(self) -> Callable[[Tensor], list[Tensor]] | None:
        return self.projected.pyramid if self.projected else None

    def _set_learning_rates(self) -> None:
        done = self.steps_done / self.steps_total
        start = self.config.decay_from
        factor = 1.0 if done <= start else max(0.0, (1 - done) / (1 - start))
        for optimizer in self._optimizers.values():
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * factor
        if self.codes is not None:
            warming = max(0.0, 1 - self.steps_done / self._warm_up_steps)
            optimizer = self._warm_up_optimizers["mapping"]
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * factor * max(1.0, FIT_RATE * warming)

    def _styles(self, batch: int, rng: torch.Generator) -> Tensor:
        """Random w+: [batch,L,w_dim]."""
        return random_styles(self.generator.mapping, self.generator.config, batch, self.config.style_mixing, rng)

    def _reals(self, streams: dict[int, torch.Generator]) -> dict[int, Tensor]:
        """Pictures [B,3,R,R] in -1..1, placed at random, for each micro-batch of this process."""
        return {index: self._real(rng) for index, rng in streams.items()}

    def _real(self, rng: torch.Generator) -> Tensor:
        shape = (self.micro_batches.size,)
        chosen = random_samples(self._choose, shape, rng)
        behind = colours = None
        if self.backgrounds is not None:
            numbers = random_samples(partial(torch.randint, len(self.backgrounds)), shape, rng)
            behind = self.backgrounds[numbers].to(self.device)
        if self.colours is not None:
            colours = self.colours[random_samples(self._choose, shape, rng)].to(self.device)
        pictures = self.pictures[chosen].to(self.device)
        return placed(pictures, self.config.resolution, self.placement, rng, behind, colours)

    def _choose(self, shape: tuple[int], generator: torch.Generator) -> Tensor:
        """Numbers of pictures, by their weights."""
        return torch.multinomial(self.weights, shape[0], replacement=True, generator=generator)

    def _logits(self, name: str, images: Tensor, rng: torch.Generator) -> Tensor:
        """What a discriminator says of augmented images."""
        policy = self.config.feature_augmentation if name == "projected" else self.config.augmentation
        return self._networks[name](augment(images, policy, rng))

    def _update(self, name: str, compute: Callable[[int], Losses]) -> Losses:
        """One update of a network from the gradients that `compute` adds up for each micro-batch."""
        optimizer = self._optimizers.get(name) or self._warm_up_optimizers[name]
        projected = [self.projected] if self.projected else []  # its spectral norm is estimated in every forward pass
        losses = self.micro_batches.gradients(optimizer.param_groups[0]["params"], compute, averaged=projected)
        losses = {key: loss.detach() for key, loss in losses.items()}
        update(optimizer, torch.stack(list(losses.values())), name, self.steps_done)
        return losses

    def _update_generator(self, streams: dict[int, torch.Generator]) -> tuple[dict[int, Tensor], Losses]:
        """-> the images of each micro-batch of this process, and the losses."""
        for name in self._networks:
            set_trainable(self._optimizers[name], name == "generator")
        fakes: dict[int, Tensor] = {}

        def compute(index: int) -> Losses:
            rng = streams[index]
            ws, remembered = self._styles(self.micro_batches.size, rng), 0
            if self.codes is not None:
                remembered = round(self.config.remember * len(ws))
                w, wanted, weights = (x[:remembered] for x in self._chosen(rng))
                ws = torch.cat([w.detach(), ws[remembered:]])
            fake = synthesize(self.generator, ws, rng)
            losses = {}
            total = torch.zeros((), device=self.device)
            if remembered:
                losses |= reconstruction_losses(fake[:remembered], wanted, weights, self._pyramid)
                total = total + torch.stack(list(losses.values())).sum()
            if self.config.pixel_weight:
                losses["G"] = generator_loss(self._logits("discriminator", fake, rng))
                total = total + losses["G"] * self.config.pixel_weight
            if self.projected:
                losses["G features"] = generator_loss(self._logits("projected", fake, rng), "hinge")
                total = total + losses["G features"] * self.config.feature_weight
            total.backward()
            fakes[index] = fake.detach()
            return losses

        return fakes, self._update("generator", compute)

    def _regularise_path(self, streams: dict[int, torch.Generator]) -> Losses:
        """Path-length penalty (StyleGAN2, eq. 4) on half a batch, as NVIDIA's code does."""

        def compute(index: int) -> Losses:
            rng = streams[index]
            ws = self._styles(max(1, self.micro_batches.size // 2), rng)
            fake = synthesize(self.generator, ws, rng)
            noise = random_samples(torch.randn, fake.shape, rng).to(fake) / self.config.resolution
            (gradient,) = torch.autograd.grad((fake * noise).sum(), ws, create_graph=True)
            lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
            mean = self.mean_path.lerp(lengths.mean(), 0.01)
            penalty = (lengths - mean).square().mean()
            (penalty * self.config.path_weight * self.config.path_every).backward()
            return {"path": penalty, "mean path": mean}

        losses = self._update("generator", compute)
        self.mean_path = losses.pop("mean path")
        return losses

    def _update_discriminator(
        self, name: str, reals: dict[int, Tensor], fakes: dict[int, Tensor], streams: dict[int, torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """-> the losses on generated images and on pictures."""
        kind: GanLoss = "hinge" if name == "projected" else "softplus"
        set_trainable(self._optimizers[name], True)

        def compute(index: int) -> Losses:
            on_fake = fake_loss(self._logits(name, fakes[index], streams[index]), kind)
            on_real = real_loss(self._logits(name, reals[index], streams[index]), kind)
            (on_fake + on_real).backward()
            return {"fake": on_fake, "real": on_real}

        losses = self._update(name, compute)
        return losses["fake"], losses["real"]

    def _regularise_gradient(self, reals: dict[int, Tensor], streams: dict[int, torch.Generator]) -> Losses:
        def compute(index: int) -> Losses:
            real = reals[index].detach().requires_grad_(True)
            penalty = r1_penalty(self._logits("discriminator", real, streams[index]), real)
            (penalty * (self.config.r1_gamma / 2 * self.config.r1_every)).backward()
            return {"R1": penalty}

        return self._update("discriminator", compute)

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

    def parts(self) -> dict:
        trained = {"networks": self._networks, "optimizers": self._optimizers}
        if self.codes is not None:
            trained |= {"codes": self.codes, "warm-up optimizers": self._warm_up_optimizers}
        return {**trained, "average": self.average, "mean_path": self.mean_path}

    def state_dict(self) -> dict:
        return {"placement": self.placement.model_dump(), **super().state_dict()}

    def load_state_dict(self, state: dict) -> None:
        check_options(state["placement"], self.placement)
        super().load_state_dict(state)
