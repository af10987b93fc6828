"""Samples dealt out to processes in blocks of fixed size, and put together again in their original order.

A block is computed on one process as it would be on any other, so the features, and all that is fitted to them, do not
depend on the number of processes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

BLOCK = 500  # samples per block


@dataclass(frozen=True)
class Shard:
    """This process's share of the work.

    Attributes:
        rank: This process.
        ranks: Number of processes.
    """

    rank: int = 0
    ranks: int = 1

    def blocks(self, indices: list[int]) -> list[list[int]]:
        """Every ranks-th block of the samples, from this process's own."""
        blocks = [indices[start : start + BLOCK] for start in range(0, len(indices), BLOCK)]
        return blocks[self.rank :: self.ranks]

    def owns(self, item: int) -> bool:
        """Whether the item-th piece of whole work, such as a layer, is this process's."""
        return item % self.ranks == self.rank

    def gather(self, rows: Shaped[Tensor, "m ..."], count: int, item: int) -> Shaped[Tensor, "n ..."] | None:
        """Put together the rows of all processes, on the process that owns the item.

        Args:
            rows: Rows of this process's blocks, in order.
            count: Number of samples n in all blocks of all processes.
            item: Which piece of work the rows are for.

        Returns:
            All rows in their original order; None on processes that do not own the item.
        """
        if self.ranks == 1:
            return rows
        blocks = -(-count // BLOCK)
        held = -(-blocks // self.ranks)  # blocks per process, at most
        padded = rows.new_zeros(held * BLOCK, *rows.shape[1:])
        padded[: len(rows)] = rows
        owner = item % self.ranks
        parts = [torch.empty_like(padded) for _ in range(self.ranks)] if self.owns(item) else None
        distributed.gather(padded, parts, dst=owner)
        if parts is None:
            return None
        in_turn = torch.stack(parts).view(self.ranks, held, BLOCK, *rows.shape[1:]).transpose(0, 1)
        return in_turn.flatten(0, 2)[:count]

    def share(self, mine: dict[int, Any]) -> dict[int, Any]:
        """Give every process the results of all, by item."""
        if self.ranks == 1:
            return mine
        everyone: list[dict[int, Any]] = [{} for _ in range(self.ranks)]
        distributed.all_gather_object(everyone, mine)
        return {item: result for part in everyone for item, result in part.items()}
