"""Progress bars, and Ctrl-C that waits for the end of a batch or a step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from ..inversion.bridging import BridgeFitter
    from ..inversion.image import Projector
    from ..inversion.sketch import SketchSearch
    from ..training.loop import StepReport


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yields `poll`, whose next call after Ctrl-C raises KeyboardInterrupt. A second Ctrl-C stops at once.

    Python allows signal handlers in the main thread only; elsewhere `poll` does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    pressed = False

    def on_signal(number, frame) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def poll() -> None:
        if pressed:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield poll
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def batch_bar(total: int, unit: str, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Yields `on_batch`, which shows how many of `total` are done, and raises KeyboardInterrupt after Ctrl-C."""
    with tqdm(total=total, unit=unit, dynamic_ncols=True, disable=not shown) as bar, interruptible() as poll:

        def on_batch(done: int, of: int = 0) -> None:
            poll()
            bar.total = total or of
            bar.update(done - bar.n)

        yield on_batch
        bar.update((bar.total or 0) - bar.n)  # what other processes have done


def run_search(search: Projector | SketchSearch | BridgeFitter) -> None:
    """Takes all steps. Ctrl-C ends the search early and keeps the best so far."""
    with tqdm(total=search.steps_total, unit="step", dynamic_ncols=True) as bar, interruptible() as poll:
        search.poll = poll
        try:
            while not search.finished:
                bar.set_postfix({name: f"{value:.3f}" for name, value in search.step().items()})
                bar.update()
        except KeyboardInterrupt:
            if not search.steps_done:
                raise
            bar.write("stopped: the best so far is the result", file=sys.stderr)


@contextmanager
def training_bar(
    total: int, *, shown: bool = True
) -> Iterator[tuple[Callable[[StepReport], None], Callable[[], None]]]:
    """Yields `on_step`, which shows the report of a step, and `poll`; both raise KeyboardInterrupt after Ctrl-C."""
    with tqdm(total=total, unit="step", dynamic_ncols=True, disable=not shown) as bar, interruptible() as poll:

        def on_step(report: StepReport) -> None:
            if shown:
                show(report)
            poll()

        def show(report: StepReport) -> None:
            if bar.n == 0 and report.step:
                bar.initial = bar.n = report.step
                bar.write(f"going on after step {report.step}", file=sys.stderr)
            bar.set_postfix({name: f"{value:.2f}" for name, value in report.losses.items()})
            bar.update()

        try:
            yield on_step, poll
        except KeyboardInterrupt:
            bar.close()
            if shown:
                print(f"Stopped after {bar.n} steps: the same command goes on from there.", file=sys.stderr)
            raise
