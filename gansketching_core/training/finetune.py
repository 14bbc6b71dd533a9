"""Customising a generator with sketches: the method of "Sketch Your Own GAN" (Wang, Bau, Zhu, ICCV 2021).

    L = L_sketch(D_Y; y, F(G(z)))  +  image_weight * L_image(D_X; x, G(z))

Only the mapping network of the generator G (or a shift of w) is trained; the photo-to-sketch network F is frozen. D_Y
compares the drawings F(G(z)) with the user's sketches y, D_X keeps the images realistic. This module only trains: the
loop, checkpoints and files are in `loop.py` and `finetune_run.py`.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets import ImageSet
from ..latents.mean_shift import shift_towards
from ..networks.photosketch import PhotoSketch
from ..networks.precision import full_precision, has_fast_bfloat16
from ..networks.stylegan2 import Details, Discriminator, EqualConv, GanModel, Generator, Mapping, StyledConv
from ..random_streams import Part, part_of, random_samples, seeded_init, stream
from ..sketches.distance import ChamferToSketches, SketchDistance
from .diffaugment import augment, parse_policy
from .distributed import ALONE, Team
from .finetune_config import FinetuneConfig
from .loop import StepReport, Trainer
from .losses import fake_loss, generator_loss, r1_penalty, real_loss, weight_penalty
from .memory import SHARE, free_bytes, needed_bytes, use_gradient_checkpointing
from .micro_batches import Losses, MicroBatches
from .optimizers import lazy_adam, set_trainable, update
from .style_mixing import random_styles, synthesize

Network = TypeVar("Network", Generator, Discriminator)

DISTANCE_SIDE = 64  # pixels, at most, at which drawings are compared with sketches by their distance
DISTANCES_BYTES = 512 * 2**20  # of memory, at most, for the distances of sketches that are kept


class SketchFinetuner(Trainer):
    """Fine-tunes a copy of `model` so that drawings of its images look like `sketches`.

    Equal inputs, options and seed give equal weights on the same CPU, also if the run is stopped at any point and
    resumed from `state_dict()`, in any number of processes: every random number of step k comes from a stream of
    (seed, k).

    Args:
        model: the generator to customise, with its discriminator; without one, D_X and D_Y start from random weights.
            It is not changed.
        sketches: [N,1,R,R] in -1..1, white paper = +1, R = the model's resolution (see `prepare_sketches`).
        photosketch: photo [B,3,H,W] in -1..1 -> drawing [B,1,H,W] in -1..1. It is frozen, and not changed.
        images: photos at the model's resolution, for regularisation "images".
        device: where to train; by default the device of the model.
        team: the processes that share out the micro-batches.
    """

    resumes_within_step = True

    def __init__(
        self,
        model: GanModel,
        sketches: Tensor,
        photosketch: nn.Module,
        config: FinetuneConfig | None = None,
        *,
        images: ImageSet | None = None,
        device: torch.device | str | None = None,
        team: Team = ALONE,
    ):
        self.team = team
        self.model = model
        self.config = config = config or FinetuneConfig()
        self.images = images
        self.device = torch.device(device) if device is not None else model.w_mean.device
        self.poll: Callable[[], None] = lambda: None
        self.phases_done = 0  # of the present step
        self._weights = {"sketch": 1.0, "image": config.image_weight}
        self._check(sketches)
        self.regularisation = self._choose_regularisation()
        group = model.config.stddev_group
        self.micro_batches = MicroBatches(config.batch, config.micro_batch, group=group, team=team)
        bfloat16_is_faster = config.precision == "auto" and has_fast_bfloat16(self.device)
        self._uses_bfloat16 = config.precision == "bfloat16" or bfloat16_is_faster
        with torch.inference_mode(False), torch.enable_grad():
            self.sketches = sketches.detach().clone().float().to(self.device)
            self._labels: Tensor | None = None
            if model.config.class_count:
                self._labels = torch.full((self.micro_batches.size,), config.class_index, device=self.device)
            self.photosketch = copy.deepcopy(photosketch).to(self.device).eval().requires_grad_(False)
            self._check_batch_statistics()
            if isinstance(self.photosketch, PhotoSketch):
                self.photosketch.batch_statistics = config.batch_statistics
            self._build_generator()
            self._build_discriminators()
            self._chamfer = ChamferToSketches(_shrink_lines(self.sketches))
        self._recomputes = self._choose_checkpointing()
        if self._recomputes:
            use_gradient_checkpointing(self.generator, self.photosketch, *self._discriminators.values())
        self._poll_inside(self.generator, self.photosketch, *self._discriminators.values())
        # (random stream, part of the batch, whether they have their graph) -> images and drawings of this step
        self._batches: dict[tuple[str, int, bool], tuple[Tensor, Tensor]] = {}
        self._distances: dict[int, SketchDistance] = {}  # number of the sketch -> distance to it

    def _check(self, sketches: Tensor) -> None:
        self.model.check_single_mapping()
        size = self.model.config.resolution
        classes = self.model.config.class_count
        if sketches.ndim != 4 or len(sketches) < 1 or sketches.shape[1:] != (1, size, size):
            raise ValueError(f"sketches have shape {tuple(sketches.shape)}, expected [N,1,{size},{size}]")
        if not torch.isfinite(sketches).all() or sketches.abs().max() > 1.001:
            raise ValueError("sketches must be finite numbers from -1 (ink) to 1 (paper); use prepare_sketches")
        if classes and self.config.class_index >= classes:
            raise ValueError(f"class_index {self.config.class_index} is outside 0 to {classes - 1}")
        if self.config.regularisation == "images" and self.images is None:
            raise ValueError('regularisation "images" needs images; give some, or choose "generator"')
        parse_policy(self.config.augmentation)

    def _check_batch_statistics(self) -> None:
        if self.config.batch_statistics and self.micro_batches.count > 1 and isinstance(self.photosketch, PhotoSketch):
            raise ValueError(
                "batch_statistics: the sketcher normalises over the whole batch, which micro-batches and several "
                "processes would change; turn it off, or train in one process with micro_batch 0"
            )

    def _choose_regularisation(self) -> str:
        chosen = self.config.regularisation
        if chosen == "auto":
            chosen = "images" if self.images is not None else "generator"
        if chosen in ("images", "generator") and self.config.image_weight == 0:
            return "none"
        return chosen

    def _choose_checkpointing(self) -> bool:
        if self.config.gradient_checkpointing != "auto":
            return self.config.gradient_checkpointing == "on"
        needed = needed_bytes(
            self.model.config,
            self.photosketch,
            self.micro_batches.size,
            bfloat16=self._uses_bfloat16,
            sketch_scale=self.config.sketch_scale,
        )
        return needed > SHARE * free_bytes(self.device)

    def _build_generator(self) -> None:
        self.generator = _copy(self.model.generator, self.device)
        mapping = self.generator.mapping
        self.original_mapping = copy.deepcopy(mapping)
        self.details = self.model.details and self.model.details.to(self.device)
        resolution = self.config.shape_resolution
        if self.details is None and 0 < resolution < self.model.config.resolution:
            first = 2 * int(math.log2(resolution)) - 3
            self.details = Details(first, self.original_mapping, self.model.w_mean.to(self.device))
        trains_shift = self.config.trainable == "w_shift"
        self.trainable = {
            name: parameter for name, parameter in mapping.named_parameters() if (name == "w_shift") == trains_shift
        }
        for parameter in self.trainable.values():
            parameter.requires_grad_(True)
        self.average = {name: parameter.detach().clone() for name, parameter in self.trainable.items()}
        self._initial = {name: parameter.detach().clone() for name, parameter in self.trainable.items()}
        self.optimizer = lazy_adam(self.trainable.values(), self.config.learning_rate)

    def _build_discriminators(self) -> None:
        config = self.config
        self._discriminators = {"sketch": self._new_discriminator(config.sketch_discriminator)}
        if self.regularisation in ("images", "generator"):
            self._discriminators["image"] = self._new_discriminator("pretrained")
        r1_every = config.r1_every if config.r1_gamma else 0
        self._optimizers = {
            name: lazy_adam(discriminator.parameters(), config.discriminator_learning_rate, r1_every)
            for name, discriminator in self._discriminators.items()
        }

    def _new_discriminator(self, start: str) -> Discriminator:
        if start == "pretrained" and self.model.discriminator is not None:
            discriminator = _copy(self.model.discriminator, self.device)
        else:
            with seeded_init(self.config.seed):
                discriminator = Discriminator(self.model.config).to(self.device)
        discriminator.requires_grad_(True)
        if discriminator.mapping is not None:
            discriminator.mapping.w_shift.requires_grad_(False)
        return discriminator

    def _poll_inside(self, *networks: nn.Module) -> None:
        """Call `poll` after every larger layer, forwards and backwards, so that cancelling is prompt."""

        def hook(_module, _inputs, output):
            self.poll()
            if output.requires_grad:
                output.register_hook(lambda _gradient: self.poll())

        for network in networks:
            for module in network.modules():
                if isinstance(module, (StyledConv, EqualConv, nn.Conv2d, nn.ConvTranspose2d)):
                    module.register_forward_hook(hook)

    def step(self) -> StepReport:
        """One training step: both discriminators, every `r1_every` steps their R1, then the mapping network.

        `poll` may raise at any time to stop. The finished phases of the step are kept, and the next call goes on with
        the phase that was interrupted. Raises FloatingPointError, before any weight is changed, when a loss or gradient
        is not finite.
        """
        started = time.perf_counter()
        losses: dict[str, Tensor] = {}
        timings: dict[str, float] = {}
        try:
            with torch.inference_mode(False), torch.enable_grad():
                for number, (name, phase) in enumerate(self._phases()):
                    if number < self.phases_done:
                        continue
                    phase_started = time.perf_counter()
                    with torch.autocast(self.device.type, torch.bfloat16, enabled=self._uses_bfloat16):
                        losses |= phase(number)
                    timings[name] = time.perf_counter() - phase_started
                    self.phases_done += 1
        except BaseException:
            self._discard_phase()
            raise
        self._batches.clear()
        self.steps_done += 1
        self.phases_done = 0
        values = {name: float(value) for name, value in losses.items()}
        return StepReport(self.steps_done - 1, values, time.perf_counter() - started, timings)

    def _discard_phase(self) -> None:
        """Forget what an interrupted phase has left: gradients, a partly freed graph, a frozen discriminator."""
        self._batches.clear()
        for optimizer in (self.optimizer, *self._optimizers.values()):
            optimizer.zero_grad(set_to_none=True)
            set_trainable(optimizer, True)

    def _phases(self) -> list[tuple[str, Callable[[int], Losses]]]:
        """The parts of a step in order. Each ends with one optimiser update; their number in the list seeds them."""
        phases: list[tuple[str, Callable[[int], Losses]]] = []
        if self.config.warm_start and self.steps_done == 0:
            phases.append(("warm start", self._warm_start))
        phases += [(f"D {name}", partial(self._update_discriminator, name)) for name in self._discriminators]
        if self.config.r1_gamma and self.steps_done % self.config.r1_every == 0:
            phases += [(f"R1 {name}", partial(self._update_r1, name)) for name in self._discriminators]
        return [*phases, ("G", self._update_generator)]

    def _update(
        self, name: str, optimizer: torch.optim.Optimizer, compute: Callable[[torch.Generator], Losses], number: int
    ) -> Losses:
        """One update from the gradients that `compute` adds up for each micro-batch, in phase `number` of the step."""

        def compute_part(index: int) -> Losses:
            self.poll()
            rng = self.micro_batches.stream(index, self.config.seed, "phase", self.steps_done, number)
            return {key: loss.detach() for key, loss in compute(rng).items()}

        losses = self.micro_batches.gradients(optimizer.param_groups[0]["params"], compute_part)
        update(optimizer, torch.stack(list(losses.values())), name, self.steps_done)
        return losses

    @torch.no_grad()
    def _warm_start(self, _number: int) -> Losses:
        """Shift all w towards the samples, of some hundreds, whose drawings are nearest to each sketch."""
        small = self.model.config.resolution <= 128
        shifted = shift_towards(
            replace(
                self.model,
                generator=self.generator,
                w_mean=self.model.w_mean.to(self.device),
                details=self.details,
            ),
            self.sketches,
            self._to_drawings,
            pool=512 if small else 128,
            nearest=16 if small else 8,
            per_sketch=True,
            strength=self.config.warm_start,
            spread=self.config.warm_spread if self.config.trainable == "mapping" else 1.0,
            seed=self.config.seed,
            label=self.config.class_index if self.model.config.class_count else None,
            batch=self.micro_batches.size,
            on_batch=lambda *_: self.poll(),
            share=self.team.map,
        )
        weights = shifted.generator.mapping.state_dict()
        weights = self.team.first(lambda: {name: value.cpu() for name, value in weights.items()})
        self.generator.mapping.load_state_dict(weights)
        for name, parameter in self.trainable.items():
            self.average[name].copy_(parameter)
            self._initial[name].copy_(parameter)
        return {}

    def _update_discriminator(self, name: str, number: int) -> Losses:
        return self._update(f"D {name}", self._optimizers[name], partial(self._discriminator_losses, name), number)

    def _discriminator_losses(self, name: str, rng: torch.Generator) -> Losses:
        images, drawings = self._generate("shared images", part_of(rng))
        fake = images if name == "image" else drawings
        real = self._real(name, rng)
        # One backward pass after each half: the gradients add up and only one graph is in memory at a time.
        on_fake = fake_loss(self._logits(name, fake.detach(), rng), self.config.loss)
        (on_fake * self._weights[name]).backward()
        self.poll()
        on_real = real_loss(self._logits(name, real, rng), self.config.loss)
        (on_real * self._weights[name]).backward()
        return {f"D {name} fake": on_fake, f"D {name} real": on_real}

    def _update_r1(self, name: str, number: int) -> Losses:
        return self._update(f"R1 {name}", self._optimizers[name], partial(self._r1_losses, name), number)

    def _r1_losses(self, name: str, rng: torch.Generator) -> Losses:
        real = self._real(name, rng).detach().requires_grad_(True)
        penalty = r1_penalty(self._logits(name, real, rng), real)
        (penalty * (self.config.r1_gamma / 2 * self.config.r1_every * self._weights[name])).backward()
        return {f"R1 {name}": penalty}

    def _update_generator(self, number: int) -> Losses:
        losses = self._update("G", self.optimizer, self._generator_losses, number)
        self._update_average()
        return losses

    def _generator_losses(self, rng: torch.Generator) -> Losses:
        purpose = "shared images" if self.config.share_fakes else "generator's images"
        images, drawings = self._generate(purpose, part_of(rng), with_graph=True)
        # The gradients are first gathered at drawings and images, one discriminator at a time, then sent once through
        # G: only one discriminator's activations are in memory at a time.
        outputs = {"sketch": drawings, "image": images}
        leaves = {name: outputs[name].detach().requires_grad_(True) for name in self._discriminators}
        losses = {}
        for name, leaf in leaves.items():
            set_trainable(self._optimizers[name], False)
            loss = generator_loss(self._logits(name, leaf, rng), self.config.loss)
            (loss * self._weights[name]).backward()
            set_trainable(self._optimizers[name], True)
            losses[f"G {name}"] = loss.detach()
            self.poll()
        if self.config.distance_weight:
            loss = self._sketch_distance(leaves["sketch"])
            (loss * self.config.distance_weight).backward()
            losses["sketch distance"] = loss.detach()
        torch.autograd.backward([outputs[name] for name in leaves], [leaf.grad for leaf in leaves.values()])
        if self.regularisation == "weights":
            penalty = weight_penalty(list(self.trainable.values()), list(self._initial.values()))
            (penalty * self.config.weight_penalty).backward()
            losses["weights"] = penalty.detach()
        return losses

    def _sketch_distance(self, drawings: Tensor) -> Tensor:
        """Mean distance, in image sides, of drawings [B,1,R,R] to the sketch that each is nearest to."""
        nearest = self._chamfer(_shrink_lines(drawings.detach().float())).argmin(dim=1).tolist()
        with full_precision(drawings):
            distances = [self._distance_to(k).distance(drawing.float()) for k, drawing in zip(nearest, drawings)]
            return torch.stack(distances).mean()

    def _distance_to(self, index: int) -> SketchDistance:
        """The differentiable distance to one sketch; the latest are kept, up to DISTANCES_BYTES in all."""
        if index not in self._distances:
            distance = SketchDistance(self.sketches[index], side=DISTANCE_SIDE)
            while self._distances and sum(d.nbytes for d in (distance, *self._distances.values())) > DISTANCES_BYTES:
                del self._distances[next(iter(self._distances))]
            self._distances[index] = distance
        return self._distances[index]

    def _generate(self, purpose: str, part: Part, *, with_graph: bool = False) -> tuple[Tensor, Tensor]:
        """The step's images [B,3,R,R] and their drawings [B,1,R,R] of a micro-batch, from the stream `purpose`.

        A single micro-batch keeps its graph for the generator's update; of several, or with gradient checkpointing,
        that would need all the memory that they save.
        """
        keeps_graph = self.config.share_fakes and len(self.micro_batches.own) == 1 and not self._recomputes
        with_graph = with_graph or keeps_graph
        key = purpose, part.index, with_graph
        if key not in self._batches:
            if with_graph:
                self._batches.clear()  # free the memory of earlier batches first
            rng = stream(self.config.seed, purpose, self.steps_done, part=part)
            with torch.set_grad_enabled(with_graph):
                images = synthesize(self.generator, self._styles(self.generator.mapping, rng), rng)
                self.poll()
                self._batches[key] = images, self._to_drawings(images)
        return self._batches[key]

    def _styles(self, mapping: Mapping, rng: torch.Generator) -> Tensor:
        """Random w+ of the class that is customised: [B,L,w_dim]."""
        config, size = self.model.config, self.micro_batches.size
        return random_styles(mapping, config, size, self.config.style_mixing, rng, self._labels, self.details)

    def _to_drawings(self, images: Tensor) -> Tensor:
        """F: images [B,3,R,R] -> drawings [B,1,R,R], drawn at the size that `sketch_scale` says."""
        halvings = round(-math.log2(self.config.sketch_scale))
        for _ in range(halvings):
            images = F.interpolate(images, scale_factor=0.5, mode="bicubic")
        drawings = self.photosketch(images)
        for _ in range(halvings):
            drawings = F.interpolate(drawings, scale_factor=2.0, mode="bicubic")
        return drawings

    def _logits(self, name: str, x: Tensor, rng: torch.Generator) -> Tensor:
        """What a discriminator says of its input: [B,1]. Only the input of D_Y is augmented."""
        if name == "sketch":
            x = augment(x.expand(-1, 3, -1, -1), self.config.augmentation, rng)
        return self._discriminators[name](x, self._labels)

    @torch.no_grad()
    def _real(self, name: str, rng: torch.Generator) -> Tensor:
        """A batch of sketches y, or of images x: the user's, or samples of the original generator."""
        shape = (self.micro_batches.size,)
        if name == "sketch":
            chosen = random_samples(partial(torch.randint, len(self.sketches)), shape, rng)
            return self.sketches[chosen.to(self.device)]
        if self.regularisation == "images" and self.images is not None:
            chosen = random_samples(partial(torch.randint, len(self.images)), shape, rng)
            return self.images.batch(chosen).to(self.device)
        return synthesize(self.generator, self._styles(self.original_mapping, rng), rng)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        for name, parameter in self.trainable.items():
            self.average[name].lerp_(parameter, 1 - decay)

    def result(self) -> GanModel:
        """The customised model so far, with averaged weights if `ema` is above 0, and the base's discriminator."""
        with torch.inference_mode(False), torch.no_grad():
            generator = _copy(self.generator, self.model.w_mean.device)
            parameters = dict(generator.mapping.named_parameters())
            trained = self.average if self.config.ema else self.trainable
            for name, value in trained.items():
                parameters[name].copy_(value)
            w_mean = generator.mean_w()
        name = f"{self.model.name}, customised"
        metadata = {"base_name": self.model.name, **self.model.metadata}
        details = self.details and self.details.to(self.model.w_mean.device)
        return replace(self.model, generator=generator, w_mean=w_mean, name=name, metadata=metadata, details=details)

    def parts(self) -> dict:
        return {
            "mapping": self.generator.mapping,
            "initial": self._initial,
            "average": self.average,
            "optimizer": self.optimizer,
            "discriminators": self._discriminators,
            "optimizers": self._optimizers,
        }

    def state_dict(self) -> dict:
        return {"phase": self.phases_done, **super().state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.phases_done = int(state["phase"])
        self._batches.clear()


def _shrink_lines(drawings: Tensor) -> Tensor:
    """[N,1,R,R] -> [N,1,S,S], S at most DISTANCE_SIDE: each pixel is the darkest of those it replaces."""
    return -F.adaptive_max_pool2d(-drawings, min(DISTANCE_SIDE, drawings.shape[-1]))


def _copy(network: Network, device: torch.device) -> Network:
    """A frozen copy in evaluation mode that can enter autograd even if the original was made in inference mode."""
    with torch.device("meta"):  # no random weights are made only to be overwritten
        twin = type(network)(network.config)
    weights = {name: value.detach().to(device, copy=True) for name, value in network.state_dict().items()}
    twin.load_state_dict(weights, assign=True)
    return twin.eval().requires_grad_(False)
