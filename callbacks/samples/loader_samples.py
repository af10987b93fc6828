"""Which samples of its data set a loader gives, found out without asking its sampler, which may draw."""

from collections.abc import Callable, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)


def given_samples(
    loader: Any, split: str, batches: float | None = None, reader: str = "LinearProbes"
) -> tuple[list[int], str]:
    """The samples that a loader gives over the epochs of a training, on all processes together.

    Args:
        loader: Of the trainer.
        split: Name of the set, for messages.
        batches: How much of every epoch is taken, as Lightning's limits say: a number of batches or, as a float, a
            share of them. None takes all samples that may come.
        reader: Who reads them, for messages.

    Returns:
        Their indices, in the order of the set unless the sampler has one of its own; and in words what they are, empty
        if they are all.

    Raises:
        TypeError: If they cannot be known, or not be read by index.
    """
    size = _size(loader, split, reader)
    sampler = _innermost(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
    if batches is not None and (few := _first_batches(loader, batches)) is not None:
        return few, f"those of the first batches, which every epoch takes ({len(few):,} of {size:,})"
    indices = _indices(sampler, size, split, reader)
    name = type(sampler).__name__
    partly = f"those that {name} gives ({len({*indices}):,} of {size:,})" if len({*indices}) < size else ""
    if batches is not None and _taken(loader, batches) < _batches(loader):
        return indices, partly or f"all {size:,}, though an epoch takes only some of them, others in every epoch"
    return indices, partly


def padding(loader: Any, batch_idx: int, size: int) -> int:
    """How many samples at the end of a batch are there only so that all processes have equally many.

    Args:
        loader: The trainer's, of this process.
        batch_idx: Which batch of this process it is.
        size: Samples in it.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    sampler, each = getattr(batch_sampler, "sampler", None), getattr(batch_sampler, "batch_size", None)
    if not isinstance(sampler, DistributedSampler) or not isinstance(each, int):
        return 0
    first = batch_idx * each  # of this process's samples; the j-th is at place j * replicas + rank of all
    real = -(-(len(sampler.dataset) - sampler.rank) // sampler.num_replicas)  # type: ignore[arg-type]
    return min(size, max(0, first + size - real))


def _size(loader: Any, split: str, reader: str) -> int:
    """The size of a loader's data set.

    Raises:
        TypeError: If it is not read by index.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        inside = f" of {type(loader.dataset).__name__}" if isinstance(loader, DataLoader) else ""
        raise TypeError(
            f"{reader} needs a DataLoader over an indexed data set for {split}, as it reads the same samples at "
            f"every epoch; got {type(loader).__name__}{inside}: put the samples to probe into a data set with an index "
            "and a length, or use OnlineProbes, which reads the batches that train"
        )
    if not isinstance(loader.dataset, Sized) or (
        loader.batch_sampler is None and not isinstance(loader.sampler, BatchSampler)
    ):
        raise TypeError(
            f"{reader} needs a DataLoader over single samples with an index for {split}, got one with batch_size "
            f"{loader.batch_size} over {type(loader.dataset).__name__}"
        )
    return len(loader.dataset)


def _innermost(sampler: Any) -> Any:
    """What decides: the sampler inside those that only make batches of it, or deal it out to processes."""
    if _tells(sampler) or hasattr(sampler, "indices"):
        return sampler
    if isinstance(sampler, DistributedSampler):  # as Lightning wraps a sampler
        inside = getattr(sampler.dataset, "_sampler", None)
    else:
        inside = getattr(sampler, "_batch_sampler", getattr(sampler, "sampler", None))
    known = isinstance(sampler, (BatchSampler, DistributedSampler))
    if inside is None or inside is sampler or not (known or _reach(sampler) >= _reach(inside)):
        return sampler
    return _innermost(inside)


def _tells(sampler: Any) -> Callable[[int], Sequence[int]] | None:
    """The method by which our batch samplers tell what their first batches give; None if there is no such method."""
    own: Callable[[int], Sequence[int]] | None = getattr(sampler, "taken", None)
    return own if callable(own) else None


def _reach(sampler: Any) -> int:
    """How many samples it gives at most."""
    return len(sampler) * getattr(sampler, "batch_size", 1) if isinstance(sampler, Sized) else 0


def _indices(sampler: Any, size: int, split: str, reader: str) -> list[int]:
    """Every sample that a sampler may give.

    Raises:
        TypeError: If that cannot be known.
    """
    if isinstance(sampler, WeightedRandomSampler):
        likely = torch.as_tensor(sampler.weights).nonzero()[:, 0].tolist()
        if sampler.num_samples >= len(likely):
            return likely
        raise TypeError(_unknown(sampler, sampler.num_samples, len(likely), split, reader))
    own = getattr(sampler, "indices", None)
    if isinstance(own, (Sequence, Tensor, np.ndarray)) and not isinstance(own, str):
        return sorted(int(index) for index in own)
    if isinstance(sampler, Sequence):  # batches, or samples, one by one
        return sorted(int(i) for part in sampler for i in (part if isinstance(part, Sequence) else [part]))
    if _tells(sampler) or isinstance(sampler, DistributedSampler):
        return list(range(size))
    if isinstance(sampler, (SequentialSampler, RandomSampler)):
        size = len(sampler.data_source)
    if not isinstance(sampler, Sized) or _reach(sampler) >= size:
        return list(range(size))
    raise TypeError(_unknown(sampler, _reach(sampler), size, split, reader))


def _unknown(sampler: Any, many: int, size: int, split: str, reader: str) -> str:
    return (
        f"{reader} cannot tell which {many} of {size} samples {type(sampler).__name__} takes, for {split}: give "
        "it an attribute indices, or a Subset of the data"
    )


def _first_batches(loader: DataLoader[Any], batches: float) -> list[int] | None:
    """The samples of the first batches where every epoch begins with the same; None where it does not, or takes all."""
    outer, taken = loader.batch_sampler, _taken(loader, batches)
    size = len(loader.dataset)  # type: ignore[arg-type]
    few: list[int] | None = None
    if own := _tells(outer):
        few = list(own(taken))
    elif isinstance(outer, list):
        few, size = [int(index) for part in outer[:taken] for index in part], sum(map(len, outer))
    elif isinstance(outer, BatchSampler) and type(outer).__iter__ is BatchSampler.__iter__:
        inner, decides = outer.sampler, _innermost(outer)
        shuffles = isinstance(inner, DistributedSampler) and inner.shuffle and decides is inner
        if isinstance(decides, (SequentialSampler, DistributedSampler)) and not shuffles:
            replicas = inner.num_replicas if isinstance(inner, DistributedSampler) else 1
            size = len(getattr(decides, "data_source", ())) or size
            few = list(range(min(size, taken * outer.batch_size * replicas)))
    return few if few is not None and len(few) < size else None


def _batches(loader: DataLoader[Any]) -> int:
    try:
        return len(loader)
    except TypeError:  # a sampler without a length
        return 0


def _taken(loader: DataLoader[Any], batches: float) -> int:
    """Batches of an epoch that Lightning takes of a loader."""
    there = _batches(loader)
    return min(there, batches) if isinstance(batches, int) else int(there * batches)
