"""Tests of stratoscope/experiments/chance.py: networks at chance pass as often as is said, others are found."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from stratoscope.experiments.chance import ERROR_RATE, POWER, accepted, at_chance, p_value, power


@pytest.mark.parametrize(("count", "chance"), [(20, 0.5), (360, 0.1), (2000, 0.1), (10_000, 0.1), (50, 0.01)])
def test_p_values_are_those_of_the_exact_binomial_test(count: int, chance: float) -> None:
    """Twice the smaller tail; for even odds that is SciPy's two-sided test."""
    for correct in {0, 1, int(count * chance), int(count * chance) + 5, count}:
        tails = [binomtest(correct, count, chance, side).pvalue for side in ("less", "greater")]
        assert p_value(correct, count, chance) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-9)
    if chance == 0.5:
        assert p_value(5, count, chance) == pytest.approx(binomtest(5, count).pvalue)


@pytest.mark.parametrize(("count", "chance"), [(10_000, 0.1), (2000, 0.1), (360, 0.1), (30, 0.1)])
@pytest.mark.parametrize("comparisons", [1, 3, 5, 15])
def test_networks_at_chance_pass_as_often_as_is_said(count: int, chance: float, comparisons: int) -> None:
    """Exactly computed, over all networks of the table: at least 95 %."""
    low, high = accepted(count, chance, comparisons)
    inside = binom.cdf(high, count, chance) - binom.cdf(low - 1, count, chance)
    assert inside**comparisons >= 1 - ERROR_RATE
    # those are just the counts whose p-value is large enough
    level = ERROR_RATE / comparisons
    wanted = (
        [correct for correct in range(count + 1) if p_value(correct, count, chance) >= level] if count < 400 else []
    )
    assert not wanted or (low, high) == (wanted[0], wanted[-1])
    assert min(p_value(low, count, chance), p_value(high, count, chance)) >= level
    assert p_value(high + 1, count, chance) < level
    assert low == 0 or p_value(low - 1, count, chance) < level


def test_the_five_networks_of_table_1() -> None:
    """By the bounds that were there before, a point around the paper's own draws, they passed with probability 0.86."""
    published = [978, 1012, 986, 1048, 1061]
    before = [binom.cdf(one + 100, 10_000, 0.1) - binom.cdf(one - 101, 10_000, 0.1) for one in published]
    assert np.prod(before) == pytest.approx(0.86, abs=0.01)
    assert at_chance([(one, 10_000) for one in published], 0.1, 5, 0.03) == (True, True)  # the paper's own pass
    drawn = np.random.default_rng(0).binomial(10_000, 0.1, (100_000, 5))
    low, high = accepted(10_000, 0.1, 5)
    passed = ((drawn >= low) & (drawn <= high)).all(1).mean()
    exact = (binom.cdf(high, 10_000, 0.1) - binom.cdf(low - 1, 10_000, 0.1)) ** 5
    assert exact >= 0.95
    assert passed == pytest.approx(exact, abs=0.003)  # four standard deviations


@pytest.mark.parametrize(("count", "comparisons", "found"), [(10_000, 5, 0.013), (2000, 5, 0.03), (2000, 3, 0.03)])
def test_a_network_that_far_above_chance_is_found(count: int, comparisons: int, found: float) -> None:
    """With the probability that is said; exactly computed, and drawn."""
    assert power(count, 0.1, comparisons, 0.1 + found) >= POWER
    assert power(count, 0.1, comparisons, 0.1) <= ERROR_RATE / comparisons
    low, high = accepted(count, 0.1, comparisons)
    drawn = np.random.default_rng(1).binomial(count, 0.1 + found, 4000)
    assert ((drawn < low) | (drawn > high)).mean() == pytest.approx(
        power(count, 0.1, comparisons, 0.1 + found), abs=0.02
    )


def test_one_that_differs_is_enough_and_too_few_samples_are_said() -> None:
    """Whether all are at chance, and whether that would have been seen."""
    assert at_chance([(1000, 10_000), (1000, 10_000)], 0.1, 2, 0.02) == (True, True)
    assert at_chance([(1000, 10_000), (1100, 10_000)], 0.1, 2, 0.02) == (False, True)
    assert at_chance([(1000, 10_000), (900, 10_000)], 0.1, 2, 0.02) == (False, True)
    assert at_chance([(36, 360)], 0.1, 1, 0.02) == (True, False)
    assert at_chance([(36, 360)], 0.1, 1, None) == (True, True)
