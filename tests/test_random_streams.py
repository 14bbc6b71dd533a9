"""Random streams repeat, differ by purpose and position, and leave global generators alone."""

import pytest
import torch

from gansketching_core.random_streams import seeded_init, stream


def numbers(*position) -> list[int]:
    return torch.randint(2**31, (4,), generator=stream(*position)).tolist()


def test_a_stream_repeats_and_differs_from_all_others():
    others = [numbers(1, "phase", 3, 1), numbers(0, "phase", 3, 2), numbers(0, "phase", 3), numbers(0, "noise", 3, 1)]
    assert numbers(0, "phase", 3, 1) == numbers(0, "phase", 3, 1)
    assert numbers(0, "phase", 3, 1) not in others
    with pytest.raises(KeyError):
        stream(0, "no such purpose")


def test_initial_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    expected_next = torch.rand(3)
    torch.manual_seed(7)
    expected_weights = torch.nn.Linear(3, 3).weight
    torch.manual_seed(1)
    with seeded_init(7):
        weights = torch.nn.Linear(3, 3).weight
    assert torch.equal(weights, expected_weights) and torch.equal(torch.rand(3), expected_next)
