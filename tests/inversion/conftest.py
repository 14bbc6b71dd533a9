"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny import tiny_model

from gansketching_core.networks.stylegan2 import GanModel


@pytest.fixture(scope="module")
def make_model() -> Callable[..., GanModel]:
    def make(**changes) -> GanModel:
        """A tiny model whose images are within -1..1, as photos are."""
        model = tiny_model(**changes)
        for layer in model.generator.synthesis.to_rgb:
            layer.weight *= 0.1
        return model

    return make


@pytest.fixture(scope="module")
def model(make_model) -> GanModel:
    return make_model()


@pytest.fixture(scope="module")
def run():
    def run(search):
        """All steps of a search. -> its result, and what each step returned."""
        reports = []
        while not search.finished:
            reports.append(search.step())
        return search.result(), reports

    return run
