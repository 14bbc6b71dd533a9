"""The study: customised models against baselines and ablations, after Tables 1 to 4 of "Sketch Your Own GAN"."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, cached_property
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..checkpoints.hashes import tensors_hash, weights_hash
from ..datasets import ImageSet, hold_out, image_names, kind_of, load_images
from ..evaluation.colours import colours_kept
from ..evaluation.metrics import frechet_distance, kernel_distance, precision_recall
from ..evaluation.shape_match import shape_match
from ..files import atomic_write
from ..images import grid, save_png, to_comfy
from ..latents.mean_shift import shift_towards
from ..latents.sampling import render, sample_drawings, sample_z
from ..networks.feature_networks import extract
from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from ..sketches.distance import chamfer
from ..sketches.prepare import prepare_sketches
from ..training.finetune_config import FinetuneConfig
from ..training.finetune_run import REVISION, customise
from ..training.placement import PlacementConfig, placed
from ..training.sketcher_data import balanced
from .kinds_network import KindsNetwork, train_kinds_network
from .study_plan import METHODS, SKETCHES, Cell

log = logging.getLogger(__name__)

SHOWN = 12  # samples of a cell in its picture
REGULARISING = 500  # photos of the regularisation by images
SHAPES = 32  # samples of a cell whose shapes are compared with the sketches
KINDS_PHOTOS = 4000  # training photos of the network that tells kinds apart
MEASURES = 2  # raised when the numbers of a cell change


@dataclass(eq=False)
class Study:
    """Measures cells and keeps their results in a folder."""

    photos: Path  # folder or zip with one folder for each variety; a class is a folder's name up to the first _
    model: GanModel  # the base model
    sketcher: nn.Module  # photo [B,3,R,R] in -1..1 -> line drawing [B,1,R,R] in -1..1
    extractor: nn.Module  # images [B,3,R,R] in -1..1 -> features [B,D], as `feature_networks.Extractor`
    folder: Path  # where results and trainings are kept
    _: KW_ONLY
    placement: PlacementConfig  # of the model's training pictures; the study's photos are placed in the same way
    samples: int = 500  # number of samples, and of photos to compare them with, in each cell
    human: dict[str, Path] = field(default_factory=dict)  # class -> folder of hand-drawn sketches
    steps: int | None = None  # length of every training, to try things out; None: the method's
    kinds_steps: int | None = None  # the same, of the network that tells kinds apart
    poll: Callable[[], None] = lambda: None  # called often; may raise to stop

    def __post_init__(self):
        if self.samples < 16:
            raise ValueError(f"samples is {self.samples}; use 16 or more")
        for method in (
            "held_out",
            "drawings",
            "_held_out_features",
            "_held_out_kinds",
            "_originals",
            "_original_distances",
        ):
            setattr(self, method, cache(getattr(self, method)))  # made once for each class and seed
        self._training_names, self._held_out_names = hold_out(image_names(self.photos))

    def path(self, cell: Cell) -> Path:
        return self.folder / "cells" / f"{cell}.json"

    def fingerprint(self, cell: Cell) -> str:
        """Hash of everything but its name that determines the result of a cell; results of others are not mixed in."""
        method = METHODS[cell.method]
        inputs = [self._shared_fingerprint, method.shift, method.options, method.sketches, method.photos]
        if method.preset:
            inputs.append(self._config(cell).model_dump())
        if method.human:
            inputs.append(_files_hash(self.human[cell.target]))
        return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]

    @cached_property
    def _shared_fingerprint(self) -> list:
        return [
            MEASURES,
            self.kinds_steps,
            REVISION,
            weights_hash(self.model),
            repr(self.sketcher),
            tensors_hash(self.sketcher.state_dict()),
            getattr(self.extractor, "name", ""),
            self.samples,
            self.placement.model_dump(),
            _files_hash(self.photos),
        ]

    def _config(self, cell: Cell) -> FinetuneConfig:
        method = METHODS[cell.method]
        changes = {} if self.steps is None else {"steps": self.steps}
        return FinetuneConfig.preset(method.preset, **{**method.options, **changes, "seed": cell.seed})

    def kept(self, cell: Cell) -> dict | None:
        """The result of a cell that was measured before from the same inputs."""
        try:
            result = json.loads(self.path(cell).read_text())
        except (OSError, ValueError):
            return None
        return result if result.get("fingerprint") == self.fingerprint(cell) else None

    def measure(self, cell: Cell) -> dict:
        """The numbers of a cell, measured or kept, and the extractor."""
        if kept := self.kept(cell):
            return kept
        if METHODS[cell.method].photos:
            images, steps, seconds = self._training_photos(cell), 0, 0.0
        else:
            model, steps, seconds = self._customised(cell)
            images = self._samples(model, cell.seed)
        features = extract(self.extractor, images, on_batch=lambda _: self.poll())
        real = self._held_out_features(cell.target, cell.seed)
        features_of_kinds = extract(self._kinds, images, on_batch=lambda _: self.poll())
        kid, _ = kernel_distance(real, features, subsets=50, subset_size=min(200, self.samples // 2))
        precision, recall = precision_recall(real, features)
        drawings = self.drawings(cell.target, cell.seed)
        drawn = self._drawn(images)
        distances = chamfer(drawn, drawings).amin(dim=1)
        original = self._original_distances(cell.target, cell.seed)
        result = {
            "fingerprint": self.fingerprint(cell),
            "extractor": getattr(self.extractor, "name", type(self.extractor).__name__),
            "samples": self.samples,
            "frechet": frechet_distance(real, features),
            "kid": kid,
            "frechet_kinds": frechet_distance(self._held_out_kinds(cell.target, cell.seed), features_of_kinds),
            "precision": precision,
            "recall": recall,
            "shape": shape_match(drawn[:SHAPES], drawings).share,
            "colours": 0.0 if METHODS[cell.method].photos else colours_kept(images, self._originals(cell.seed)),
            "distance": float(distances.median()),
            "beats": float((distances < original.median()).double().mean()),
            "steps": steps,
            "seconds": seconds,
        }
        picture = grid(images[:SHOWN], SHOWN)
        atomic_write(self.path(cell).with_suffix(".png"), lambda temporary: save_png(picture, temporary))
        atomic_write(self.path(cell), lambda temporary: temporary.write_text(json.dumps(result, indent=1)))
        return result

    def _samples(self, model: GanModel, seed: int) -> Tensor:
        """Images [N,3,R,R] in -1..1."""
        latents = sample_z(self.model, self.samples, 10_000 + seed)
        return render(model, latents, batch=16, on_batch=lambda *_: self.poll()).clamp(-1, 1)

    def _originals(self, seed: int) -> Tensor:
        return self._samples(self.model, seed)

    def _original_distances(self, target: str, seed: int) -> Tensor:
        """Chamfer distances [N] from the drawings of the original's samples to the nearest of the line drawings."""
        return chamfer(self._drawn(self._originals(seed)), self.drawings(target, seed)).amin(dim=1)

    def _held_out_features(self, target: str, seed: int) -> Tensor:
        return extract(self.extractor, self.held_out(target, seed))

    def _held_out_kinds(self, target: str, seed: int) -> Tensor:
        return extract(self._kinds, self.held_out(target, seed))

    @cached_property
    def _kinds(self) -> KindsNetwork:
        """The network that tells the kinds of the study's photos apart, trained once and kept in the folder."""
        inputs = [self.model.config.resolution, self.placement.model_dump(), _files_hash(self.photos), self.kinds_steps]
        key = hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]
        file = self.folder / f"kinds-{key}.safetensors"
        if not file.exists():
            names = balanced(self._training_names, KINDS_PHOTOS)
            photos = ImageSet(self.photos, 2 * self.model.config.resolution, names=names)
            steps = {} if self.kinds_steps is None else {"steps": self.kinds_steps}
            size = self.model.config.resolution
            trained = train_kinds_network(photos, size, self.placement, poll=self.poll, **steps)
            log.info("the network of kinds is right on %.1f%% of the held-out photos", 100 * self._accuracy(trained))
            atomic_write(file, lambda temporary: save_file(trained.state_dict(), temporary))
        network = KindsNetwork(sorted({kind_of(name) for name in self._training_names}))
        network.load_state_dict(load_file(file))
        return network.eval().requires_grad_(False)

    def _accuracy(self, network: KindsNetwork) -> float:
        """On held-out photos, placed at random."""
        names = balanced(self._held_out_names, self.samples)
        pictures = ImageSet(self.photos, 2 * self.model.config.resolution, names=names).data
        return network.accuracy(self._placed(pictures, stream(0, "study accuracy of kinds")), names)

    @torch.no_grad()
    def _drawn(self, images: Tensor) -> Tensor:
        return torch.cat([self.sketcher(part) for part in images.split(32)])

    def _customised(self, cell: Cell) -> tuple[GanModel, int, float]:
        """-> model, steps and seconds of its making, without the reading of photos."""
        method = METHODS[cell.method]
        if method.preset:
            return self._finetuned(cell)
        if not method.shift:
            return self.model, 0, 0.0
        drawings = self.drawings(cell.target, cell.seed)
        distance = self._by_features if method.shift == "features" else chamfer
        started = time.perf_counter()
        model = shift_towards(self.model, drawings, self.sketcher, seed=cell.seed, distance=distance, **method.options)
        return model, 0, time.perf_counter() - started

    def _finetuned(self, cell: Cell) -> tuple[GanModel, int, float]:
        config = self._config(cell)
        photos = self._regularising if config.regularisation == "images" else None
        method = METHODS[cell.method]
        if method.human:
            user = load_images(self.human[cell.target])[: method.sketches]
        else:
            drawings = self.drawings(cell.target, cell.seed)[: method.sketches]
            user = rearrange((drawings + 1) / 2, "n c h w -> n h w c")
        started = time.perf_counter()
        reference = sample_drawings(self.model, self.sketcher)
        sketches = prepare_sketches(user, self.model.config.resolution, reference=reference)
        preparation = time.perf_counter() - started
        run = customise(
            self.model, sketches, self.sketcher, config, images=photos, folder=self.folder / "runs", poll=self.poll
        )
        return run.model, config.steps, preparation + run.seconds

    def _pictures(self, names: Sequence[str], target: str) -> Tensor:
        """uint8 [N,3,2R,2R] of a class."""
        chosen = [name for name in names if kind_of(name) == target]
        if not chosen:
            known = sorted({kind_of(name) for name in names})
            raise ValueError(f'there are no photos of "{target}" in {self.photos}; there are {", ".join(known)}')
        return ImageSet(self.photos, 2 * self.model.config.resolution, names=chosen).data

    def _placed(self, pictures: Tensor, rng: torch.Generator) -> Tensor:  # uint8 [N,3,2R,2R] -> [N,3,R,R] in -1..1
        return placed(pictures, self.model.config.resolution, self.placement, rng)

    def _training_photos(self, cell: Cell) -> Tensor:
        """As many training photos as samples, each placed at random: [N,3,R,R] in -1..1."""
        pictures = self._pictures(self._training_names, cell.target)
        rng = stream(cell.seed, "study training photos")
        return self._placed(pictures[torch.randint(len(pictures), (self.samples,), generator=rng)], rng)

    def check(self, targets: Sequence[str]) -> None:
        """Raise ValueError for a class without enough photos, before long work starts."""
        for target in targets:
            count = sum(kind_of(name) == target for name in self._training_names)
            if 0 < count < SKETCHES:
                raise ValueError(f'"{target}" has {count} training photos; the study needs {SKETCHES} for its sketches')
            self.held_out(target, 0)

    def held_out(self, target: str, seed: int) -> Tensor:
        """As many held-out photos as samples, each placed at random: [N,3,R,R] in -1..1."""
        pictures = self._pictures(self._held_out_names, target)
        repeated = pictures[torch.arange(self.samples) % len(pictures)]
        return self._placed(repeated, stream(seed, "study held-out photos"))

    def drawings(self, target: str, seed: int) -> Tensor:
        """The line drawings of 30 training photos: [30,1,R,R] in -1..1."""
        pictures = self._pictures(self._training_names, target)
        rng = stream(seed, "study drawings")
        chosen = torch.randperm(len(pictures), generator=rng)[:SKETCHES]
        return self._drawn(self._placed(pictures[chosen], rng))

    @cached_property
    def _regularising(self) -> ImageSet:
        """Training photos of all classes, placed as the model's training pictures were."""
        rng = stream(0, "study regularisation")
        chosen = torch.randperm(len(self._training_names), generator=rng)[:REGULARISING]
        names = [self._training_names[i] for i in chosen]
        size = self.model.config.resolution
        return ImageSet(to_comfy(self._placed(ImageSet(self.photos, 2 * size, names=names).data, rng)), size)

    def _by_features(self, drawings: Tensor, sketches: Tensor) -> Tensor:
        """Distances [N,M] of drawings in the features of the extractor: a stand-in for sketch-based retrieval."""
        a, b = (extract(self.extractor, x.expand(-1, 3, -1, -1)) for x in (drawings, sketches))
        return torch.cdist(a, b)


def _files_hash(path: Path) -> str:
    """SHA-256 (hex) of a zip, or of the names and bytes of the images in a folder."""
    digest = hashlib.sha256()
    for file in [path / name for name in image_names(path)] if path.is_dir() else [path]:
        digest.update(f"{file.relative_to(path)} ".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
