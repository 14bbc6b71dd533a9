"""Strokes of drawings: their width, their centre lines, and redrawing them with another pen."""

import math

import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor


def redraw(ink: np.ndarray, width: float) -> np.ndarray:
    """Redraws `ink` [H,W] (0 paper, 1 ink) with a round pen, `width` px wide, along its centre lines.

    Filled areas stay filled, and grey lines grey.
    """
    is_ink = ink > 0.25
    if not is_ink.any():
        return ink
    centre_lines = skeleton(is_ink)
    distance = np.asarray(ndimage.distance_transform_edt(~centre_lines))
    redrawn = np.clip(width / 2 + 0.5 - distance, 0, 1)
    radius = ndimage.distance_transform_edt(is_ink)
    is_filled = radius > 3 * np.median(radius[centre_lines]) + 1  # far thicker than the strokes
    if is_filled.any():
        redrawn[ndimage.distance_transform_edt(~is_filled) <= radius[is_filled].min()] = 1
    return redrawn * ndimage.maximum_filter(ink, size=2 * math.ceil(width / 2) + 1)


def stroke_width(drawings: Tensor) -> float:
    """Typical width of the lines in drawings [N,1,H,W] in -1..1 (paper +1), as a share of the longer side.

    The width in one drawing is twice the distance to the paper at the middle of the lines, taken as the 90th percentile
    of that distance over all ink. Returns the median over the drawings that are not blank; 0 if all are.
    """
    enlarged = F.interpolate(drawings.float().cpu(), scale_factor=4, mode="bicubic")[:, 0].numpy()
    widths = []
    for drawing in enlarged:
        is_ink = drawing < 0
        if is_ink.any() and not is_ink.all():
            distance_to_paper = ndimage.distance_transform_edt(is_ink)[is_ink]
            widths.append(2 * float(np.percentile(distance_to_paper, 90)) / max(is_ink.shape))
    return float(np.median(widths)) if widths else 0.0


def skeleton(is_ink: np.ndarray) -> np.ndarray:
    """Centre lines, one pixel wide, of a boolean drawing [H,W].

    Removes pixels from one side after the other, but only those whose removal neither breaks a line nor shortens it, so
    that every stroke and dot keeps its connections (Rosenfeld, Information and Control 29, 1975).
    """
    padded = np.pad(is_ink.astype(bool), 1)
    flat = padded.reshape(-1)  # a view
    row = padded.shape[1]
    neighbours = (-row, -row + 1, 1, row + 1, row, row - 1, -1, -row - 1)  # N, NE, E, SE, S, SW, W, NW
    remaining = np.flatnonzero(flat)
    while True:
        count = len(remaining)
        for side in (0, 4, 2, 6):
            edge = remaining[~flat[remaining + neighbours[side]]]
            code = sum(flat[edge + offset].astype(np.uint8) << k for k, offset in enumerate(neighbours))
            flat[edge[_REMOVABLE[code]]] = False
            remaining = remaining[flat[remaining]]
        if len(remaining) == count:
            return padded[1:-1, 1:-1]


def _is_removable(code: int) -> bool:
    """Whether a pixel with these 8 neighbours (bit 0: N, clockwise) can go: it ends no line, and they form one run."""
    inked = [bool(code >> k & 1) for k in range(8)]
    runs = sum(not inked[k] and (inked[k + 1] or inked[(k + 2) % 8]) for k in (0, 2, 4, 6))
    return sum(inked) >= 2 and runs == 1


_REMOVABLE = np.array([_is_removable(code) for code in range(256)])
