"""Commands in several processes, as torchrun starts them: one of them prints and shows progress."""

import logging
import os
import signal
import sys

import torch

from ..training import distributed
from ..training.distributed import Team


def join(device: torch.device) -> tuple[Team, torch.device]:
    """The processes that run this command together, and the device of this one; without torchrun, one process.

    When one process has ended, torchrun ends the others with SIGTERM, which stops them as Ctrl-C does.
    """
    team, device = distributed.join(device)
    if team.size > 1:
        signal.signal(signal.SIGTERM, _on_termination)
    if not team.writes:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        logging.disable(logging.INFO)
    return team, device


def _on_termination(number, frame) -> None:
    reason = "this process was told to end, as torchrun does when another one has ended"
    print(f"gansketching: {reason}; the same command goes on from the last saved state", file=sys.stderr)
    signal.raise_signal(signal.SIGINT)
