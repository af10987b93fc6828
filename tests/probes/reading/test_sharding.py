"""Tests of probes/reading/sharding.py."""

from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from stratoscope.probes.reading.sharding import BLOCK, Shard

# few and many blocks, full and short last blocks, and at 2 and 3 processes some without a block
COUNTS = (1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 123, 6 * BLOCK + 7)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_blocks_partition_the_indices(count: int, ranks: int) -> None:
    """Every index is in one block of one process, in order, and the numbers of blocks differ by at most 1."""
    indices = list(range(10, 10 + 3 * count, 3))
    dealt = [Shard(rank, ranks).blocks(indices) for rank in range(ranks)]
    assert sorted(index for blocks in dealt for block in blocks for index in block) == indices
    assert all(block == sorted(block) for blocks in dealt for block in blocks)
    lengths = [len(blocks) for blocks in dealt]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_blocks_are_the_same_for_any_number_of_processes(count: int, ranks: int) -> None:
    """A block holds the same samples however many processes share them."""
    indices = list(range(count))
    alone = Shard().blocks(indices)
    together = [block for rank in range(ranks) for block in Shard(rank, ranks).blocks(indices)]
    assert sorted(together) == alone
    assert all(len(block) == BLOCK for block in alone[:-1])


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_item_has_one_owner(ranks: int) -> None:
    """Each piece of whole work belongs to exactly one process, and the pieces are spread evenly."""
    owned = [[item for item in range(10) if Shard(rank, ranks).owns(item)] for rank in range(ranks)]
    assert sorted(item for items in owned for item in items) == list(range(10))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1


def test_one_process_needs_no_group() -> None:
    """With one process, gather and share give back what they get, without torch.distributed."""
    rows = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    gathered = Shard().gather(rows, 7, item=5)
    assert gathered is not None
    assert torch.equal(gathered, rows)
    assert Shard().share({0: "a", 3: "b"}) == {0: "a", 3: "b"}


def test_processes_put_the_rows_together_in_order(tmp_path: Path) -> None:
    """Two, and three, real processes gather each item's rows in their order on its owner, and share all results."""
    start_processes(_gather_and_share, (tmp_path,), nprocs=3, start_method="fork")
    done = {"done-0-of-2", "done-1-of-2", "done-0-of-3", "done-1-of-3", "done-2-of-3"}
    assert {path.name for path in tmp_path.glob("done-*")} == done


def _gather_and_share(rank: int, folder: Path) -> None:
    for ranks in (2, 3):
        if rank < ranks:
            store = f"file://{folder}/store-{ranks}"
            distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
            shard = Shard(rank, ranks)
            mine = {item: f"{item} by {rank}" for item, count in enumerate(COUNTS) if _gathers(shard, item, count)}
            assert shard.share(mine) == {item: f"{item} by {item % ranks}" for item in range(len(COUNTS))}
            distributed.destroy_process_group()
            (folder / f"done-{rank}-of-{ranks}").touch()


def _gathers(shard: Shard, item: int, count: int) -> bool:
    """Gather this process's part of `count` rows, and compare where all are put together."""
    generator = torch.Generator().manual_seed(item)
    rows = torch.randn(count, 3, generator=generator) if item % 2 else torch.randperm(count, generator=generator)
    own = torch.tensor([i for block in shard.blocks(list(range(count))) for i in block], dtype=torch.long)
    gathered = shard.gather(rows[own], count, item)
    if gathered is None:
        return False
    torch.testing.assert_close(gathered, rows, rtol=0, atol=0)
    return True
