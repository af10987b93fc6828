"""Tests of probes/sharding.py."""

from pathlib import Path

import pytest
import torch
from torch import distributed
from torch import multiprocessing as mp

from stratoscope.probes.sharding import BLOCK, Shard

# few and many blocks, full and short last blocks, and at 2 and 3 processes some without a block
COUNTS = (1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 123, 6 * BLOCK + 7)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_blocks_partition_the_indices(count: int, ranks: int) -> None:
    """Every index is in one block of one process, in order, and the processes' numbers of blocks differ by at most 1."""
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


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_put_the_rows_together_in_order(ranks: int, tmp_path: Path) -> None:
    """Real processes gather every item's rows in their original order on its owner, and share all results."""
    mp.spawn(_gather_and_share, (ranks, tmp_path), nprocs=ranks)
    assert sorted(path.name for path in tmp_path.glob("done-*")) == [f"done-{rank}" for rank in range(ranks)]


def _gather_and_share(rank: int, ranks: int, folder: Path) -> None:
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    shard = Shard(rank, ranks)
    mine: dict[int, str] = {}
    for item, count in enumerate(COUNTS):
        shape = (count, 3) if item % 2 else (count,)
        rows = torch.randn(*shape, generator=torch.Generator().manual_seed(item)).to(
            [torch.float32, torch.float64][item % 2]
        )
        own = torch.tensor([i for block in shard.blocks(list(range(count))) for i in block], dtype=torch.long)
        gathered = shard.gather(rows[own], count, item)
        assert (gathered is not None) == shard.owns(item)
        if gathered is not None:
            torch.testing.assert_close(gathered, rows, rtol=0, atol=0)
            mine[item] = f"{item} by {rank}"
    assert shard.share(mine) == {item: f"{item} by {item % ranks}" for item in range(len(COUNTS))}
    distributed.destroy_process_group()
    (folder / f"done-{rank}").touch()
