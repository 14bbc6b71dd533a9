"""Whether drawings have the shape of a sketch, wherever in the image and however large it is.

The measure is the boundary F-measure of contour detection (Martin, Fowlkes and Malik, PAMI 2004): the harmonic mean of
the share of the drawing's ink that is near ink of the sketch, and the share of the sketch's ink that is near ink of the
drawing. The drawing is first moved and scaled onto the sketch, by iterated closest points. A drawing that lacks a part
of the sketch, such as the leaves of a pineapple, misses that part's ink.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 0.15  # "near", as a share of the sketch's size: the root mean square distance of its ink from its centre
SAME_SHAPE = 0.75  # F-measure from which a drawing has the sketch's shape
RARELY_MET = 0.2  # share of the drawings, below which a part of a sketch counts as one that they do not have
ENOUGH = 8  # drawings like a sketch, below which nothing is said of its parts
MAX_POINTS = 400  # of one drawing
STEPS = 5  # of the search for the position and size in which a drawing is compared


@dataclass(frozen=True)
class ShapeMatch:
    """How drawings [N] match the shapes of sketches [M]."""

    f_measure: Tensor  # [N], 0..1, of each drawing and the sketch that is most like it
    met: float  # mean share of that sketch's ink that is met, 0..1
    missing: list[float]  # [M], for each sketch the share of its ink that hardly any drawing like it meets
    missing_where: list[str]  # [M], where that ink is: "top left", ...

    @property
    def share(self) -> float:
        """Share of the drawings that have the shape of a sketch, 0..1."""
        return float((self.f_measure >= SAME_SHAPE).double().mean())


def shape_match(drawings: Tensor, sketches: Tensor) -> ShapeMatch:
    """Compare line drawings [N,1,H,W] with sketches [M,1,H,W], both -1..1 with paper +1, at any sizes.

    A blank drawing meets nothing. Raises ValueError if a sketch is blank.
    """
    outlines = []
    for number, sketch in enumerate(sketches[:, 0].cpu(), 1):
        outline = _outline(sketch)
        if outline is None:
            raise ValueError(f"sketch {number} is blank; draw something on it, or leave it out")
        outlines.append(outline)
    hits: list[list[Tensor]] = [[] for _ in outlines]  # for each sketch: which of its points its drawings meet
    f_measure = torch.zeros(len(drawings))
    met = 0.0
    for k, drawing in enumerate(drawings[:, 0].cpu()):
        points = _outline(drawing)
        if points is None:
            continue
        near = [torch.cdist(_laid_on(points, outline), outline) <= TOLERANCE for outline in outlines]
        scores = torch.stack([_f_measure(pairs) for pairs in near])
        best = int(scores.argmax())
        met_points = near[best].any(dim=0)
        f_measure[k] = scores[best]
        hits[best].append(met_points)
        met += float(met_points.double().mean()) / len(drawings)
    missing, where = [], []
    for outline, rows in zip(outlines, hits):
        rate = torch.ones(len(outline))
        if len(rows) >= ENOUGH:
            rate = torch.stack(rows).float().mean(dim=0)
        rare = rate < RARELY_MET
        missing.append(float(rare.double().mean()))
        where.append(_where(outline[rare]))
    return ShapeMatch(f_measure, met, missing, where)


def _laid_on(points: Tensor, outline: Tensor) -> Tensor:
    """Points [P,2] moved and scaled (by at most a half, or to twice the size) onto an outline [Q,2]."""
    laid = points
    for _ in range(STEPS):
        nearest = outline[torch.cdist(laid, outline).argmin(dim=1)]
        centre = nearest.mean(dim=0)
        scale = ((nearest - centre) * points).sum() / points.square().sum()
        laid = points * scale.clamp(0.5, 2) + centre
    return laid


def _f_measure(near: Tensor) -> Tensor:
    """Which points of a drawing are near which of a sketch, bool [P,Q] -> the F-measure."""
    precision, recall = near.any(dim=1).float().mean(), near.any(dim=0).float().mean()
    return 2 * precision * recall / (precision + recall).clamp(min=1e-9)


def _outline(drawing: Tensor) -> Tensor | None:
    """The ink of a drawing [H,W] as points [P,2] (down, right) around 0, of root mean square distance 1 from it."""
    points = torch.nonzero(drawing < 0).float()
    if len(points) < 2:
        return None
    if len(points) > MAX_POINTS:
        points = points[torch.linspace(0, len(points) - 1, MAX_POINTS).round().long()]
    points = points - points.mean(dim=0)
    return points / points.square().sum(dim=1).mean().sqrt()


def _where(points: Tensor) -> str:
    if not len(points):
        return ""
    down, right = points.mean(dim=0).tolist()
    words = ["top" if down < 0 else "bottom"] if abs(down) > 0.4 else []
    words += ["left" if right < 0 else "right"] if abs(right) > 0.4 else []
    return " ".join(words) or "middle"
