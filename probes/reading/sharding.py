"""Samples dealt out to processes in blocks of fixed size, and put together again in their original order.

A block is computed on one process as it would be on any other, so the features, and all that is fitted to them, do not
depend on the number of processes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

from stratoscope.probes.reading.storage import room

BLOCK = 125  # samples per block: their activations stay in a CPU's cache, a quarter to a half less time than with 500
ON_ACCELERATOR = 500  # and on an accelerator, where every block costs launches: as many as in an evaluation batch
TURN = 16  # blocks of a process that are sent at a time


class FailedTogether(RuntimeError):
    """Something that went wrong on some process, raised on all of them at the same place."""


@dataclass(frozen=True)
class Shard:
    """This process's share of the work.

    Attributes:
        rank: This process.
        ranks: Number of processes.
        device: Through which rows are sent; None sends them from where they are.
    """

    rank: int = 0
    ranks: int = 1
    device: torch.device | None = None

    @property
    def block(self) -> int:
        """Samples per block."""
        return BLOCK if self.device is None or self.device.type == "cpu" else ON_ACCELERATOR

    def blocks(self, indices: list[int]) -> list[list[int]]:
        """Every ranks-th block of the samples, from this process's own."""
        blocks = [indices[start : start + self.block] for start in range(0, len(indices), self.block)]
        return blocks[self.rank :: self.ranks]

    def owns(self, item: int) -> bool:
        """Whether the item-th piece of whole work, such as a layer, is this process's."""
        return item % self.ranks == self.rank

    def gather(
        self, rows: Shaped[Tensor, "m ..."], count: int, item: int, folder: Path | None = None
    ) -> Shaped[Tensor, "n ..."] | None:
        """Put together the rows of all processes, on the process that owns the item, a few blocks at a time.

        Args:
            rows: Rows of this process's blocks, in order.
            count: Number of samples n in all blocks of all processes.
            item: Which piece of work the rows are for.
            folder: Where to keep them in a file (see `room`); None keeps them in memory.

        Returns:
            All rows in their original order; None on processes that do not own the item.
        """
        if self.ranks == 1:
            return rows
        whole = room((count, *rows.shape[1:]), rows.dtype, rows.device, folder) if self.owns(item) else None
        held = -(-count // (self.block * self.ranks))  # blocks per process, at most
        for first in range(0, held, TURN):
            size = min(TURN, held - first) * self.block
            mine = rows[first * self.block : first * self.block + size]
            padded = torch.zeros(size, *rows.shape[1:], dtype=rows.dtype, device=self.device or rows.device)
            padded[: len(mine)] = mine
            parts = None if whole is None else [torch.empty_like(padded) for _ in range(self.ranks)]
            distributed.gather(padded, parts, dst=item % self.ranks)
            if whole is not None and parts is not None:
                blocks = torch.stack(parts).unflatten(1, (-1, self.block))  # (ranks, blocks, samples, ...)
                in_turn = blocks.transpose(0, 1).flatten(0, 2)
                place = whole[first * self.block * self.ranks :][: len(in_turn)]
                place.copy_(in_turn[: len(place)])
        return whole

    def agree(self, error: Exception | None) -> None:
        """End a piece of work on all processes alike: where one of them failed, all fail, and none waits for it.

        Args:
            error: What went wrong on this process.

        Raises:
            Exception: The error, on a single process.
            FailedTogether: If there is one on any of several.
        """
        if self.ranks == 1:
            if error is not None:
                raise error
            return
        mine = None if error is None else f"{type(error).__name__}: {error}"
        reasons = {rank: reason for rank, reason in self.share({self.rank: mine}).items() if reason}
        for rank, reason in sorted(reasons.items()):
            raise FailedTogether(f"{reason} (process {rank})") from error

    def share(self, mine: dict[int, Any]) -> dict[int, Any]:
        """Give every process the results of all, by item."""
        if self.ranks == 1:
            return mine
        everyone: list[dict[int, Any]] = [{} for _ in range(self.ranks)]
        distributed.all_gather_object(everyone, mine)
        return {item: result for part in everyone for item, result in part.items()}
