"""Tests of callbacks/samples/loader_samples.py."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from stratoscope.callbacks.samples.loader_samples import given_samples, padding
from stratoscope.datamodules import Digits
from stratoscope.datamodules.order import SequentialBatches, ShuffledBatches

pytestmark = pytest.mark.usefixtures("no_pictures")

SIZE = 40
DATA = TensorDataset(torch.arange(SIZE))
EVERY = list(range(SIZE))
SEVEN: Any = torch.arange(7)  # people give tensors, too
WEIGHTS = torch.tensor([0.0, 1.0] * (SIZE // 2))


class Wrapper(Sampler[int]):
    """Somebody's own sampler around another.

    Args:
        sampler: The other.
        length: What it says its length is.
    """

    def __init__(self, sampler: Any, length: int | None = None) -> None:
        self.sampler, self.length = sampler, len(sampler) if length is None else length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        yield from list(self.sampler)[: self.length]


class Buckets(Sampler[list[int]]):
    """Somebody's own batch sampler, with or without what tells which samples it takes."""

    def __init__(self, batches: int, **more: Any) -> None:
        self.batches = batches
        vars(self).update(more)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        raise AssertionError("nobody may ask it, as it may draw")


def ours(batches: Any) -> DataLoader[Any]:
    """A loader of our batches, whose indices are tensors."""
    return DataLoader(DATA, batch_sampler=batches)


def subset(n: int) -> SubsetRandomSampler:
    """Some samples."""
    return SubsetRandomSampler(range(n))


def dealt(inner: Any = None, shuffle: bool = True) -> DistributedSampler[Any]:
    """As Lightning deals out samples to two processes, of which this is the second."""
    if inner is None:
        return DistributedSampler(DATA, 2, 1, shuffle)
    return DistributedSamplerWrapper(inner, num_replicas=2, rank=1, shuffle=shuffle)


@pytest.mark.parametrize(
    ("loader", "samples"),
    [
        (DataLoader(DATA), EVERY),
        (DataLoader(DATA, shuffle=True), EVERY),
        (DataLoader(DATA, sampler=subset(7)), EVERY[:7]),
        (DataLoader(DATA, sampler=SubsetRandomSampler(SEVEN)), EVERY[:7]),
        (DataLoader(DATA, batch_sampler=BatchSampler(subset(10), 4, False)), EVERY[:10]),
        (DataLoader(DATA, batch_sampler=BatchSampler(Wrapper(subset(10)), 4, False)), EVERY[:10]),
        (DataLoader(DATA, sampler=BatchSampler(subset(10), 4, False), batch_size=None), EVERY[:10]),
        (DataLoader(DATA, batch_sampler=[[3, 1], [2]]), [1, 2, 3]),
        (DataLoader(DATA, batch_sampler=Buckets(3, indices=[5, 2, 9])), [2, 5, 9]),
        (DataLoader(DATA, batch_sampler=Buckets(10, batch_size=4)), EVERY),
        (DataLoader(DATA, batch_sampler=Buckets(10, batch_size=4, taken={3, 1})), EVERY),
        (DataLoader(DATA, sampler=BatchSampler(Wrapper(subset(10)), 4, False), batch_size=None), EVERY[:10]),
        (DataLoader(DATA, sampler=SequentialSampler(range(9))), EVERY[:9]),
        (DataLoader(DATA, sampler=RandomSampler(range(9))), EVERY[:9]),
        (DataLoader(DATA, sampler=RandomSampler(DATA, replacement=True, num_samples=SIZE)), EVERY),
        (DataLoader(DATA, sampler=WeightedRandomSampler(WEIGHTS.tolist(), SIZE)), EVERY[1::2]),
        (DataLoader(DATA, sampler=Wrapper(WeightedRandomSampler(WEIGHTS.tolist(), SIZE))), EVERY[1::2]),
        (DataLoader(DATA, sampler=dealt()), EVERY),
        (DataLoader(DATA, sampler=dealt(subset(7))), EVERY[:7]),
        (DataLoader(DATA, batch_sampler=BatchSampler(dealt(subset(7)), 4, False)), EVERY[:7]),
        (DataLoader(DATA, sampler=dealt(Wrapper(subset(7)))), EVERY[:7]),
        (DataLoader(Subset(DATA, range(5, 20)), shuffle=True), EVERY[:15]),
        (ours(ShuffledBatches(SIZE, 8, 0)), EVERY),
        (ours(SequentialBatches(SIZE, 8, 1, 2)), EVERY),
    ],
)
def test_samples_are_those_that_the_loader_gives(loader: DataLoader[Any], samples: list[int]) -> None:
    """Whatever stands between the sampler that decides and the loader; and no generator is drawn from."""
    state = torch.get_rng_state()
    found, which = given_samples(loader, "train", 1.0)
    assert found == samples
    assert ("samples" in which or "those" in which) == (len(samples) < len(loader.dataset))  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (RandomSampler(DATA, num_samples=10), "which 10 of 40 samples RandomSampler takes, for train: give it an"),
        (WeightedRandomSampler(WEIGHTS.tolist(), 10), "which 10 of 20 samples WeightedRandomSampler takes"),
        (Wrapper(SequentialSampler(DATA), 11), "which 11 of 40 samples Wrapper takes"),
        (dealt(RandomSampler(DATA, num_samples=12)), "which 12 of 40 samples RandomSampler takes"),
    ],
)
def test_samples_that_cannot_be_known_are_refused(sampler: Any, message: str) -> None:
    """With what would tell."""
    with pytest.raises(TypeError, match=message):
        given_samples(DataLoader(DATA, sampler=sampler), "train")
    with pytest.raises(TypeError, match=message):
        given_samples(DataLoader(DATA, batch_sampler=BatchSampler(sampler, 4, True)), "train")


def test_batches_of_unknown_samples_are_refused() -> None:
    """Three batches of four cannot be all of forty."""
    for more in ({}, {"taken": {3, 1}}, {"taken": 7}):  # which is no method of theirs that tells
        with pytest.raises(TypeError, match="which 12 of 40 samples Buckets takes"):
            given_samples(DataLoader(DATA, batch_sampler=Buckets(3, batch_size=4, **more)), "train", 2)


class Stream(IterableDataset[int]):
    """Samples without an index."""

    def __iter__(self) -> Iterator[int]:
        yield from range(9)


def test_what_has_no_index_is_refused() -> None:
    """A stream, a list of batches, a data set of batches: in one line with what would be right."""
    with pytest.raises(TypeError, match=r"for val, .* got DataLoader of Stream: put the .* or use OnlineProbes"):
        given_samples(DataLoader(Stream()), "val")
    with pytest.raises(TypeError, match=r"indexed data set for train, .* got list"):
        given_samples([DATA.tensors], "train")
    with pytest.raises(TypeError, match="single samples with an index for train, got one with batch_size None"):
        given_samples(DataLoader(DATA, batch_size=None), "train")


@pytest.mark.parametrize(
    ("options", "batches", "samples"),
    [
        ({"batch_size": 4}, 3, EVERY[:12]),
        ({"batch_size": 4}, 0.25, EVERY[:8]),
        ({"batch_size": 4, "sampler": dealt(shuffle=False)}, 3, EVERY[:24]),
        ({"batch_size": 4, "sampler": SequentialSampler(range(10))}, 2, EVERY[:8]),
        ({"batch_size": 16, "drop_last": True}, 1.0, EVERY[:32]),
        ({"batch_sampler": [[3, 1], [2], [7]]}, 2, [3, 1, 2]),
    ],
)
def test_the_first_batches_are_those_that_every_epoch_takes(
    options: dict[str, Any], batches: float, samples: list[int]
) -> None:
    """In a fixed order the others are never trained on: limit_train_batches, overfit_batches, drop_last."""
    found, which = given_samples(DataLoader(DATA, **options), "train", batches)
    assert found == samples
    assert which.startswith("those of the first batches, which every epoch takes")


def test_all_samples_come_in_turn_where_the_order_changes() -> None:
    """A limit does not say which; that all are read is said."""
    for sampler in (RandomSampler(DATA), dealt()):
        found, which = given_samples(DataLoader(DATA, 4, sampler=sampler), "train", 3)
        assert found == EVERY
        assert which == "all 40, though an epoch takes only some of them, others in every epoch"


@pytest.mark.parametrize("ranks", [1, 2])
def test_our_batches_say_which_samples_come(ranks: int) -> None:
    """In the order of the first epoch where that is the order of all, and what all ranks are given."""
    parts = [ShuffledBatches(SIZE, 8, 3, rank, ranks, same=True) for rank in range(ranks)]
    first = sorted(int(i) for part in parts for batch in list(part)[:2] for i in batch)
    loader = ours(parts[0])
    assert given_samples(loader, "train", 2)[0] == first
    assert len(first) == 16
    rest = [SequentialBatches(SIZE, 8, rank, ranks) for rank in range(ranks)]
    some = sorted(int(i) for part in rest for batch in list(part)[:2] for i in batch)
    assert rest[0].taken(2) == some


def test_our_loaders_give_everything() -> None:
    """Training and test sets of a data module."""
    data = Digits()
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert given_samples(loader, "train", 1.0) == (list(range(len(loader.dataset))), "")  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(("size", "replicas", "each"), [(65, 2, 8), (64, 2, 8), (66, 4, 5), (3, 2, 8), (2, 4, 1)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_padding_is_what_comes_twice(size: int, replicas: int, each: int, shuffle: bool) -> None:
    """Without it all processes together have every sample once."""
    data, seen = TensorDataset(torch.arange(size)), []
    for rank in range(replicas):
        loader = DataLoader(data, each, sampler=DistributedSampler(data, replicas, rank, shuffle))
        for batch_idx, (batch,) in enumerate(loader):
            seen += batch.tolist()[: len(batch) - padding(loader, batch_idx, len(batch))]
    assert sorted(seen) == list(range(size))


def test_what_is_not_dealt_out_has_no_padding() -> None:
    """Plain loaders, ours, and anything else."""
    for loader in (DataLoader(DATA, 7), ours(SequentialBatches(SIZE, 8)), [DATA.tensors]):
        assert padding(loader, 5, 7) == 0
