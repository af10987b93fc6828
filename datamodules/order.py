"""Which samples make up which batch, on which rank: a pure function of (seed, epoch)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from stratoscope.datamodules.draws import permutations, raw_bits

CPU = torch.device("cpu")


class ShuffledBatches(Sampler[Tensor]):
    """Batches of one epoch of training, in an order that depends on nothing but the seed and the epoch.

    The batch size counts all ranks together: each takes an equal, contiguous share of every batch. The last batch is
    smaller; where it does not divide by the ranks, its remainder (fewer samples than ranks, others in every epoch)
    is left out.

    Attributes:
        epoch: Whose order the next iteration gives.
        skip: Batches that the next iteration leaves out, as an interrupted run has taken them.

    Args:
        size: Number of samples in the set.
        batch_size: Samples per step, over all ranks; a multiple of their number.
        seed: Decides the orders of all epochs.
        rank: This process.
        ranks: Number of processes.
        device: Where the indices are given out.
        same: Whether all epochs have the order of the first.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device = CPU,
        same: bool = False,
    ) -> None:
        if batch_size % ranks:
            raise ValueError(f"batch_size must be a multiple of the number of devices ({ranks}), got {batch_size}")
        self.size, self.batch_size, self.seed, self.rank, self.ranks = size, batch_size, seed, rank, ranks
        self.epoch, self.skip, self.device, self.same = 0, 0, device, same
        self.sampler = self  # Lightning announces the epoch to `batch_sampler.sampler`

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order the next iteration gives."""
        self.epoch = 0 if self.same else epoch

    def taken(self, batches: int) -> Sequence[int]:
        """The samples, of all ranks, that so many first batches of every epoch give over the whole training."""
        if not self.same or batches >= len(self):
            return range(self.size)
        order = permutations(raw_bits(self.seed, "order of epoch 0", self.size))
        return sorted(order[: batches * self.batch_size].tolist())

    def __iter__(self) -> Iterator[Tensor]:
        # A generator: nothing is read before the first batch is asked for, as Lightning may call iter() early.
        order = permutations(raw_bits(self.seed, f"order of epoch {self.epoch}", self.size))
        skip, self.skip = self.skip, 0
        for batch in torch.from_numpy(order).to(self.device).split(self.batch_size)[skip:]:
            share = len(batch) // self.ranks
            if share:
                yield batch[self.rank * share : (self.rank + 1) * share]

    def __len__(self) -> int:
        whole, rest = divmod(self.size, self.batch_size)
        return whole + (rest >= self.ranks)


class SequentialBatches(Sampler[Tensor]):
    """Consecutive samples, every one once, on one rank: each has a contiguous part, equal but for one sample.

    Args:
        size: Number of samples in the set; at least one per rank, as Lightning waits for a rank without batches.
        batch_size: Samples per batch on one rank.
        rank: This process.
        ranks: Number of processes.
        device: Where the indices are given out.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, ranks: int = 1, device: torch.device = CPU) -> None:
        if size < ranks:
            raise ValueError(f"{size} samples cannot be dealt out to {ranks} devices")
        self.size, self.ranks = size, ranks
        self.start, self.end = size * rank // ranks, size * (rank + 1) // ranks
        self.batch_size, self.device = batch_size, device

    def taken(self, batches: int) -> Sequence[int]:
        """The samples that so many first batches of all ranks give."""
        parts = [(self.size * rank // self.ranks, self.size * (rank + 1) // self.ranks) for rank in range(self.ranks)]
        return [place for start, end in parts for place in range(start, min(end, start + batches * self.batch_size))]

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.arange(self.start, self.end, device=self.device).split(self.batch_size)

    def __len__(self) -> int:
        return -(-(self.end - self.start) // self.batch_size)
