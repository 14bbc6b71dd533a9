"""Whether colours are kept: by discs of known colours."""

import pytest
import torch

from gansketching_core.evaluation.colours import colours_kept


def discs(colours: torch.Tensor, radius: float, centre: float = 0.0) -> torch.Tensor:
    """A disc of each colour [N,3], in -1..1, on white: [N,3,32,32]."""
    axis = torch.linspace(-1, 1, 32)
    inside = (axis[:, None] - centre) ** 2 + axis[None] ** 2 < radius**2
    return torch.where(inside, colours[:, :, None, None], torch.ones(()))


def test_shape_place_and_size_do_not_matter_and_colours_do():
    colours = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 1
    originals = discs(colours, 0.5)
    assert colours_kept(originals, originals) == 1
    assert colours_kept(discs(colours, 0.8, centre=0.1), originals) == pytest.approx(1)
    average = colours_kept(discs(colours.mean(dim=0, keepdim=True).expand(8, -1), 0.5), originals)
    assert 0 < average < 0.6
    assert colours_kept(originals.roll(1, dims=0), originals) == pytest.approx(0, abs=0.25)


def test_the_scale_is_the_mean_difference_of_two_originals():
    """Two discs, black and grey: the distance of each channel is that of the colours, everywhere."""
    originals = discs(torch.tensor([[-1.0] * 3, [0.0] * 3]), 0.5)
    halfway = discs(torch.tensor([[-0.5] * 3, [0.0] * 3]), 0.5)
    assert colours_kept(halfway, originals) == pytest.approx(0.75)  # 1 - mean(0.5, 0) / 1
    assert colours_kept(originals.flip(0), originals) == pytest.approx(0)


def test_all_white_images_and_bad_numbers_of_images():
    white = torch.ones(3, 3, 8, 8)
    assert colours_kept(white, white) == 1 and colours_kept(-white, white) == 0
    with pytest.raises(ValueError, match="3 images can't be compared with 2"):
        colours_kept(white, white[:2])
