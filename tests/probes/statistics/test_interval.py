"""Tests of probes/statistics/interval.py."""

import pytest
from scipy.stats import binomtest

from stratoscope.probes.statistics.interval import wilson


@pytest.mark.parametrize(
    ("correct", "count"), [(0, 1), (1, 1), (0, 40), (40, 40), (7, 10), (1, 1000), (5431, 10_000), (50_000, 50_000)]
)
def test_interval_is_scipys(correct: int, count: int) -> None:
    """The interval is SciPy's Wilson interval, also where nothing or everything is correct."""
    theirs = binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson(correct, count)
    assert low == pytest.approx(theirs.low, abs=1e-12)
    assert high == pytest.approx(theirs.high, abs=1e-12)
    assert 0 <= low < high <= 1


def test_quantile_sets_the_confidence() -> None:
    """Another normal quantile gives the interval of another confidence level."""
    theirs = binomtest(70, 100).proportion_ci(confidence_level=0.99, method="wilson")
    assert wilson(70, 100, z=2.5758293035489004) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("correct", "count"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(correct: int, count: int) -> None:
    """More successes than trials, fewer than none, and no trials are refused, naming both numbers."""
    with pytest.raises(ValueError, match=f"got {correct} of {count}"):
        wilson(correct, count)
