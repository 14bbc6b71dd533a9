"""Watching a training in the editor: messages to every open browser, and the button that ends it early.

A message (event "gansketching.training") tells all there is to show, so that a browser opened later, or several, or
none, are all the same. Its token names this one training: a click that comes late ends nothing else.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Iterable

from PIL import Image

from ..gansketching_core.training.finetune import StepReport
from . import host, pictures

EVENT, ROUTE = "gansketching.training", "/gansketching/stop"
EVERY = 0.3  # seconds between messages, at least
MOST_POINTS = 300  # of a curve in a message
PICTURE_SIDE, PICTURE_LETTERS = 640, 60_000  # longer side and text of the picture in a message, at most

_running: dict[str, threading.Event] = {}


def curves(history: Iterable[StepReport]) -> dict[str, list[tuple[int, float]]]:
    """Adversarial losses by name, as (step, value): G of each discriminator, and what each D makes of both inputs."""
    series: dict[str, list[tuple[int, float]]] = {}
    for report in history:
        totals: dict[str, float] = {}
        for name, value in report.losses.items():
            if name[:2] in ("D ", "G "):
                curve = name.removesuffix(" fake").removesuffix(" real")
                totals[curve] = totals.get(curve, 0.0) + value
        for name, value in totals.items():
            series.setdefault(name, []).append((report.step, value))
    return series


class Broadcast:
    """Tells the editor how one training goes. node: the id of the node that shows it; None outside an editor."""

    def __init__(self, node: str | None, total: int):
        self.node, self.total, self.token = node, total, secrets.token_hex(8)
        self.history: list[StepReport] = []
        self._stop, self._sent, self._picture = threading.Event(), 0.0, ""

    def __enter__(self) -> Broadcast:
        _running[self.token] = self._stop
        return self

    def __exit__(self, kind, *_) -> None:
        del _running[self.token]
        if kind is not None:
            self._send("cancelled" if host.cancelled(kind) else "failed")

    def stop(self) -> bool:
        """Whether the user has asked to stop and keep."""
        return self._stop.is_set()

    def started(self, history: list[StepReport]) -> None:
        """Before the first step. history: the steps of earlier runs that this one goes on from."""
        self.history = history
        self._send("training")

    def step(self, report: StepReport, picture: Image.Image | None = None) -> None:
        """After every step. picture: shown until the next one."""
        self.history.append(report)
        if picture is not None:
            self._picture = pictures.data_uri(picture, PICTURE_SIDE, PICTURE_LETTERS)
        if picture is not None or time.monotonic() - self._sent > EVERY:
            self._send("stopping" if self.stop() else "training")

    def finished(self, history: list[StepReport], stopped: bool, picture: Image.Image) -> None:
        """At the end, also where nothing had to be trained."""
        self.history = history
        self._picture = pictures.data_uri(picture, PICTURE_SIDE, PICTURE_LETTERS)
        self._send("stopped" if stopped else "done")

    def _send(self, state: str) -> None:
        if self.node is None:
            return
        done = self.history[-1].step + 1 if self.history else 0
        recent = [report.seconds for report in self.history[-20:]]
        left = (self.total - done) * sum(recent) / max(len(recent), 1)
        host.send(
            EVENT,
            {
                "token": self.token,
                "node": self.node,
                "state": state,
                "step": done,
                "total": self.total,
                "seconds": round(sum(report.seconds for report in self.history), 1),
                "seconds_left": round(left, 1),
                "curves": {name: _thinned(points) for name, points in curves(self.history).items()},
                "picture": self._picture,
            },
        )
        self._sent = time.monotonic()


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS of them, and only what JSON can carry."""
    every = math.ceil(len(points) / MOST_POINTS)
    return [(step, round(value, 4)) for step, value in points[::every] if math.isfinite(value)]


def stop_and_keep(data: object) -> tuple[int, dict]:
    """Answer to the button: {"token": of a running training} -> status, body."""
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str):
        return 400, {"error": "send the token of a training"}
    if token not in _running:
        return 404, {"error": "this training has ended already"}
    _running[token].set()
    return 200, {"stopping": token}


host.on_post(ROUTE, stop_and_keep)
