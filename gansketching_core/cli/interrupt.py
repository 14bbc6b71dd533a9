"""Ctrl-C that waits for the end of an update of the weights."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
