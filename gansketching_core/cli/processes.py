"""Commands in several processes, as torchrun starts them: one of them prints and shows progress."""

from __future__ import annotations

import logging
import os
import signal
import sys

import torch

from ..training import distributed
from ..training.distributed import Team


def join(device: torch.device) -> tuple[Team, torch.device]:
    """The processes that run this command together, and the device of this one; without torchrun, one process.

    torchrun ends the others with SIGTERM when one has ended: that stops a command as Ctrl-C does, with its state saved.
    """
    team, device = distributed.join(device)
    if team.size > 1:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if not team.writes:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        logging.disable(logging.INFO)
    return team, device
