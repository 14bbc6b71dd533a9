"""Fitting a latent bridge between two models: pairs of latents whose images agree, and how good the bridge is."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..evaluation.metrics import psnr
from ..images import resize
from ..latents.bridge import FEWEST, Fit, LatentBridge, PairKind, fit_bridge, identity
from ..latents.latent_files import load_pairs, save_bridge
from ..latents.model_mixing import check_common_base
from ..latents.sampling import render, sample_z
from ..latents.spaces import Latents, to_w
from ..networks.stylegan2 import GanModel
from ..options import Options, option
from .image import ProjectConfig, Projector

CHUNK = 32  # samples projected at a time
REPEATS = 20  # of the bridge's timing


class BridgeConfig(Options):
    """How a bridge is fitted."""

    pairs: PairKind = option(
        "projected", "projected: images of one model are projected into the other. same z: for two models of one base."
    )
    samples: int = option(512, "Pairs to fit the bridge to. Projecting them takes long.", ge=FEWEST, le=1_000_000)
    held_out: int = option(32, "Further pairs, which are only used to measure the bridge.", ge=1, le=10_000)
    fit: Fit = option("auto", "ridge: linear. mlp: with a small network. auto: the network where it is better.")
    steps: int = option(100, "Optimisation steps of a projection.", ge=1, le=10_000)
    pool: int = option(512, "Random samples to start a projection from the best of.", ge=1, le=100_000)
    batch: int = option(16, "Images in memory at a time.", ge=1, le=256)
    seed: int = option(0, "Seed of the samples.", ge=0, le=2**53 - 1)


@dataclass(frozen=True)
class BridgeReport:
    """Figures on held-out latents: medians over the images, compared with those that the target should make.

    These are the source's images for pairs "projected", and the target's images of the same z for "same z", for which
    nothing is projected.
    """

    pairs: int
    held_out: int
    mlp: bool
    psnr: float  # of the bridged latents' images, in dB
    psnr_of_average: float  # of the target's average image
    psnr_of_projections: float | None
    features: float | None  # squared distance in the target's discriminator; None if it has none
    features_of_projections: float | None
    seconds: float  # for one latent
    seconds_of_projections: float

    def __str__(self) -> str:
        network = "with an MLP" if self.mlp else "linear"
        lines = [
            f"Bridge fitted to {self.pairs} pairs ({network}), measured on {self.held_out} others.",
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
    """Makes pairs step by step, then fits a bridge from the w of `source` to the w of `target`. No model is changed.

    Pairs "projected": w of random samples of the source, and the w of the target to which their images are projected.
    Pairs "same z": what the mapping networks of both make of the same z; both need to share a base. The first
    `held_out` pairs only measure the bridge. `poll` is called often and may raise to stop; `result` then fits to the
    pairs so far.

    Args:
        keep: a bridge file. Pairs are kept in it, and those that it already has for these models and options are used.
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
        self._chunks = -(-(config.held_out + config.samples) // CHUNK)
        self._pairs: list[dict[str, Tensor]] = []
        self._projector: Projector | None = None
        self._started = 0.0
        self._restore()
        self.steps_total = self._chunks * self._steps_a_chunk
        self.steps_done = len(self._pairs) * self._steps_a_chunk

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    @property
    def _steps_a_chunk(self) -> int:
        return self.config.steps if self.config.pairs == "projected" else 1

    def step(self) -> dict[str, float]:
        """One step of the projection of some samples, or a batch of pairs of the same z -> the median psnr in dB."""
        if self.finished:
            raise ValueError(f"all {self.steps_total} steps are done")
        if self._projector is None:
            self._started = time.perf_counter()
            start = len(self._pairs) * CHUNK
            self._z = sample_z(self.source, start + CHUNK, self.config.seed)[start:]
            self._source_w = to_w(self.source, self._z).data
        figures = self._project() if self.config.pairs == "projected" else self._map()
        self.steps_done += 1
        return figures

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
        if self.config.pairs == "projected" and len(self._pairs) * CHUNK >= self._least:
            self._save(self._fit("ridge"))

    @property
    def _least(self) -> int:
        return self.config.held_out + FEWEST

    @torch.no_grad()
    def result(self) -> tuple[LatentBridge, BridgeReport]:
        """The bridge, fitted to the pairs so far, and its figures on those that were held out."""
        done = len(self._pairs) * CHUNK
        if done < self._least:
            raise ValueError(f"only {done} pairs are done; a bridge needs {self._least}, with those that are held out")
        bridge = self._fit(self.config.fit)
        report = self._measure(bridge)
        texts = {name: str(value) for name, value in vars(report).items()}
        bridge = replace(bridge, report=texts)
        self._save(bridge)
        return bridge, report

    def _fit(self, fit: Fit) -> LatentBridge:
        config, pairs = self.config, self._joined()
        rows = slice(config.held_out, config.held_out + config.samples)
        bridge = fit_bridge(pairs["source"][rows], pairs["target"][rows], fit, config.seed)
        models = {"source": self.source.name, "target": self.target.name, "kind": config.pairs}
        hashes = {
            "source_hash": identity(self.source, config.pairs),
            "target_hash": identity(self.target, config.pairs),
        }
        return replace(bridge, **models, **hashes)

    def _measure(self, bridge: LatentBridge) -> BridgeReport:
        config, pairs = self.config, self._joined()
        device = self.target.w_mean.device
        w = pairs["source"][: config.held_out].to(device)
        direct = self._render(self.target, pairs["target"][: config.held_out].to(device))
        if config.pairs == "projected":
            truth = resize(self._render(self.source, w), self.target.config.resolution)
        else:
            truth = direct
        started = time.perf_counter()
        for _ in range(REPEATS):
            crossed = bridge(w)
        seconds = (time.perf_counter() - started) / REPEATS / len(w)
        bridged = self._render(self.target, crossed)
        mean = self._render(self.target, self.target.w_mean.expand(len(w), -1))
        projected = config.pairs == "projected"
        return BridgeReport(
            pairs=min(len(pairs["source"]) - config.held_out, config.samples),
            held_out=len(w),
            mlp=bool(len(bridge.out)),
            psnr=float(psnr(bridged, truth).median()),
            psnr_of_average=float(psnr(mean, truth).median()),
            psnr_of_projections=float(psnr(direct, truth).median()) if projected else None,
            features=self._feature_distance(bridged, truth),
            features_of_projections=self._feature_distance(direct, truth) if projected else None,
            seconds=seconds,
            seconds_of_projections=float(pairs["seconds"].median()),
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
        """What pairs depend on; the number of samples only decides how many there are."""
        options = self.config.model_dump(include={"pairs", "steps", "pool", "batch", "seed"})
        models = [identity(model, self.config.pairs) for model in (self.source, self.target)]
        return hashlib.sha256(repr((models, sorted(options.items()), CHUNK)).encode()).hexdigest()

    def _save(self, bridge: LatentBridge) -> None:
        if self.keep is None:
            return
        report = {**bridge.report, "pairs_key": self._key}
        save_bridge(replace(bridge, report=report), self.keep, self._joined())

    def _restore(self) -> None:
        """Takes over the pairs of an earlier call."""
        if self.keep is None or self.config.pairs != "projected" or not self.keep.is_file():
            return
        tensors, metadata = load_pairs(self.keep)
        if metadata.get("pairs_key") != self._key or not tensors:
            return
        chunks = min(len(tensors["source"]) // CHUNK, self._chunks)
        self._pairs = [
            {name: tensor[k * CHUNK : (k + 1) * CHUNK] for name, tensor in tensors.items()} for k in range(chunks)
        ]
