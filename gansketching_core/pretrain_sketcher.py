"""Training a small PhotoSketch: from photos on white, whose contours are computed, and from pairs of photo and drawing.

A drawing is kept as the distance to its lines, so that it can be turned and zoomed with its photo and still be inked
with one pen. The trainer only trains; `train_sketcher` adds data, checkpoints and the result. The caller may watch.
"""

from __future__ import annotations

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage
from torch import Tensor

from . import checkpoints, draws
from .images import ImageSet, hold_out, image_names, resize
from .metrics import chamfer
from .photosketch import PhotoSketch
from .strokes import skeleton

log = logging.getLogger(__name__)

SIDE = 128  # pixels of the training pairs
FAR = 255 / 16  # distances to lines are kept in sixteenths of a pixel, in one byte
CHECKPOINT_SECONDS = 60


class SketcherConfig(BaseModel):
    """Options of `gansketching pretrain-sketcher`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(16, ge=1, le=256, description="Channels of the first layer; the published network has 64.")
    blocks: int = Field(3, ge=0, le=32, description="Residual blocks; the published network has 9.")
    steps: int = Field(1200, ge=1, description="Training length in steps.")
    batch: int = Field(24, ge=2, le=1024, description="Pairs a step at 64 px; a quarter of them at 128 px.")
    learning_rate: float = Field(0.002, gt=0, le=0.1, description="Adam's learning rate at the start; falls to zero.")
    stroke_width: float = Field(
        0.02, ge=0.005, le=0.1, description="Width of the pen as a share of the side of a 64 px drawing."
    )
    photo_count: int = Field(3000, ge=1, description="Photos used, the same number of each folder where possible.")
    pairs_share: float = Field(0.35, ge=0, le=1, description="Share of every batch taken from the given pairs.")
    large_every: int = Field(
        4, ge=1, description="Every so many steps train at 128 px instead of 64 px, with a pen as many pixels wide."
    )
    settle: float = Field(0.2, ge=0, le=1, description="Last share of the training with fixed batch-norm statistics.")
    precision: Literal["float32", "bfloat16"] = Field("bfloat16", description="bfloat16: mixed precision.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of every random draw.")


@dataclass(frozen=True)
class Pairs:
    """Photos with their drawings, in bytes: photo [N,3,128,128]; distance to the nearest line [N,1,128,128] in
    sixteenths of a pixel; object [N,1,128,128], 255 inside the object and 0 on the white around it."""

    photo: Tensor
    distance: Tensor
    object: Tensor

    def __len__(self) -> int:
        return len(self.photo)

    @staticmethod
    def stack(items: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Pairs:
        """From (photo [128,128,3] of bytes, lines [128,128] of bool, object [128,128] of bool) each."""
        photo = torch.from_numpy(np.stack([item[0] for item in items])).permute(0, 3, 1, 2).contiguous()
        lines = np.stack([np.minimum(_distance(item[1]), FAR) * 16 for item in items])
        inside = np.stack([item[2] * np.uint8(255) for item in items])
        return Pairs(
            photo, torch.from_numpy(lines.round().astype(np.uint8))[:, None], torch.from_numpy(inside)[:, None]
        )


def _distance(lines: np.ndarray) -> np.ndarray:
    return ndimage.distance_transform_edt(~lines) if lines.any() else np.full(lines.shape, FAR)


# ------------------------------------------------------------------------------------------------------------- drawings


def find_object(photo: np.ndarray) -> np.ndarray:
    """Photo [H,W,3] of bytes on white -> [H,W] of bool, where the object is; holes (highlights) are filled."""
    colour = ndimage.gaussian_filter(255 - photo.astype(np.float32), (1, 1, 0))
    spread = colour.max(axis=2) - colour.min(axis=2)
    found = (colour.mean(axis=2) + 1.5 * spread) > 38  # pale colours count, pale grey shadows do not
    found = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(found, 4), iterations=3))[4:-4, 4:-4]
    labels, count = ndimage.label(found)
    if count > 1:
        sizes = ndimage.sum_labels(found, labels, np.arange(1, count + 1))
        found = np.isin(labels, 1 + np.flatnonzero(sizes >= 0.05 * sizes.max()))
    return ndimage.gaussian_filter(found.astype(np.float32), 1.5, mode="nearest") > 0.5


def draw_lines(photo: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The object's outline and its strong, long inner edges: [H,W] of bool, one pixel wide."""
    outline = inside & ~ndimage.binary_erosion(inside)  # along the frame too: it shows once the photo is zoomed out
    colour = ndimage.gaussian_filter(photo.astype(np.float32), (2.2, 2.2, 0))
    energy = sum(np.square(ndimage.sobel(colour, axis=axis) / 8).sum(axis=2) for axis in (0, 1))
    edges = np.sqrt(energy)
    local = ndimage.gaussian_filter(edges, 6)
    strong = (edges > 20) & (edges > 1.25 * local) & (ndimage.distance_transform_edt(inside) > 6)
    inner = skeleton(strong)
    labels, count = ndimage.label(inner, structure=np.ones((3, 3)))
    lengths = ndimage.sum_labels(inner, labels, np.arange(1, count + 1))
    return outline | np.isin(labels, 1 + np.flatnonzero(lengths >= 18))


def pairs_from_photos(photos: ImageSet) -> Pairs:
    """Photos on white at 128 px, with the drawings computed from them."""
    items = []
    for photo in photos.data.permute(0, 2, 3, 1).numpy():
        inside = find_object(photo)
        items.append((photo, draw_lines(photo, inside), inside))
    return Pairs.stack(items)


def pairs_from_file(path: str | Path) -> Pairs:
    """An .npz file with `photo` [N,H,H,3] and `sketch` [N,H,H] (black on white), both bytes.

    Only those lines of a sketch are kept that have an edge of the photo nearby: a network can't learn the others.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            photos, sketches = file["photo"], file["sketch"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} can't be read as pairs ({error}); it needs arrays `photo` and `sketch`") from error
    count, side = len(photos), photos.shape[1]
    if photos.shape != (count, side, side, 3) or sketches.shape != (count, side, side) or count == 0:
        raise ValueError(f"{path}: photo is {photos.shape}, sketch {sketches.shape}; expected [N,H,H,3] and [N,H,H]")
    if photos.dtype != np.uint8 or sketches.dtype != np.uint8:
        raise ValueError(f"{path}: photo is {photos.dtype}, sketch {sketches.dtype}; both must be uint8")
    items = []
    for photo, sketch in zip(_to_side(photos), _to_side(sketches[..., None])[..., 0]):
        colour = ndimage.gaussian_filter(photo.astype(np.float32), (1, 1, 0))
        energy = sum(np.square(ndimage.sobel(colour, axis=axis) / 8).sum(axis=2) for axis in (0, 1))
        near_edge = ndimage.distance_transform_edt(energy < 8**2) < 4 if (energy >= 8**2).any() else energy > 0
        items.append((photo, skeleton(sketch < 128) & near_edge, find_object(photo)))
    return Pairs.stack(items)


def _to_side(bytes_: np.ndarray) -> np.ndarray:
    """[N,H,H,C] of bytes -> [N,128,128,C]."""
    x = torch.from_numpy(bytes_).permute(0, 3, 1, 2)
    if x.shape[2] != SIDE:
        x = torch.cat([resize(part.float(), SIDE).clamp(0, 255).round().byte() for part in x.split(64)])
    return x.permute(0, 2, 3, 1).numpy()


def balanced(names: Sequence[str], count: int) -> list[str]:
    """`count` of the names, spread evenly over their folders and within each."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.rpartition("/")[0]].append(name)
    ranked = []
    for members in folders.values():
        stride = max(1, round(len(members) * len(folders) / count))
        order = [k for first in range(stride) for k in range(first, len(members), stride)]
        ranked += [(rank, members[k]) for rank, k in enumerate(order)]
    return [name for _, name in sorted(ranked)[:count]]


# ------------------------------------------------------------------------------------------------------------- trainer


class SketcherTrainer:
    """Trains a PhotoSketch on pairs. `step()` again and again, then `result()`.

    Every draw of step k comes from (seed, k), so that N + M steps equal N steps, a restart and M steps.
    """

    def __init__(self, config: SketcherConfig, photos: Pairs, pairs: Pairs | None = None, *, device: str = "cpu"):
        self.config, self.photos, self.pairs, self.device = config, photos, pairs, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.net = PhotoSketch(width=config.width, blocks=config.blocks).to(self.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
        self.steps_done = 0

    def step(self) -> dict[str, float]:
        """One update -> the losses of `drawing_losses`, means over the batch."""
        config, k = self.config, self.steps_done
        draw = draws.generator(config.seed, k)
        large = k % config.large_every == config.large_every - 1
        pen = config.stroke_width * 64 * (1 if large else 2)
        photo, ink = self._batch(max(2, config.batch // 4) if large else config.batch, pen, draw)
        if not large:
            photo, ink = F.avg_pool2d(photo, 2), F.avg_pool2d(ink, 2)
        photo = degrade(photo, draw)
        self.net.train(k < config.steps * (1 - config.settle))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(1, k / config.steps)))
        photo, ink = photo.to(self.device), ink.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            raw = self.net.model[:-1](photo)
        losses = drawing_losses(raw.float(), ink)
        total = sum(losses.values())
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {float(total.detach())} in step {k}; lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()
        self.steps_done += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def _batch(self, count: int, pen: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` augmented pairs: photo [B,3,128,128] in -1..1, ink [B,1,128,128] in 0..1."""
        from_pairs = round(count * self.config.pairs_share) if self.pairs is not None else 0
        parts = []
        for source, share in ((self.photos, count - from_pairs), (self.pairs, from_pairs)):
            if share:
                index = torch.randint(len(source), (share,), generator=draw)
                parts.append(torch.cat([source.photo[index], source.distance[index], source.object[index]], dim=1))
        return augment_pairs(torch.cat(parts).float() / 255, pen, draw)

    def result(self) -> PhotoSketch:
        """The network as trained so far: a copy in evaluation mode, frozen, float32 on the CPU."""
        net = PhotoSketch(width=self.config.width, blocks=self.config.blocks)
        net.load_state_dict({name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()})
        return net.eval().requires_grad_(False)

    def state_dict(self) -> dict:
        """Everything a later process needs to go on; plain tensors, numbers and strings."""
        return {
            "config": self.config.model_dump(),
            "step": self.steps_done,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict()`. Only the length of the training may differ in the options."""
        ours = self.config.model_dump()
        changed = [key for key in ours if key != "steps" and state["config"].get(key) != ours[key]]
        if changed:
            key = changed[0]
            theirs = state["config"].get(key)
            raise ValueError(f"the saved run has {key} {theirs}, this one {ours[key]}: use the same options")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps_done = int(state["step"])


def drawing_losses(raw: Tensor, ink: Tensor) -> dict[str, Tensor]:
    """raw [B,1,H,W]: the network before its tanh; ink [B,1,H,W] in 0..1.

    ink = (1 - tanh(raw)) / 2 = sigmoid(-2 raw). Cross entropy settles on grey where a line may be or not; the overlap
    (soft Dice, over the batch) favours whole dark lines.
    """
    logits = -2 * raw
    drawn = torch.sigmoid(logits)
    overlap = 1 - (2 * (drawn * ink).sum() + 1) / (drawn.square().sum() + ink.square().sum() + 1)
    return {"match": F.binary_cross_entropy_with_logits(logits, ink), "overlap": 0.3 * overlap}


def augment_pairs(x: Tensor, pen: float, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """x [B,5,S,S] in 0..1 (photo, distance, object), pen in pixels -> photo [B,3,S,S] in -1..1, ink [B,1,S,S] in 0..1.

    Turned by any angle, zoomed to 0.55-1.1, mirrored, moved; colours mixed; the white around a third of the objects
    becomes another colour or a gradient.
    """
    count, side = len(x), x.shape[-1]
    chance = torch.rand(count, 6, generator=draw)
    angle, zoom = chance[:, 0] * 2 * math.pi, 0.55 + 0.55 * chance[:, 1]
    angle = torch.where(chance[:, 5] < 0.5, (chance[:, 0] - 0.5) * 0.5, angle)  # half of them nearly upright
    mirror, shift = torch.sign(chance[:, 2] - 0.5), (chance[:, 3:5] - 0.5) * 0.4
    rows = [angle.cos() * mirror, -angle.sin(), shift[:, 0]], [angle.sin() * mirror, angle.cos(), shift[:, 1]]
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1) / zoom[:, None, None]  # [B,2,3]
    grid = F.affine_grid(theta, [count, 1, side, side], align_corners=False)
    blank = x.new_tensor([1, 1, 1, 1, 0])[None, :, None, None]  # white, far from lines, no object: what moves in
    x = F.grid_sample(x - blank, grid, padding_mode="zeros", align_corners=False) + blank
    distance = x[:, 3:4] * FAR * zoom[:, None, None, None]
    ink = _inked(distance, pen)
    photo = mix_colours(x[:, :3], draw)
    return (other_ground(photo, x[:, 4:], draw) * 2 - 1).clamp(-1, 1), ink


def _inked(distance: Tensor, pen: float) -> Tensor:
    """Distances to lines -> ink in 0..1 of a pen `pen` wide, both in pixels."""
    return (pen / 2 + 0.5 - distance).clamp(0, 1)


def mix_colours(photo: Tensor, draw: torch.Generator) -> Tensor:
    """Random linear mixes of the channels and contrast, about white, so that white stays white. [B,3,H,W] in 0..1."""
    count = len(photo)
    swap = torch.stack([torch.eye(3)[torch.randperm(3, generator=draw)] for _ in range(count)])
    swap[torch.rand(count, generator=draw) < 0.7] = torch.eye(3)
    mix = swap + 0.15 * torch.randn(count, 3, 3, generator=draw)
    mix = mix * (0.7 + 0.6 * torch.rand(count, 1, 1, generator=draw))
    return (1 - torch.einsum("bij,bjhw->bihw", mix, 1 - photo)).clamp(0, 1)


def other_ground(photo: Tensor, inside: Tensor, draw: torch.Generator) -> Tensor:
    """A third of the photos [B,3,H,W] in 0..1 get a pale or coloured ground with a slope of brightness."""
    count, side = len(photo), photo.shape[-1]
    colour = 1 - torch.rand(count, 3, generator=draw) * torch.rand(count, 1, generator=draw)
    slope = torch.linspace(-0.5, 0.5, side)[None, None, :, None] * torch.rand(count, 1, 1, 1, generator=draw)
    colour[torch.rand(count, generator=draw) < 0.67] = 1
    slope = slope * (colour.amin(dim=1) < 1)[:, None, None, None]
    around = 1 - F.avg_pool2d(inside, 3, stride=1, padding=1, count_include_pad=False)
    return (photo + around * (colour[:, :, None, None] - 1 + slope)).clamp(0, 1)


def degrade(photo: Tensor, draw: torch.Generator) -> Tensor:
    """Blur and noise, as in generated images, each on about half of the photos [B,3,H,W] in -1..1."""
    count = len(photo)
    amount = torch.rand(count, 2, 1, 1, 1, generator=draw)
    on = torch.rand(count, 2, 1, 1, 1, generator=draw) < 0.5
    blurred = F.avg_pool2d(photo, 3, stride=1, padding=1, count_include_pad=False)
    photo = torch.where(on[:, 0], torch.lerp(photo, blurred, amount[:, 0]), photo)
    noise = torch.randn(photo.shape, generator=draw)
    grain = F.avg_pool2d(noise, 3, stride=1, padding=1) * 2  # generators leave blotches, not single pixels
    noise = torch.where(torch.rand(count, 1, 1, 1, generator=draw) < 0.5, noise, grain)
    return torch.where(on[:, 1], photo + 0.12 * amount[:, 1] * noise, photo)


@torch.no_grad()
def evaluate_sketcher(
    sketcher: torch.nn.Module, pairs: Pairs, *, size: int = 64, stroke_width: float = 0.02
) -> dict[str, float]:
    """How near a sketcher's drawings of size x size px come to those of the pairs: means over the pairs.

    l1: absolute difference of ink (0..1) per pixel; chamfer: see metrics.chamfer, in units of the side; ink: inked
    share of the drawing, and wanted: of the pair's.
    """
    totals: dict[str, float] = defaultdict(float)
    for k in range(len(pairs)):
        photo = resize(pairs.photo[k : k + 1].float() / 127.5 - 1, size).clamp(-1, 1)
        ink = _inked(pairs.distance[k : k + 1].float() / 16, stroke_width * SIDE)
        wanted = 1 - 2 * F.adaptive_avg_pool2d(ink, size)
        drawing = sketcher(photo)
        totals["l1"] += (drawing - wanted).abs().mean().item() / 2
        totals["chamfer"] += chamfer(drawing, wanted).item()
        totals["ink"] += (1 - drawing).mean().item() / 2
        totals["wanted"] += (1 - wanted).mean().item() / 2
    return {name: total / len(pairs) for name, total in totals.items()}


def train_sketcher(
    config: SketcherConfig,
    photos: Path,
    pairs: Path | None,
    out: Path,
    *,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    resume: bool = True,
    device: str = "cpu",
) -> PhotoSketch:
    """Trains on a folder or zip of photos on white, and pairs (.npz), and saves the network as `out` in half precision.

    Every tenth photo of each folder is left out, for evaluation. Progress is kept beside `out` about once a minute and
    on interruption; with `resume` the next call goes on from there. on_step(steps done, losses) after each step.
    """
    out = Path(out)
    saved = out.with_name(out.name + ".state.pt")
    training, _ = hold_out(image_names(photos))
    chosen = ImageSet(photos, SIDE, names=balanced(training, config.photo_count))
    log.info("drawing the contours of %d photos", len(chosen))
    trainer = SketcherTrainer(
        config, pairs_from_photos(chosen), pairs_from_file(pairs) if pairs else None, device=device
    )
    if resume and saved.exists():
        trainer.load_state_dict(torch.load(saved, map_location="cpu", weights_only=True))
        log.info("going on from step %d", trainer.steps_done)

    def keep() -> None:
        checkpoints.atomic_write(saved, lambda path: torch.save(trainer.state_dict(), path))

    kept, in_step = time.monotonic(), False
    try:
        while trainer.steps_done < config.steps:
            in_step = True
            losses = trainer.step()
            in_step = False
            if on_step:
                on_step(trainer.steps_done, losses)
            if time.monotonic() - kept > CHECKPOINT_SECONDS:
                keep()
                kept = time.monotonic()
    except BaseException:
        if not in_step:  # a step cut short leaves weights that belong to no step
            keep()
        raise
    net = trainer.result()
    checkpoints.save_photosketch(
        net, out, dtype=torch.float16, metadata={"training": config.model_dump_json(), "photos": str(len(chosen))}
    )
    saved.unlink(missing_ok=True)
    return net
