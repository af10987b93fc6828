"""Tests of scripts/bench/ratios.py."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from scipy.stats import binom


@pytest.fixture(scope="module")
def ratios() -> Iterator[ModuleType]:
    """The module, which scripts import from their own folder."""
    path = Path(__file__).parents[2] / "scripts" / "bench" / "ratios.py"
    spec = importlib.util.spec_from_file_location("bench_ratios", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (10, 2), (15, 4), (20, 6), (30, 10), (50, 18)])
def test_ranks_are_those_of_the_sign_test(ratios: ModuleType, n: int, rank: int) -> None:
    """The ends are the order statistics of the published 95 % tables, counted from either end."""
    low, high, _ = ratios.median_interval(reversed(range(1, n + 1)))
    assert (low, high) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", range(1, 40))
def test_the_coverage_is_the_binomial_one(ratios: ModuleType, n: int) -> None:
    """The median lies outside when too few or too many of n fair coins fall; a narrower interval would cover less."""
    low, _, coverage = ratios.median_interval(range(n))
    assert coverage == pytest.approx(1 - 2 * binom.cdf(low, n, 0.5), abs=1e-12)
    assert coverage >= 0.95 or low == 0
    assert low + 1 > (n - 1) // 2 or 1 - 2 * binom.cdf(low + 1, n, 0.5) < 0.95


def test_no_values_are_refused(ratios: ModuleType) -> None:
    """The message says so."""
    with pytest.raises(ValueError, match="got none"):
        ratios.median_interval([])


def test_blocks_take_turns(ratios: ModuleType) -> None:
    """After one block of each to warm up, every pair of blocks holds both, first one way round, then the other."""
    order: list[str] = []
    ratio = ratios.compare(lambda: order.append("theirs"), lambda: order.append("ours"), 3)
    assert order == ["theirs", "ours"] * 2 + ["ours", "theirs"] + ["theirs", "ours"]
    assert (len(ratio.theirs), len(ratio.ours)) == (3, 3)


def test_a_ratio_is_theirs_over_ours(ratios: ModuleType) -> None:
    """On a clock that the blocks move, six seconds over two are three, without spread; warming up does not count."""
    now = 0.0

    def advance(seconds: float) -> None:
        nonlocal now
        now += seconds

    ratio = ratios.compare(lambda: advance(6), lambda: advance(2), 7, lambda: now)
    assert ratio.ratios == [3] * 7
    assert (ratio.median, ratio.interval) == (3, (3, 3))


def test_only_a_whole_interval_below_what_is_wanted_refutes_it(ratios: ModuleType) -> None:
    """A median below the wanted ratio holds while the interval reaches it."""
    ratio = ratios.Ratio(theirs=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), ours=(1.0,) * 7)
    assert ratio.interval == (1, 7)
    assert ratio.of("blocks", at_least=5).holds
    assert ratio.of("blocks", at_least=7).holds
    assert not ratio.of("blocks", at_least=7.1).holds


def test_the_table_has_a_row_each(ratios: ModuleType) -> None:
    """Times are those of a step; the median, its interval, what is wanted and the spread are there."""
    ratio = ratios.Ratio(theirs=(0.6,) * 7, ours=(0.2,) * 6 + (0.3,))
    lines = ratios.table([ratio.of("norm", at_least=2, steps=20), ratio.of("loop", at_least=4)]).splitlines()
    assert lines[0] == "| what | theirs | ours | ratio | at least | holds |"
    assert lines[2] == "| norm | 30.00 ms | 10.00 ms | 3.00 [2.00, 3.00] | 2 | yes |"
    assert lines[3] == "| loop | 600.00 ms | 200.00 ms | 3.00 [2.00, 3.00] | 4 | no |"
    assert "7 interleaved blocks" in lines[-1]
    assert "(98%)" in lines[-1]
    assert "2.00 to 3.00; 2.00 to 3.00" in lines[-1]
