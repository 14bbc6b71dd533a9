"""Progress bars that Ctrl-C ends after a batch or a step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from tqdm import tqdm

from ..inversion.image import Projector
from ..inversion.sketch import SketchSearch
from .interrupt import interruptible

Result = TypeVar("Result")


def with_bar(total: int, unit: str, work: Callable[[Callable[[int, int], None]], Result]) -> Result:
    """work(on_batch) with a progress bar; Ctrl-C stops it after a batch."""
    with tqdm(total=total, unit=unit, dynamic_ncols=True) as bar, interruptible() as poll:

        def on_batch(done: int, _: int) -> None:
            poll()
            bar.update(done - bar.n)

        return work(on_batch)


def run_search(search: Projector | SketchSearch, show: Callable[[object], str]) -> None:
    """All steps of a search. Ctrl-C ends it early and keeps the best so far."""
    with tqdm(total=search.steps_total, unit="step", dynamic_ncols=True) as bar, interruptible() as poll:
        search.poll = poll
        try:
            while not search.finished:
                bar.set_postfix_str(show(search.step()))
                bar.update()
        except KeyboardInterrupt:
            if not search.steps_done:
                raise
            bar.write("stopped: going on with the best so far", file=sys.stderr)
