"""Strokes of drawings: their width, their centre lines, and drawing them again with another pen."""

from __future__ import annotations

import math

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor


def redraw(ink: np.ndarray, width: float) -> np.ndarray:
    """The drawing [H,W] (0 paper, 1 ink) with a round pen `width` px wide led along its centre lines.

    Filled areas stay filled, grey lines grey.
    """
    drawn = ink > 0.25
    if not drawn.any():
        return ink
    lines = skeleton(drawn)
    pen = np.clip(width / 2 + 0.5 - ndimage.distance_transform_edt(~lines), 0, 1)
    radius = ndimage.distance_transform_edt(drawn)
    solid = radius > 3 * np.median(radius[lines]) + 1  # far thicker than the strokes: filled in
    if solid.any():
        pen[ndimage.distance_transform_edt(~solid) <= radius[solid].min()] = 1
    return pen * ndimage.maximum_filter(ink, size=2 * math.ceil(width / 2) + 1)


def stroke_width(drawings: Tensor) -> float:
    """Typical width of the lines in drawings [N,1,H,W] in -1..1 (paper +1), as a share of the longer side; 0: no lines.

    Twice the distance from the middle of the lines, which the farthest tenth of the ink stands for, to the paper; the
    median over the drawings.
    """
    enlarged = F.interpolate(drawings.float().cpu(), scale_factor=4, mode="bicubic")[:, 0].numpy()
    widths = []
    for drawing in enlarged:
        ink = drawing < 0
        if ink.any() and not ink.all():
            widths.append(2 * float(np.percentile(ndimage.distance_transform_edt(ink)[ink], 90)) / max(ink.shape))
    return float(np.median(widths)) if widths else 0.0


def skeleton(drawn: np.ndarray) -> np.ndarray:
    """Centre lines, one pixel wide, of a boolean drawing [H,W].

    Peels one side at a time, removing only pixels whose removal neither breaks a line nor shortens it, so that every
    stroke and dot keeps its connections (Rosenfeld, Information and Control 29, 1975).
    """
    padded = np.pad(drawn.astype(bool), 1)
    flat, row = padded.reshape(-1), padded.shape[1]
    ring = (-row, -row + 1, 1, row + 1, row, row - 1, -1, -row - 1)  # N, NE, E, SE, S, SW, W, NW
    left = np.flatnonzero(flat)
    while True:
        count = len(left)
        for side in (0, 4, 2, 6):
            edge = left[~flat[left + ring[side]]]
            code = sum(flat[edge + offset].astype(np.uint8) << k for k, offset in enumerate(ring))
            flat[edge[_REMOVABLE[code]]] = False
            left = left[flat[left]]
        if len(left) == count:
            return padded[1:-1, 1:-1]


def _removable(code: int) -> bool:
    """Whether a pixel with these 8 neighbours (bit 0: N, clockwise) can go: not an end, and one run of neighbours."""
    near = [bool(code >> k & 1) for k in range(8)]
    runs = sum(not near[k] and (near[k + 1] or near[(k + 2) % 8]) for k in (0, 2, 4, 6))
    return sum(near) >= 2 and runs == 1


_REMOVABLE = np.array([_removable(code) for code in range(256)])
