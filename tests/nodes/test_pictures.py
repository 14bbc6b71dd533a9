"""Pictures that nodes show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansketching_core.training.finetune import StepReport

BLUE = (31, 119, 180)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, float("nan"), 1.5], [0.0, 0.0], [1e-9, 1e9], [-3.0, -1.0]])
def test_loss_plot_shows_any_history(pack, values):
    history = [StepReport(step, {"G sketch": value}, 1.0) for step, value in enumerate(values)]
    plot = pack.training.loss_plot(history)
    assert plot.shape == (1, 432, 768, 3)
    blue = torch.tensor(BLUE) / 255
    assert (plot[0] - blue).abs().amax(dim=2).lt(1e-3).any() == bool(values)


def test_grids_have_the_same_columns(pack):
    """Image k of every batch is in the same position, however many images a batch has."""
    nine, four = torch.zeros(9, 128, 128, 3), torch.zeros(4, 128, 128, 3)
    sheet = np.asarray(pack.pictures.labelled([("", nine), ("", four)]))
    dark = (sheet == 0).all(axis=2)
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    tile, gap, margin = 128, pack.pictures.GAP, pack.pictures.MARGIN
    width = 3 * tile + 2 * gap
    assert rows[0] == columns[0] == margin
    assert dark.shape == (width + 2 * margin, 2 * width + 3 * margin)
    right = dark[:, 2 * margin + width :]
    assert right.sum() == 4 * tile**2
    assert right[margin : margin + tile].sum() == 3 * tile**2, "three in the first row, as on the left"
