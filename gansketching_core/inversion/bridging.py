"""Fitting a latent bridge between two models, to their images or to pairs of latents, and how good it is."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..evaluation.metrics import psnr
from ..images import resize
from ..latents.bridge import FEWEST, Fit, LatentBridge, PairKind, fit_bridge, identity
from ..latents.latent_files import load_fit, save_bridge
from ..latents.model_mixing import check_common_base
from ..latents.sampling import render, sample_z
from ..latents.spaces import Latents, to_w
from ..networks.stylegan2 import GanModel
from ..options import Options, option
from .bridge_training import BATCH, BridgeTrainer
from .image import ProjectConfig, Projector

CHUNK = 32  # samples projected at a time
REPEATS = 20  # of the bridge's timing
SAVE_EVERY = 20  # steps of a training on images


class BridgeConfig(Options):
    """How a bridge is fitted."""

    pairs: PairKind = option(
        "none",
        "none: compares images of both models. projected: projects images into the target first; slow. same z: for two "
        "models of one base.",
    )
    samples: int = option(4096, "Latents to learn from. For projected pairs, a few hundred.", ge=FEWEST, le=1_000_000)
    held_out: int = option(32, "Further latents, which are only used to measure the bridge.", ge=1, le=10_000)
    fit: Fit = option("auto", "ridge: linear. mlp: with a small network. auto: the network where it is better.")
    realism: float = option(
        0.0,
        "For pairs none. 0: as similar as possible. 0.01 or more: rather images that are typical of the target.",
        ge=0,
        le=1,
    )
    steps: int = option(100, "Optimisation steps of a projection.", ge=1, le=10_000)
    pool: int = option(512, "Random samples to start a projection from the best of.", ge=1, le=100_000)
    batch: int = option(16, "Images in memory at a time.", ge=1, le=256)
    seed: int = option(0, "Seed of the samples.", ge=0, le=2**53 - 1)


@dataclass(frozen=True)
class BridgeReport:
    """Figures on held-out latents: medians over the images, compared with those that the target should make.

    These are the source's images, or for pairs "same z" the target's images of the same z, for which nothing is
    projected. Figures of projections are None if there are none.
    """

    samples: int
    held_out: int
    mlp: bool
    psnr: float  # of the bridged latents' images, in dB
    psnr_of_average: float  # of the target's average image
    psnr_of_projections: float | None
    features: float | None  # squared distance in the target's discriminator; None if it has none
    features_of_projections: float | None
    seconds: float  # for one latent
    seconds_of_projections: float | None

    def __str__(self) -> str:
        network = "with an MLP" if self.mlp else "linear"
        lines = [
            f"Bridge fitted to {self.samples} samples ({network}), measured on {self.held_out} others.",
            f"PSNR: {self.psnr:.1f} dB bridged, {self.psnr_of_average:.1f} dB for the average image.",
        ]
        if self.psnr_of_projections is not None:
            lines += [
                f"Projected one by one: {self.psnr_of_projections:.1f} dB; the bridge has "
                f"{self.psnr / self.psnr_of_projections:.0%} of it, in {self.seconds:.2g} seconds a latent instead of "
                f"{self.seconds_of_projections:.2g}.",
            ]
        if self.features is not None:
            direct = "" if self.features_of_projections is None else f", {self.features_of_projections:.3f} projected"
            lines.append(f"Feature distance: {self.features:.3f} bridged{direct}.")
        return "\n".join(lines)


class BridgeFitter:
    """Fits a bridge from the w of `source` to the w of `target`, step by step. No model is changed.

    Pairs "none": the bridge is trained on images (BridgeTrainer), and the held-out samples are projected to compare it.
    Pairs "projected": w of random samples of the source, and the w of the target to which their images are projected.
    Pairs "same z": what the mapping networks of both make of the same z; both need to share a base. The first
    `held_out` samples only measure the bridge. `poll` is called often and may raise to stop; `result` then is that of
    the steps so far.

    Args:
        keep: a bridge file. What is done is kept in it, and a fit of the same models with the same options goes on.
    """

    def __init__(
        self,
        source: GanModel,
        target: GanModel,
        config: BridgeConfig = BridgeConfig(),  # noqa: B008 (frozen)
        *,
        keep: Path | None = None,
    ):
        if config.pairs == "same z":
            check_common_base(source, target)
        self.source, self.target, self.config, self.keep = source, target, config, keep
        self.poll: Callable[[], None] = lambda: None
        self._key = self._hash()
        self._trainer: BridgeTrainer | None = None
        if config.pairs == "none":
            options = config.model_dump(include={"samples", "realism", "batch", "seed"})
            self._trainer = BridgeTrainer(source, target, network=config.fit != "ridge", **options)
            self._trainer.poll = lambda: self.poll()
        count = config.held_out + (0 if self._trainer else config.samples)
        self._chunks = math.ceil(count / CHUNK)
        self._pairs: list[dict[str, Tensor]] = []
        self._projector: Projector | None = None
        self._started = 0.0
        self._restore()
        self.steps_total = self._chunks * self._steps_a_chunk
        self.steps_done = len(self._pairs) * self._steps_a_chunk
        if self._trainer:
            self.steps_total += self._trainer.steps_total
            self.steps_done += self._trainer.steps_done

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    @property
    def _steps_a_chunk(self) -> int:
        return 1 if self.config.pairs == "same z" else self.config.steps

    def step(self) -> dict[str, float]:
        """A step of the training, one of the projection of some samples, or a batch of the same z -> psnr in dB."""
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        self.steps_done += 1
        if self._trainer and not self._trainer.finished:
            figures = self._trainer.step()
            if self._trainer.finished or self._trainer.steps_done % SAVE_EVERY == 0:
                self._save(self._fit("ridge"))
            return figures
        return self._step_of_pairs()

    def _step_of_pairs(self) -> dict[str, float]:
        if self._projector is None:
            self._started = time.perf_counter()
            start = len(self._pairs) * CHUNK
            self._z = sample_z(self.source, start + CHUNK, self.config.seed)[start:]
            self._source_w = to_w(self.source, self._z).data
        return self._map() if self.config.pairs == "same z" else self._project()

    def _project(self) -> dict[str, float]:
        if self._projector is None:
            images = resize(self._render(self.source, self._source_w), self.target.config.resolution)
            options = self.config.model_dump(include={"steps", "pool", "batch", "seed"})
            self._projector = Projector(self.target, images, ProjectConfig(space="w", starts=1, **options))
            self._projector.poll = self.poll
        figures = self._projector.step()
        if self._projector.finished:
            result = self._projector.result()
            self._add(result.latents.data, result.psnr)
            self._projector = None
        return {"psnr": figures["psnr"]}

    @torch.no_grad()
    def _map(self) -> dict[str, float]:
        self.poll()
        self._add(to_w(self.target, self._z).data, torch.zeros(CHUNK))
        return {}

    def _add(self, target_w: Tensor, decibels: Tensor) -> None:
        seconds = torch.full((CHUNK,), (time.perf_counter() - self._started) / CHUNK)
        pair = {"source": self._source_w, "target": target_w, "psnr": decibels, "seconds": seconds}
        self._pairs.append({name: tensor.detach().float().cpu() for name, tensor in pair.items()})
        if self.config.pairs != "same z" and self._samples_done >= self._least:
            self._save(self._fit("ridge"))

    @property
    def _samples_done(self) -> int:
        """Samples that were learned from."""
        if self._trainer:
            return min(self._trainer.steps_done * BATCH, self.config.samples)
        return min(len(self._pairs) * CHUNK - self.config.held_out, self.config.samples)

    @property
    def _least(self) -> int:
        return 1 if self._trainer else FEWEST

    @torch.no_grad()
    def result(self) -> tuple[LatentBridge, BridgeReport]:
        """The bridge, fitted to the samples so far, and its figures on those that were held out."""
        if self._samples_done < self._least:
            raise ValueError(
                f"only {max(self._samples_done, 0)} samples to learn from are done; a bridge needs {self._least}"
            )
        bridge = self._fit(self.config.fit)
        report = self._measure(bridge)
        texts = {name: str(value) for name, value in vars(report).items()}
        bridge = replace(bridge, report=texts)
        self._save(bridge)
        return bridge, report

    def _fit(self, fit: Fit) -> LatentBridge:
        config = self.config
        if self._trainer:
            bridge = self._trainer.bridge()
        else:
            pairs, rows = self._joined(), slice(config.held_out, config.held_out + config.samples)
            bridge = fit_bridge(pairs["source"][rows], pairs["target"][rows], fit, config.seed)
        models = {"source": self.source.name, "target": self.target.name, "kind": config.pairs}
        hashes = {
            "source_hash": identity(self.source, config.pairs),
            "target_hash": identity(self.target, config.pairs),
        }
        return replace(bridge, **models, **hashes)

    def _measure(self, bridge: LatentBridge) -> BridgeReport:
        config = self.config
        w = to_w(self.source, sample_z(self.source, config.held_out, config.seed)).data
        direct = None
        if len(self._pairs) * CHUNK >= config.held_out:
            direct = self._render(self.target, self._joined()["target"][: config.held_out].to(w))
        if config.pairs == "same z" and direct is not None:
            truth = direct
        else:
            truth = resize(self._render(self.source, w), self.target.config.resolution)
        started = time.perf_counter()
        for _ in range(REPEATS):
            crossed = bridge(w)
        seconds = (time.perf_counter() - started) / REPEATS / len(w)
        bridged = self._render(self.target, crossed)
        mean = self._render(self.target, self.target.w_mean.expand(len(w), -1))
        report = BridgeReport(
            samples=self._samples_done,
            held_out=len(w),
            mlp=bool(len(bridge.out)),
            psnr=float(psnr(bridged, truth).median()),
            psnr_of_average=float(psnr(mean, truth).median()),
            psnr_of_projections=None,
            features=self._feature_distance(bridged, truth),
            features_of_projections=None,
            seconds=seconds,
            seconds_of_projections=None,
        )
        if direct is None or config.pairs == "same z":
            return report
        return replace(
            report,
            psnr_of_projections=float(psnr(direct, truth).median()),
            features_of_projections=self._feature_distance(direct, truth),
            seconds_of_projections=float(self._joined()["seconds"].median()),
        )

    def _feature_distance(self, images: Tensor, truth: Tensor) -> float | None:
        """Median over the images of the squared distance of unit features, averaged over the discriminator's blocks."""
        if self.target.discriminator is None:
            return None
        total = torch.zeros(len(images), device=images.device)
        levels = [self.target.discriminator.features(x.clamp(-1, 1)) for x in (images, truth)]
        for a, b in zip(*levels):
            unit = [x * (x.square().sum(dim=1, keepdim=True) + 1e-8).rsqrt() for x in (a, b)]
            total += (unit[0] - unit[1]).square().sum(dim=1).mean(dim=(1, 2)) / len(levels[0])
        return float(total.median())

    def _render(self, model: GanModel, w: Tensor) -> Tensor:
        poll = lambda *_: self.poll()  # noqa: E731
        return render(model, Latents("w", w), batch=self.config.batch, on_batch=poll)

    def _joined(self) -> dict[str, Tensor]:
        return {name: torch.cat([pair[name] for pair in self._pairs]) for name in self._pairs[0]}

    def _hash(self) -> str:
        """What the kept state depends on; the number of pairs only decides how many there are."""
        names = {"pairs", "steps", "pool", "batch", "seed"}
        if self.config.pairs == "none":
            names |= {"samples", "fit", "realism"}
        options = self.config.model_dump(include=names)
        models = [identity(model, self.config.pairs) for model in (self.source, self.target)]
        return hashlib.sha256(repr((models, sorted(options.items()), CHUNK)).encode()).hexdigest()

    def _save(self, bridge: LatentBridge) -> None:
        if self.keep is None:
            return
        state = self._joined() if self._pairs else {}
        if self._trainer:
            state |= {f"training.{name}": tensor for name, tensor in self._trainer.state().items()}
        save_bridge(replace(bridge, report={**bridge.report, "fit_key": self._key}), self.keep, state)

    def _restore(self) -> None:
        """Takes over what an earlier call has done."""
        if self.keep is None or self.config.pairs == "same z" or not self.keep.is_file():
            return
        state, metadata = load_fit(self.keep)
        if metadata.get("fit_key") != self._key or not state:
            return
        if self._trainer:
            names = [name for name in state if name.startswith("training.")]
            self._trainer.restore({name.removeprefix("training."): state.pop(name) for name in names})
        chunks = min(len(state["source"]) // CHUNK, self._chunks) if state else 0
        self._pairs = [
            {name: tensor[k * CHUNK : (k + 1) * CHUNK] for name, tensor in state.items()} for k in range(chunks)
        ]
