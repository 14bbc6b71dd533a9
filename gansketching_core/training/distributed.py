"""Processes that work on one run together, as torchrun starts them: the only module that knows torch.distributed.

CPU tensors and messages go through gloo, CUDA tensors through NCCL. A process that ends breaks its connections, which
ends the others as soon as they meet.
"""

import atexit
import functools
import gc
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

Item = TypeVar("Item")
Value = TypeVar("Value")

WAIT = timedelta(days=7)  # for a process that is alive; a process that has ended is noticed at once


class ProcessEnded(ConnectionError):
    """Another process of the run has ended without a word."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended; the same command goes on from the last saved state, "
            "with any number of processes"
        )


class Team:
    """A process that works alone; `_Processes` are several. All methods are called by all processes in the same order.

    Every process runs the same code on the same data. Only what `share`, `claim` and `map` give out differs.
    """

    rank = 0
    size = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the files of the run and shows its progress."""
        return self.rank == 0

    def agree(self, work: Callable[[], Value]) -> list[Value]:
        """work() in every process -> the results of all. If it raises in one, cancelling included, it does in all."""
        return [work()]

    def first(self, work: Callable[[], Value]) -> Value:
        """work() in the process that writes -> its result, in all."""
        return self.agree(lambda: work() if self.writes else None)[0]  # pyright: ignore[reportReturnType]

    def claim(self, items: Sequence[Item]) -> Iterator[Item]:
        """Yields each item in one of the processes, the next one to whichever is free."""
        yield from items

    def map(self, function: Callable[[Item], Tensor], items: Iterable[Item]) -> Iterable[Tensor]:
        """As the built-in `map`, but each item is worked on in one of the processes; all get all results, in order."""
        return map(function, items)

    def distribute(self, rows: Tensor, row_counts: Sequence[int]) -> Tensor:
        """Rows [R,N] of this process -> the same section of the rows of all [sum of row_counts, section of N].

        Every process gets another section. row_counts: how many rows each of them has, in order of rank.
        """
        return rows

    def collect(self, section: Tensor, length: int) -> Tensor:
        """A vector [length] of the processes' sections."""
        return section


ALONE = Team()


class _Processes(Team):
    def __init__(self, device: torch.device, rank: int, size: int, store: dist.Store):  # pyright: ignore[reportPrivateImportUsage]
        self.device = device
        self.rank = rank
        self.size = size
        self._store = store
        self._lists_claimed = 0

    def agree(self, work: Callable[[], Value]) -> list[Value]:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        reports: list[Any] = [None] * self.size
        with _noticing_the_end_of_others():
            dist.all_gather_object(reports, (result, error and _describe(error)))
        if error:
            raise error
        for rank, (_, problem) in enumerate(reports):
            if problem:
                kind, message = problem
                raise kind(f"process {rank}: {message}")
        return [result for result, _ in reports]

    def claim(self, items: Sequence[Item]) -> Iterator[Item]:
        self._lists_claimed += 1
        key = f"claimed of list {self._lists_claimed}"
        while (index := self._store.add(key, 1) - 1) < len(items):
            yield items[index]

    def map(self, function: Callable[[Item], Tensor], items: Iterable[Item]) -> Iterable[Tensor]:
        items = list(items)

        def work() -> dict[int, tuple[Tensor, str]]:
            own = {k: function(items[k]) for k in self.claim(range(len(items)))}
            return {k: (result.cpu(), result.device.type) for k, result in own.items()}

        results: dict[int, tuple[Tensor, str]] = {}
        for part in self.agree(work):
            results |= part
        in_order = [results[k] for k in range(len(items))]
        return [result.to(self.device) if kind == self.device.type else result for result, kind in in_order]

    def distribute(self, rows: Tensor, row_counts: Sequence[int]) -> Tensor:
        """Every process sends each other one that one's section of its rows: all_to_all."""
        section = math.ceil(rows.shape[1] / self.size)
        padded = F.pad(rows, (0, section * self.size - rows.shape[1]))
        sent = rearrange(padded, "rows (processes n) -> (processes rows n)", processes=self.size)
        received = sent.new_empty(sum(row_counts) * section)
        with _noticing_the_end_of_others():
            dist.all_to_all_single(
                received, sent, [count * section for count in row_counts], [len(rows) * section] * self.size
            )
        return received.view(-1, section)

    def collect(self, section: Tensor, length: int) -> Tensor:
        sections = [torch.empty_like(section) for _ in range(self.size)]
        with _noticing_the_end_of_others():
            dist.all_gather(sections, section)
        return torch.cat(sections)[:length]


@functools.cache
def join(device: torch.device) -> tuple[Team, torch.device]:
    """The team of the processes that torchrun has started, and the device of this one; without torchrun, ALONE.

    Of the device "cuda" every process of a machine takes another GPU.
    """
    together = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    if not together or os.environ["WORLD_SIZE"] == "1":
        return ALONE, device
    backend = "gloo"
    if device.type == "cuda":
        device = _own_gpu(device, int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    # PyTorch's optimisers load this module, whose functions keep the group of that time as a default argument for ever.
    import torch.distributed.nn.functional  # noqa: F401

    store, rank, size = next(rendezvous("env://"))
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=WAIT)
    atexit.register(leave)
    return _Processes(device, rank, size, store), device


def leave() -> None:
    """Disconnect from the other processes; at the latest before the interpreter ends.

    gloo's threads end with the last reference to the group. A thread that is late to let go of a tensor, as on a busy
    machine, needs the interpreter for it, and aborts the process ("terminate called without an active exception") if
    that has already ended. The frames of an exception that nobody has caught refer to the group, too.
    """
    for name in ("last_exc", "last_value", "last_traceback"):
        setattr(sys, name, None)
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def unused_port() -> int:
    """A port of this machine on which processes can meet."""
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port  # pyright: ignore[reportPrivateImportUsage]


def announce(rank: int, processes: int, port: int) -> None:
    """Tell `join` in this process what torchrun would: that it is one of several on this machine."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}


def _own_gpu(device: torch.device, local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if processes > (1 if device.index is not None else count):
        raise ValueError(
            f"{processes} processes can't share {device}: use --nproc-per-node {count}, one for each GPU, and "
            "--device cuda, or --device cpu"
        )
    device = device if device.index is not None else torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _describe(error: BaseException) -> tuple[type[BaseException], str]:
    """What the other processes raise: cancelling as it is, users' errors as such, all others as RuntimeError."""
    if isinstance(error, KeyboardInterrupt):
        return KeyboardInterrupt, "stopped"
    if isinstance(error, (ValueError, OSError)):
        return ValueError, str(error)
    return RuntimeError, f"{type(error).__name__}: {error}"


@contextmanager
def _noticing_the_end_of_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's, of a closed connection
        raise ProcessEnded from error
