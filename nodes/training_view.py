"""Shows a running training in the editor: messages to every open browser, and the button that ends it early.

A message (event "gansketching.training") carries the whole state, so that it does not matter how many browsers are open
and when they were opened. Its token names one training, so that a late click ends no other one. The last message is
also the node's output for the editor, which keeps it with the workflow.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable

from PIL import Image

from ..gansketching_core.training.finetune import StepReport
from . import host, pictures

EVENT, ROUTE = "gansketching.training", "/gansketching/stop"
EVERY = 0.3  # seconds between messages, at least
MOST_POINTS = 300  # of a curve in a message
PICTURE_SIDE = 640  # longer side of the picture in a message, in pixels, at most
PICTURE_CHARACTERS = 60_000  # length of the picture as text, at most
RECENT_STEPS = 20  # that the remaining time is estimated from

_running: dict[str, threading.Event] = {}  # token -> set to stop that training


class Curves:
    """Adversarial losses by name, as (step, value) points, updated step by step.

    Of each discriminator there are G, the loss of the generator, and D, the sum of its losses on real and on generated
    images. A curve has at most `most` points: beyond that, every other one is dropped. Values that are not finite are
    left out.
    """

    def __init__(self, history: Iterable[StepReport] = (), most: float = math.inf):
        self.points: dict[str, list[tuple[int, float]]] = {}
        self.most = most
        self._interval = 1  # between the steps that are kept
        for report in history:
            self.add(report)

    def add(self, report: StepReport) -> None:
        if report.step % self._interval:
            return
        totals: dict[str, float] = {}
        for loss, value in report.losses.items():
            if loss.startswith(("D ", "G ")):
                name = loss.removesuffix(" fake").removesuffix(" real")
                totals[name] = totals.get(name, 0.0) + value
        for name, value in totals.items():
            if math.isfinite(value):
                self.points.setdefault(name, []).append((report.step, value))
        if any(len(points) > self.most for points in self.points.values()):
            self._interval *= 2
            for name, points in self.points.items():
                self.points[name] = [point for point in points if point[0] % self._interval == 0]


class Broadcast:
    """Tells the editor how one training proceeds.

    Args:
        node: the id of the node that shows it; None outside an editor.
        total: the number of steps.
        workflow: the id of the workflow in the editor, None if it is not known.
        sketches: a picture of the sketches, shown beside the samples.
    """

    def __init__(
        self, node: str | None, total: int, *, workflow: str | None = None, sketches: Image.Image | None = None
    ):
        self.node = node
        self.total = total
        self.workflow = workflow
        self.prompt = host.prompt_id()
        self.last: dict = {}  # message
        self._sketches = "" if sketches is None else _as_text(sketches)
        self.token = secrets.token_hex(8)
        self._stop = threading.Event()
        self._last_sent = 0.0
        self._picture = ""
        self._take([])

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
        """Before the first step. history: the steps of earlier runs that this one continues."""
        self._take(history)
        self._send("training")

    def step(self, report: StepReport, picture: Image.Image | None = None) -> None:
        """After every step. picture: shown until the next one."""
        self._add(report)
        if picture is not None:
            self._picture = _as_text(picture)
        if picture is not None or time.monotonic() - self._last_sent > EVERY:
            self._send("stopping" if self.stop() else "training")

    def finished(self, history: list[StepReport], stopped: bool, picture: Image.Image) -> None:
        """At the end, also if nothing had to be trained."""
        self._take(history)
        self._picture = _as_text(picture)
        self._send("stopped" if stopped else "done")

    def _take(self, history: list[StepReport]) -> None:
        """Start again from these steps."""
        self._done = 0
        self._seconds = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._curves = Curves(most=MOST_POINTS)
        for report in history:
            self._add(report)

    def _add(self, report: StepReport) -> None:
        self._done = report.step + 1
        self._seconds += report.seconds
        self._recent.append(report.seconds - report.timings.get("warm start", 0.0))  # of the first step alone
        self._curves.add(report)

    def _send(self, state: str) -> None:
        if self.node is None:
            return
        seconds_a_step = sum(self._recent) / max(len(self._recent), 1)
        curves = {
            name: [(step, round(value, 4)) for step, value in points] for name, points in self._curves.points.items()
        }
        self.last = {
            "token": self.token,
            "prompt": self.prompt,
            "workflow": self.workflow,
            "node": self.node,
            "state": state,
            "step": self._done,
            "total": self.total,
            "seconds": round(self._seconds, 1),
            "seconds_left": round((self.total - self._done) * seconds_a_step, 1),
            "curves": curves,
            "sketches": self._sketches,
            "picture": self._picture,
        }
        host.send(EVENT, self.last)
        self._last_sent = time.monotonic()


def _as_text(picture: Image.Image) -> str:
    return pictures.data_uri(picture, PICTURE_SIDE, PICTURE_CHARACTERS)


def stop_and_keep(data: object) -> tuple[int, dict]:
    """Answers the button's request: {"token": of a running training} -> HTTP status, JSON of the response."""
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str):
        return 400, {"error": "send the token of a training"}
    stop = _running.get(token)  # one look-up: the training may end in its own thread at any moment
    if stop is None:
        return 404, {"error": "this training has ended already"}
    stop.set()
    return 200, {"stopping": token}


host.on_post(ROUTE, stop_and_keep)
