"""The study: customised models against baselines and ablations, after Tables 1 to 4 of "Sketch Your Own GAN"."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints.hashes import weights_hash
from ..datasets import ImageSet, hold_out, image_names, kind_of, load_images
from ..evaluation.metrics import FeatureStatistics, frechet_distance, kernel_distance, precision_recall
from ..files import atomic_write
from ..images import save_png
from ..latents.mean_shift import shift_towards
from ..latents.sampling import render, sample_drawings, sample_z
from ..networks.feature_networks import extract
from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from ..sketches.distance import chamfer
from ..sketches.prepare import prepare_sketches
from ..training.finetune_config import FinetuneConfig
from ..training.finetune_run import customise
from ..training.placement import PlacementConfig, placed

SKETCHES = 30
SHOWN = 12  # pictures of a cell that the sheets show
REGULARISING = 500  # photos of the regularisation by images
PAPER_STEPS = 1500


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    preset, options: of a fine-tuning. shift: a mean shift in w instead, by "drawings" or "features", `strength` times
    as far (None: the preset's warm start, with its spread). sketches: how many; human: Quick, Draw! ones. photos: no
    model at all but training photos of the class, to show what the metrics say of pictures that are right.
    """

    title: str
    group: str = "main"
    preset: str = ""
    options: dict = field(default_factory=dict)
    shift: str = ""
    strength: float | None = 1.0
    sketches: int = SKETCHES
    human: bool = False
    photos: bool = False


METHODS: dict[str, Method] = {
    "original": Method("original model"),
    "shift": Method("mean shift in w, by drawings", shift="drawings"),
    "shift-features": Method("mean shift in w, by features of drawings", shift="features"),
    "w-shift": Method("trained shift of w", preset="fast", options={"trainable": "w_shift", "warm_start": 0.0}),
    "fast": Method("full method, preset fast", preset="fast"),
    "photos": Method("training photos of the class", photos=True),
    "paper": Method(
        f"full method, preset paper, {PAPER_STEPS:,} steps",
        "paper",
        preset="paper",
        options={"steps": PAPER_STEPS, "batch_statistics": False},
    ),
    "fast-5": Method("5 line drawings", "sketches", preset="fast", sketches=5),
    "fast-1": Method("1 line drawing", "sketches", preset="fast", sketches=1),
    "human-5": Method("5 Quick, Draw! sketches", "sketches", preset="fast", sketches=5, human=True),
    "human-1": Method("1 Quick, Draw! sketch", "sketches", preset="fast", sketches=1, human=True),
    "cold": Method("without the warm start", "ablations", preset="fast", options={"warm_start": 0.0}),
    "no-lines": Method("without the distance of lines", "ablations", preset="fast", options={"distance_weight": 0.0}),
    "wide": Method("warm start with the whole spread of w", "ablations", preset="fast", options={"warm_spread": 1.0}),
    "warm-only": Method("the warm start alone", "ablations", shift="drawings", strength=None),
    "no-image-term": Method("no regularisation", "ablations", preset="fast", options={"regularisation": "none"}),
    "weights": Method("regularisation by weights", "ablations", preset="fast", options={"regularisation": "weights"}),
    "images": Method("regularisation by photos", "ablations", preset="fast", options={"regularisation": "images"}),
    "lambda-0.7": Method("the paper's lambda of 0.7", "ablations", preset="fast", options={"image_weight": 0.7}),
    "no-augmentation": Method("without augmentation", "ablations", preset="fast", options={"augmentation": ""}),
    "scratch": Method("D_Y from scratch", "ablations", preset="fast", options={"sketch_discriminator": "scratch"}),
}


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    target: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.target}.{self.method}.{self.seed}"


def plan(targets: Sequence[str], methods: Sequence[str], seeds: int, human: Iterable[str] = ()) -> list[Cell]:
    """The cells in the order that makes partial results useful: the main table for every class and the first seed, the
    ablations, the numbers of sketches, further seeds of the main table, and the paper's preset, which takes longest."""
    for name in methods:
        if name not in METHODS:
            raise ValueError(f'method "{name}" is unknown; use some of {", ".join(METHODS)}')
    with_human = set(human)
    rounds = [
        ("main", 0),
        ("ablations", 0),
        ("sketches", 0),
        *(("main", seed) for seed in range(1, seeds)),
        ("paper", 0),
    ]
    cells = [
        Cell(target, name, seed)
        for group, seed in rounds
        for target in targets
        for name in methods
        if METHODS[name].group == group
    ]
    return [cell for cell in cells if not METHODS[cell.method].human or cell.target in with_human]


class Study:
    """Measures cells. photos: folder or zip with one folder per variety; a class is a folder's name up to the first _.

    extractor: images -> features (features.Extractor). placement: how the model's training pictures were turned, shrunk
    and moved; photos and held-out photos are placed alike, so that no method is judged by that. human: class -> folder
    of hand-drawn sketches. samples: generated and real pictures a cell. steps: of every training, to try things out.
    """

    def __init__(
        self,
        photos: str | Path,
        model: GanModel,
        sketcher: nn.Module,
        extractor: nn.Module,
        folder: str | Path,
        *,
        placement: PlacementConfig,
        samples: int = 500,
        human: dict[str, Path] | None = None,
        steps: int | None = None,
        poll: Callable[[], None] = lambda: None,
    ):
        if samples < 16:
            raise ValueError(f"samples is {samples}; use 16 or more")
        self.photos, self.model, self.sketcher, self.extractor = Path(photos), model, sketcher, extractor
        self.folder, self.placement, self.samples = Path(folder), placement, samples
        self.human, self.poll = human or {}, poll
        self.changes = {} if steps is None else {"steps": steps}
        self._cache: dict[tuple, object] = {}
        self._train, self._held = hold_out(image_names(photos))

    # ------------------------------------------------------------------------------------------------------- the cells

    def path(self, cell: Cell) -> Path:
        return self.folder / "cells" / f"{cell}.json"

    def fingerprint(self, cell: Cell) -> str:
        """Of all that a cell depends on beside its name: kept cells of another study are not mixed in."""
        method = METHODS[cell.method]
        preset = method.preset or ("fast" if method.strength is None else "")
        options = FinetuneConfig.preset(preset, **{**method.options, **self.changes}) if preset else ""
        return hashlib.sha256(repr((self._fingerprint, str(options))).encode()).hexdigest()[:16]

    @cached_property
    def _fingerprint(self) -> str:
        parts = [weights_hash(self.model), getattr(self.extractor, "name", ""), str(self.samples)]
        digest = hashlib.sha256(repr([*parts, self.placement.model_dump_json(), type(self.sketcher).__name__]).encode())
        for tensor in self.sketcher.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def kept(self, cell: Cell) -> dict | None:
        """The result of a cell that was measured before with the same model, options and extractor."""
        try:
            found = json.loads(self.path(cell).read_text())
        except (OSError, ValueError):
            return None
        return found if found.get("fingerprint") == self.fingerprint(cell) else None

    def measure(self, cell: Cell) -> dict:
        """The numbers of a cell, measured or kept, with the extractor and the method's title."""
        if found := self.kept(cell):
            return found
        if METHODS[cell.method].photos:
            steps, seconds, images = 0, 0.0, self._photos(cell)
        else:
            model, steps, seconds = self._customised(cell)
            images = self._samples(model, cell)
        features, real = extract(self.extractor, images, on_batch=lambda _: self.poll()), self._real_features(cell)
        distances = self._distances(images, cell)
        key = ("distances", cell.target, cell.seed)
        original = self._once(key, lambda: self._distances(self._samples(self.model, cell), cell))
        kid, _ = kernel_distance(real, features, subsets=50, subset_size=min(200, self.samples // 2))
        precision, recall = precision_recall(real, features)
        result = {
            "fingerprint": self.fingerprint(cell),
            "title": METHODS[cell.method].title,
            "extractor": getattr(self.extractor, "name", type(self.extractor).__name__),
            "samples": self.samples,
            "frechet": frechet_distance(FeatureStatistics.of(real), FeatureStatistics.of(features)),
            "kid": kid,
            "precision": precision,
            "recall": recall,
            "distance": float(distances.median()),
            "beats": float((distances < original.median()).double().mean()),
            "steps": steps,
            "seconds": seconds,
        }
        path = self.path(cell)
        atomic_write(path.with_suffix(".png"), lambda temporary: save_png(_strip(images[:SHOWN]), temporary))
        atomic_write(path, lambda temporary: temporary.write_text(json.dumps(result, indent=1)))
        return result

    def _samples(self, model: GanModel, cell: Cell) -> Tensor:
        """Images [N,3,R,R] of the seed's latents."""
        latents = sample_z(self.model, self.samples, 10_000 + cell.seed)
        return render(model, latents, batch=16, on_batch=lambda *_: self.poll()).clamp(-1, 1)

    def _distances(self, images: Tensor, cell: Cell) -> Tensor:
        """From images to the nearest of the class's line drawings: [N]."""
        return chamfer(self._drawn(images), self.drawings(cell.target, cell.seed)).amin(dim=1)

    @torch.no_grad()
    def _drawn(self, images: Tensor) -> Tensor:
        return torch.cat([self.sketcher(part) for part in images.split(32)])

    def _customised(self, cell: Cell) -> tuple[GanModel, int, float]:
        """-> model, steps and seconds of its making, the reading of photos left out."""
        method, drawings = METHODS[cell.method], self.drawings(cell.target, cell.seed)
        if cell.method == "original":
            return self.model, 0, 0.0
        if method.shift:
            options = {"distance": self._by_features} if method.shift == "features" else {}
            if method.strength is None:
                preset = FinetuneConfig()
                options |= {"strength": preset.warm_start, "spread": preset.warm_spread, "per_sketch": True}
            else:
                options["strength"] = method.strength
            started = time.perf_counter()
            model = shift_towards(self.model, drawings, self.sketcher, seed=cell.seed, **options)
            return model, 0, time.perf_counter() - started
        config = FinetuneConfig.preset(method.preset, **{**method.options, **self.changes}, seed=cell.seed)
        photos = self._regularising() if config.regularisation == "images" else None
        user = self._user_drawings(cell, method)
        started = time.perf_counter()
        reference = sample_drawings(self.model, self.sketcher)
        sketches = prepare_sketches(user, self.model.config.resolution, reference=reference)
        before = time.perf_counter() - started
        run = customise(
            self.model, sketches, self.sketcher, config, images=photos, folder=self.folder / "runs", poll=self.poll
        )
        return run.model, config.steps, before + run.seconds

    # --------------------------------------------------------------------------------------------------------- the data

    def _once(self, key: tuple, make: Callable[[], object]):
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _pictures(self, names: list[str], target: str) -> Tensor:
        """Bytes [N,3,S,S] of a class."""
        chosen = [name for name in names if kind_of(name) == target]
        if not chosen:
            known = sorted({kind_of(name) for name in names})
            raise ValueError(f'there are no photos of "{target}" in {self.photos}; there are {", ".join(known)}')
        return ImageSet(self.photos, 2 * self.model.config.resolution, names=chosen).data

    def _photos(self, cell: Cell) -> Tensor:
        """As many training photos as samples, each placed anew: [N,3,R,R] in -1..1."""
        pictures, rng = self._pictures(self._train, cell.target), stream(cell.seed, "study training photos")
        return placed(
            pictures[torch.randint(len(pictures), (self.samples,), generator=rng)],
            self.model.config.resolution,
            self.placement,
            rng,
        )

    def check(self, targets: Sequence[str]) -> None:
        """Raise for a class without enough photos, before long work starts."""
        for target in targets:
            count = sum(kind_of(name) == target for name in self._train)
            if count and count < SKETCHES:
                raise ValueError(f'"{target}" has {count} training photos; the study needs {SKETCHES} for its sketches')
            self.held_out(target, 0)

    def held_out(self, target: str, seed: int) -> Tensor:
        """As many held-out photos as samples, each placed anew: [N,3,R,R] in -1..1."""

        def make() -> Tensor:
            pictures = self._pictures(self._held, target)
            rng = stream(seed, "study held-out photos")
            return placed(
                pictures[torch.arange(self.samples) % len(pictures)], self.model.config.resolution, self.placement, rng
            )

        return self._once(("held out", target, seed), make)

    def drawings(self, target: str, seed: int) -> Tensor:
        """The line drawings of 30 training photos: [30,1,R,R] in -1..1."""

        def make() -> Tensor:
            pictures, rng = self._pictures(self._train, target), stream(seed, "study drawings")
            chosen = torch.randperm(len(pictures), generator=rng)[:SKETCHES]
            return self._drawn(placed(pictures[chosen], self.model.config.resolution, self.placement, rng))

        return self._once(("drawings", target, seed), make)

    def _user_drawings(self, cell: Cell, method: Method) -> list[Tensor]:
        """The sketches a method gets, as IMAGEs [H,W,1]."""
        if method.human:
            return load_images(self.human[cell.target])[: method.sketches]
        drawings = self.drawings(cell.target, cell.seed)[: method.sketches]
        return list((drawings.permute(0, 2, 3, 1) + 1) / 2)

    def _real_features(self, cell: Cell) -> Tensor:
        held_out = self.held_out(cell.target, cell.seed)
        return self._once(("real", cell.target, cell.seed), lambda: extract(self.extractor, held_out))

    def _regularising(self) -> ImageSet:
        """Training photos of all classes, placed as the model knows them."""

        def make() -> ImageSet:
            rng = stream(0, "study regularisation")
            names = [self._train[i] for i in torch.randperm(len(self._train), generator=rng)[:REGULARISING].tolist()]
            pictures = ImageSet(self.photos, 2 * self.model.config.resolution, names=names).data
            x = (placed(pictures, self.model.config.resolution, self.placement, rng) + 1) / 2
            return ImageSet(x.clamp(0, 1).permute(0, 2, 3, 1), self.model.config.resolution)

        return self._once(("regularising",), make)

    def _by_features(self, drawings: Tensor, sketches: Tensor) -> Tensor:
        """Distances [N,M] of drawings in the features of the extractor: a stand-in for sketch-based retrieval."""
        return torch.cdist(*(extract(self.extractor, x.expand(-1, 3, -1, -1)) for x in (drawings, sketches)))


def _strip(images: Tensor) -> Tensor:
    """[N,3,R,R] -> one picture [3,R,N*R]."""
    return torch.cat(list(images), dim=2)
