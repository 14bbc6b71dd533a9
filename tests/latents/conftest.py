"""What tests of several modules share."""

from __future__ import annotations

import pytest
from tiny import tiny_model

from gansketching_core.latents.sampling import sample_z
from gansketching_core.latents.spaces import Latents
from gansketching_core.networks.stylegan2 import GanModel


@pytest.fixture(scope="module")
def model() -> GanModel:
    """A model with 8 layers, whose z and w have different lengths."""
    return tiny_model(z_dim=16, w_dim=12)


@pytest.fixture
def z(model) -> Latents:
    return sample_z(model, 5, seed=3)
