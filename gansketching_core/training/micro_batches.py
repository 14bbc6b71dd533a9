"""Batches computed in equal parts, one after the other or in several processes, with the same bits either way.

The gradients of the parts are added in a tree whose shape depends on their number alone, and each part gets the random
numbers that its samples have in the whole batch (`random_streams.random_samples`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..options import option
from ..random_streams import Part, stream
from .distributed import ALONE, Team

Losses = dict[str, Tensor]  # scalars, by name


def micro_batch_option(note: str = "", **keywords: Any) -> Any:
    """The option `micro_batch` of a trainer."""
    return option(
        0,
        "Images computed at a time: less memory, and what several processes (torchrun) share out. The result is the "
        f"same for any number of processes. 0: the whole batch.{note}",
        ge=0,
        le=1024,
        **keywords,
    )


class MicroBatches:
    """The equal parts of a batch, and which of them this process computes.

    Args:
        batch: samples of a step.
        size: samples of a part; 0: all of them.
        group: samples that a network compares with each other; a part is made of whole groups.
    """

    def __init__(self, batch: int, size: int = 0, *, group: int = 1, team: Team = ALONE):
        self.size = size or batch
        self.count = batch // self.size
        self.team = team
        self._group = group = min(group, batch)
        sizes = [k for k in range(group, batch, group) if batch % k == 0]
        remedy = f"use {' or '.join(map(str, sizes))}" if sizes else "use another batch"
        if size and size != batch and size not in sizes:
            raise ValueError(
                f"micro_batch is {size}, but the batch of {batch} is cut into equal parts of whole groups of {group}: "
                f"{remedy}, or 0 for the whole batch"
            )
        if self.count == 1 and team.size > 1:
            raise ValueError(f"{team.size} processes share out micro-batches: {remedy} as micro_batch (batch: {batch})")
        self._parts_of_ranks = [_share(self.count, rank, team.size) for rank in range(team.size)]
        self.own = self._parts_of_ranks[team.rank]

    def of_batch(self, batch: int) -> MicroBatches:
        """The same number of parts of another batch."""
        if batch % self.count:
            raise ValueError(
                f"micro_batch {self.size} makes {self.count} parts, into which a batch of {batch} cannot be cut: "
                "use a larger one, or 0 for the whole batch"
            )
        return MicroBatches(batch, batch // self.count, group=self._group, team=self.team)

    def streams(self, seed: int, purpose: str, *position: int) -> dict[int, torch.Generator]:
        """Random streams for the parts that this process computes."""
        return {index: self.stream(index, seed, purpose, *position) for index in self.own}

    def stream(self, index: int, seed: int, purpose: str, *position: int) -> torch.Generator:
        return stream(seed, purpose, *position, part=Part(index, self.count, self._group))

    def gradients(
        self,
        parameters: Sequence[Tensor],
        compute: Callable[[int], Losses],
        *,
        averaged: Iterable[nn.Module] = (),
    ) -> Losses:
        """Leave the gradients of the batch's mean loss in `parameters` -> the mean losses, equal in all processes.

        Args:
            compute: number of a part -> its mean losses, after their gradients have been added to the parameters'.
            averaged: networks whose buffers `compute` changes. Every part starts from the same; their means are kept.
        """
        if self.count == 1:
            return compute(0)
        buffers = [buffer for network in averaged for buffer in network.buffers()]
        means = [buffer for buffer in buffers if buffer.is_floating_point()]
        start = [buffer.clone() for buffer in buffers]
        tree = _Tree()

        def compute_own() -> tuple[list[bool], list[str]]:
            layout: tuple[list[bool], list[str]] = [], []
            for index in self.own:
                _copy(start, buffers)
                losses = compute(index)
                layout = [parameter.grad is not None for parameter in parameters], list(losses)
                gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
                values = [*gradients, *means, *losses.values()]
                tree.add(index, 1, torch.cat([value.detach().flatten().float() for value in values]))
                for parameter in parameters:
                    parameter.grad = None
            return layout

        has_gradient, names = self.team.agree(compute_own)[0]  # the first process always has a part
        trained = [parameter for parameter, has in zip(parameters, has_gradient, strict=True) if has]
        shapes = [value.shape for value in (*trained, *means)] + [torch.Size()] * len(names)
        values = self._mean(tree, sum(shape.numel() for shape in shapes), parameters[0].device)
        parts = [part.view(shape) for part, shape in zip(values.split([s.numel() for s in shapes]), shapes)]
        for parameter, gradient in zip(trained, parts):
            parameter.grad = gradient
        _copy(parts[len(trained) :], means)
        return dict(zip(names, parts[len(trained) + len(means) :]))

    def _mean(self, tree: _Tree, length: int, device: torch.device) -> Tensor:
        """The mean over all parts of the batch, of vectors [length] of which this process has added some up."""
        rows = torch.stack([vector for _, _, vector in tree.blocks]) if tree.blocks else torch.empty(0, length)
        blocks_of_ranks = [_blocks(own) for own in self._parts_of_ranks]
        sections = self.team.distribute(rows.to(device), [len(blocks) for blocks in blocks_of_ranks])
        whole = _Tree()
        for (first, size), section in zip((block for blocks in blocks_of_ranks for block in blocks), sections):
            whole.add(first, size, section)
        return self.team.collect(whole.total() / self.count, length)


class _Tree:
    """The sum of vectors 0, 1, 2 ... as a binary tree: first of 0 and 1, of 2 and 3 ..., then of these sums ..."""

    def __init__(self) -> None:
        self.blocks: list[tuple[int, int, Tensor]] = []  # first vector, number of vectors, their sum

    def add(self, first: int, size: int, vector: Tensor) -> None:
        """Add the sum of `size` vectors from `first` on; they follow the last."""
        while self.blocks and self.blocks[-1][1] == size and self.blocks[-1][0] % (2 * size) == 0:
            first, _, left = self.blocks.pop()
            vector = left + vector
            size = 2 * size
        self.blocks.append((first, size, vector))

    def total(self) -> Tensor:
        """The sum; blocks of unequal size, if their number is no power of 2, are added from the last to the first."""
        total = self.blocks[-1][2]
        for _, _, vector in reversed(self.blocks[:-1]):
            total = vector + total
        return total


def _blocks(parts: range) -> list[tuple[int, int]]:
    """First part and size of the blocks that a tree makes of consecutive parts."""
    tree = _Tree()
    for index in parts:
        tree.add(index, 1, torch.zeros(0))
    return [(first, size) for first, size, _ in tree.blocks]


def _share(count: int, rank: int, processes: int) -> range:
    """The parts, of `count`, of one process: consecutive, and none of the later processes has more than an earlier."""
    least, more = divmod(count, processes)
    first = rank * least + min(rank, more)
    return range(first, first + least + (rank < more))


@torch.no_grad()
def _copy(values: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    for value, target in zip(values, targets):
        target.copy_(value)
