"""Tests of datamodules/order.py."""

import hashlib
from itertools import chain

import numpy as np
import pytest
import torch

from stratoscope.datamodules.order import SequentialBatches, ShuffledBatches


def listed(batches: ShuffledBatches | SequentialBatches) -> list[list[int]]:
    """The samples of every batch of a pass."""
    return [batch.tolist() for batch in batches]


def flat(batches: ShuffledBatches | SequentialBatches) -> list[int]:
    """All samples of a pass, in order."""
    return list(chain.from_iterable(listed(batches)))


@pytest.mark.parametrize(("size", "batch_size"), [(20, 4), (22, 4), (5, 8), (7, 7), (9, 1)])
def test_every_sample_once_per_epoch(size: int, batch_size: int) -> None:
    """On one rank an epoch holds every sample once, in batches of batch_size but for the last."""
    batches = listed(ShuffledBatches(size, batch_size, seed=0))
    assert sorted(chain.from_iterable(batches)) == list(range(size))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches[-1]) == size - batch_size * (len(batches) - 1)


def test_orders_never_change() -> None:
    """The orders of epochs 0 and 1 of seed 0 are those of the checksums written down here."""
    batches = ShuffledBatches(1000, 128, seed=0)
    hashes = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        hashes.append(hashlib.sha256(np.array(flat(batches), dtype="<i8").tobytes()).hexdigest())
    assert hashes == [
        "980cf85bb45ed325f390eb31f535c23d990cff20054c7d29c49f7e6aac656c0c",
        "e061c074f471aa6d0f10dd1a120462999744c87b4d87077bcf28a77f74a7688d",
    ]


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("epoch", [0, 3])
def test_ranks_share_the_batches_of_one_rank(ranks: int, epoch: int) -> None:
    """The ranks' equal shares, side by side, are the batch that one rank alone would take."""
    whole = ShuffledBatches(40, 8, seed=1)
    shares = [ShuffledBatches(40, 8, seed=1, rank=rank, ranks=ranks) for rank in range(ranks)]
    for batches in (whole, *shares):
        batches.set_epoch(epoch)
    steps = list(zip(*map(listed, shares), strict=True))
    assert {len(share) for step in steps for share in step} == {8 // ranks}
    assert [list(chain.from_iterable(step)) for step in steps] == listed(whole)


@pytest.mark.parametrize(("size", "kept"), [(16, 16), (17, 16), (19, 16), (20, 20), (22, 20), (23, 20)])
def test_a_remainder_smaller_than_the_ranks_is_left_out(size: int, kept: int) -> None:
    """Four ranks take as many steps as each other and all samples but size % 4, each once."""
    shares = [listed(ShuffledBatches(size, 8, seed=0, rank=rank, ranks=4)) for rank in range(4)]
    steps = list(zip(*shares, strict=True))
    assert all(len({len(share) for share in step}) == 1 for step in steps)
    samples = [sample for step in steps for share in step for sample in share]
    assert len(samples) == len(set(samples)) == kept
    assert set(samples) <= set(range(size))


def test_other_samples_are_left_out_in_every_epoch() -> None:
    """Over 50 epochs every sample of 17 on two ranks is trained on, though one is left out in each."""
    left_out = set()
    for epoch in range(50):
        both = [ShuffledBatches(17, 4, seed=0, rank=rank, ranks=2) for rank in range(2)]
        for batches in both:
            batches.set_epoch(epoch)
        (missing,) = set(range(17)) - set(chain.from_iterable(map(flat, both)))
        left_out.add(missing)
    assert len(left_out) > 8  # fails with odds below 1e-7 if each epoch leaves out a random one


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_length_is_the_number_of_batches(ranks: int) -> None:
    """`len` agrees with what iterating gives, for all sizes around multiples."""
    for size in range(1, 30):
        for rank in range(ranks):
            batches = ShuffledBatches(size, 8, seed=0, rank=rank, ranks=ranks)
            assert len(list(batches)) == len(batches), f"size {size}"


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    """Every (seed, epoch) has another order, and the same one each time."""
    orders = {}
    for seed in range(3):
        batches = ShuffledBatches(30, 8, seed)
        for epoch in (2, 0, 1):
            batches.set_epoch(epoch)
            orders[seed, epoch] = flat(batches)
            assert flat(batches) == orders[seed, epoch]
    assert len({tuple(order) for order in orders.values()}) == 9
    again = ShuffledBatches(30, 8, seed=2)
    again.set_epoch(1)
    assert flat(again) == orders[2, 1]


def test_the_epoch_counts_until_the_first_batch_is_asked_for() -> None:
    """`set_epoch` between iter() and the first next() still decides the order, as Lightning may call iter() early."""
    batches = ShuffledBatches(30, 8, seed=0)
    batches.set_epoch(5)
    expected = listed(batches)
    batches.set_epoch(4)
    iterator = iter(batches)
    batches.set_epoch(5)
    assert [batch.tolist() for batch in iterator] == expected


def test_the_order_does_not_change_under_way() -> None:
    """`set_epoch` after the first batch leaves the rest of the epoch as it is."""
    batches = ShuffledBatches(30, 8, seed=0)
    expected = listed(batches)
    iterator = iter(batches)
    begun = [next(iterator)]
    batches.set_epoch(1)
    assert [batch.tolist() for batch in [*begun, *iterator]] == expected


@pytest.mark.parametrize(("batch_size", "ranks"), [(7, 2), (128, 3), (2, 4)])
def test_a_batch_size_that_ranks_cannot_share_is_refused(batch_size: int, ranks: int) -> None:
    """The batch size must be a multiple of the number of devices; the message has both."""
    with pytest.raises(ValueError, match=rf"multiple of the number of devices \({ranks}\), got {batch_size}"):
        ShuffledBatches(100, batch_size, seed=0, rank=0, ranks=ranks)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 4, 10, 12, 13, 24, 25])
def test_sequential_batches_cover_every_sample_once(size: int, ranks: int) -> None:
    """The ranks' parts, one after the other, are the set in its order, and equal but for one sample."""
    parts = [flat(SequentialBatches(size, 4, rank, ranks)) for rank in range(ranks)]
    assert list(chain.from_iterable(parts)) == list(range(size))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_sequential_batches_are_full_but_for_the_last(ranks: int) -> None:
    """Each rank's batches have batch_size samples, the last one the rest; `len` is their number."""
    for size in range(ranks, 30):
        for rank in range(ranks):
            batches = SequentialBatches(size, 4, rank, ranks)
            lengths = [len(batch) for batch in batches]
            assert len(batches) == len(lengths) > 0
            assert all(length == 4 for length in lengths[:-1])
            assert 1 <= lengths[-1] <= 4


def test_fewer_samples_than_ranks_are_refused() -> None:
    """A rank without a batch would keep the others waiting; the message has both numbers."""
    with pytest.raises(ValueError, match="2 samples cannot be dealt out to 3 devices"):
        SequentialBatches(2, 4, rank=0, ranks=3)


def test_sequential_batches_of_one_rank_keep_the_order() -> None:
    """One rank reads the set from its first sample to its last."""
    assert listed(SequentialBatches(10, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batches_are_tensors_on_the_device_asked_for(device: str) -> None:
    """Samples are given out as int64 tensors there; without a device, on the CPU."""
    there = torch.device(device)
    for batches in (ShuffledBatches(10, 4, seed=0, device=there), SequentialBatches(10, 4, device=there)):
        assert {(batch.dtype, batch.device.type) for batch in batches} == {(torch.int64, device)}
    for batches in (ShuffledBatches(10, 4, seed=0), SequentialBatches(10, 4)):
        assert {batch.device.type for batch in batches} == {"cpu"}
