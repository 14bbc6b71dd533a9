"""Shared by all tests."""

from __future__ import annotations

import torch

torch.set_num_threads(1)  # the networks of the tests are tiny: threads only wait for each other on busy machines
