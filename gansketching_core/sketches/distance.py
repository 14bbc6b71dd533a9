"""Chamfer distance of line drawings: exact, for measuring, and differentiable, as a loss."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..networks.precision import full_precision

MAX_SIDE_ON_GPU = 128  # larger distance maps are faster by SciPy
MAX_INK_POINTS = 1024  # of one SketchDistance, 32 MiB at 64 px
SOFTNESS = 0.03  # of SketchDistance, in image sides


def chamfer(drawings: Tensor, sketches: Tensor) -> Tensor:
    """Symmetric Chamfer distances of line drawings [N,1,H,W] to sketches [M,1,H,W], in -1..1 (paper +1) -> [N,M].

    The mean of two means: from each inked pixel (darker than 0) of the one to the nearest ink of the other, and back,
    in units of the longer image side: 0.02 for lines 2% of the side apart. If either is blank it is sqrt(2), larger
    than any two pixels are apart. Computed on the CPU.
    """
    return ChamferToSketches(sketches.cpu())(drawings.cpu())


class ChamferToSketches:
    """`chamfer` to a fixed set of sketches [M,1,H,W], whose ink and distance maps are kept on the sketches' device.

    Call it with drawings [N,1,H,W] to get distances [N,M], float32 on that device, which nothing leaves up to 128 px.
    """

    def __init__(self, sketches: Tensor):
        _check_shape("sketches", sketches)
        self.size = tuple(sketches.shape[2:])
        self.device = sketches.device
        self._ink, self._distance_map = _ink_and_distance_map(sketches)

    @torch.no_grad()
    def __call__(self, drawings: Tensor) -> Tensor:
        _check_shape("drawings", drawings)
        if tuple(drawings.shape[2:]) != self.size:
            sizes = f"drawings of {tuple(drawings.shape[2:])} px can't be compared with sketches of {self.size} px"
            raise ValueError(f"{sizes}; resize one to the other")
        with full_precision(self._ink):
            return torch.cat([self._distances(part.to(self.device)) for part in drawings.split(16)])

    def _distances(self, drawings: Tensor) -> Tensor:
        ink, distance_map = _ink_and_distance_map(drawings)
        ink_count, sketch_ink_count = ink.sum(dim=1)[:, None], self._ink.sum(dim=1)  # [N,1], [M]
        to_sketches = ink @ self._distance_map.T / ink_count.clamp(min=1)
        to_drawings = distance_map @ self._ink.T / sketch_ink_count.clamp(min=1)
        blank = (ink_count == 0) | (sketch_ink_count == 0)
        return ((to_sketches + to_drawings) / 2).masked_fill(blank, math.sqrt(2))


def _check_shape(name: str, x: Tensor) -> None:
    if x.ndim != 4 or x.shape[1] != 1:
        raise ValueError(f"{name} have shape {tuple(x.shape)}, expected [N,1,H,W]")


def _ink_and_distance_map(drawings: Tensor) -> tuple[Tensor, Tensor]:
    """Ink (0 or 1) and distance to the nearest ink in image sides (sqrt(2) if there is none), [N, H * W] each."""
    ink = drawings[:, 0] < 0
    side = max(ink.shape[1:])
    on_device = ink.device.type != "cpu" and side <= MAX_SIDE_ON_GPU
    distance_map = _distance_map_torch(ink) if on_device else _distance_map_scipy(ink)
    return rearrange(ink.float(), "n h w -> n (h w)"), rearrange(distance_map / side, "n h w -> n (h w)")


def _distance_map_scipy(ink: Tensor) -> Tensor:
    """Distance in pixels of each pixel to the nearest ink, [N,H,W]; sqrt(2) sides for blank drawings."""
    farthest = math.sqrt(2) * max(ink.shape[1:])
    distance_map = np.full(ink.shape, farthest, dtype=np.float32)
    for one, out in zip(ink.cpu().numpy(), distance_map):
        if one.any():
            out[:] = distance_transform_edt(~one)
    return torch.from_numpy(distance_map).to(ink.device)


def _distance_map_torch(ink: Tensor) -> Tensor:
    """The same by comparing all pixels of each row, then of each column (squared distances are separable)."""
    squared = torch.where(ink, 0.0, 2.0 * max(ink.shape[1:]) ** 2)
    for _ in ("rows", "columns"):
        x = torch.arange(squared.shape[-1], device=ink.device)
        squared = (squared[..., None, :] + (x[:, None] - x).square()).amin(dim=-1).mT
    return squared.sqrt()


class SketchDistance:
    """A differentiable Chamfer distance of drawings to one sketch [1,H,W], at 64 px or less.

    It is exact from the drawing's ink to the sketch. From the sketch to the drawing it is an average over all ink,
    weighted by exp(-distance / SOFTNESS), instead of the distance to the nearest. Of a sketch with large filled areas
    only MAX_INK_POINTS of its inked pixels, evenly chosen, are measured to the drawing.
    """

    def __init__(self, sketch: Tensor, *, side: int = 64):
        self.side = min(side, sketch.shape[-1])
        is_ink = sketch < max(0.0, float(sketch.min()) + 1e-6)  # of a faint sketch, its darkest pixels
        is_ink = F.adaptive_max_pool2d(is_ink.to(sketch), self.side).flatten().bool()
        at = (torch.arange(self.side, device=sketch.device, dtype=sketch.dtype) + 0.5) / self.side
        pixels = torch.cartesian_prod(at, at)  # [P,2]
        ink = pixels[is_ink]
        nearest = [torch.cdist(part, pixels).amin(dim=0) for part in ink.split(MAX_INK_POINTS)]
        self._nearest = torch.stack(nearest).amin(dim=0)  # [P]
        if len(ink) > MAX_INK_POINTS:
            ink = ink[torch.linspace(0, len(ink) - 1, MAX_INK_POINTS, device=ink.device).round().long()]
        distance = torch.cdist(ink, pixels)
        self._weight = torch.exp(-distance / SOFTNESS)  # [Q,P]
        self._weighted_distance = self._weight * distance  # [Q,P]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the kept tensors take."""
        return self._nearest.nbytes + self._weight.nbytes + self._weighted_distance.nbytes

    def distance(self, drawing: Tensor) -> Tensor:
        """Distance of a drawing [1,H,W] in -1..1 to the sketch, a number in image sides."""
        ink = F.adaptive_avg_pool2d(((1 - drawing) / 2).square(), self.side).flatten() + 1e-8
        to_sketch = (ink * self._nearest).sum() / ink.sum()
        to_drawing = (self._weighted_distance @ ink) / (self._weight @ ink)
        return (to_sketch + to_drawing.mean()) / 2
