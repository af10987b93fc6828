"""Tests of probes/statistics/comparison.py."""

from inspect import unwrap

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from stratoscope.probes.statistics.comparison import compare


def _correct(both: int, only_a: int, only_b: int, neither: int) -> tuple[Tensor, Tensor]:
    """Two classifiers with these counts, the samples in a mixed order."""
    a = torch.tensor([True] * (both + only_a) + [False] * (only_b + neither))
    b = torch.tensor([True] * both + [False] * only_a + [True] * only_b + [False] * neither)
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))
    return a[order], b[order]


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((14, 5, 0, 22), 0.011, 0.226),  # thallium stress test: Altman et al. 2000, Statistics with Confidence, p. 52
        ((1, 1, 7, 12), -0.507, -0.026),  # hyper-responsive airways: Fagerland et al. 2014, Stat. Med. 33:2850-2875
        ((59, 6, 16, 80), -0.119, -0.005),  # response to a therapy: the same
    ],
)
def test_interval_is_that_of_published_examples(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    """The worked examples of the literature for Newcombe's method 10 come out to their three digits."""
    found = compare(*_correct(*counts))
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (1, 0), (0, 5), (3, 3), (10, 3), (12, 13), (500, 400), (2100, 1900)]
)
def test_p_value_is_scipys_exact_test(only_a: int, only_b: int) -> None:
    """The p-value is that of SciPy's two-sided binomial test, at few and at many differing samples; 1 without any."""
    found = compare(*_correct(50, only_a, only_b, 7))
    theirs = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p_value == pytest.approx(theirs, rel=1e-9)
    assert 0 < found.p_value <= 1


def test_counts_and_difference_are_those_of_the_samples() -> None:
    """Of 20 samples a alone has 6 right and b alone 2: a is 20 points better."""
    found = compare(*_correct(5, 6, 2, 7))
    assert (found.count, found.only_a, found.only_b) == (20, 6, 2)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high


@pytest.mark.parametrize("counts", [(5, 6, 2, 7), (0, 9, 0, 1), (30, 0, 0, 0), (0, 3, 4, 0), (700, 60, 40, 200)])
def test_exchanging_the_classifiers_turns_the_sign(counts: tuple[int, int, int, int]) -> None:
    """Comparing b with a gives the negative difference and interval, and the same p-value."""
    a, b = _correct(*counts)
    one, other = compare(a, b), compare(b, a)
    assert other.p_value == one.p_value
    assert (other.difference, other.low, other.high) == pytest.approx((-one.difference, -one.high, -one.low), abs=1e-15)


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 40, 0, 0), (0, 0, 0, 40), (9, 0, 0, 9), (0, 9, 9, 0)]
)
def test_interval_holds_at_the_extremes(counts: tuple[int, int, int, int]) -> None:
    """With nothing, everything or the same correct the interval has a width, holds the difference, stays in [-1, 1]."""
    found = compare(*_correct(*counts))
    assert -1 <= found.low <= found.difference <= found.high <= 1
    assert found.high - found.low > 0.01


def test_agreement_narrows_the_interval() -> None:
    """At equal accuracies, classifiers that err on the same samples are compared more surely than others."""
    together, apart = compare(*_correct(75, 5, 5, 15)), compare(*_correct(62, 18, 18, 2))
    assert together.high - together.low < (apart.high - apart.low) / 1.5


def test_interval_holds_the_true_difference_in_95_percent() -> None:
    """Of 1,000 drawn test sets of 100 samples, 93 to 97.5 % have the true difference of 10 points in the interval."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(1000, 100, generator=generator)
    # both right in 60 %, only a in 20 %, only b in 10 %, neither in 10 %
    found = [compare(row < 0.8, (row < 0.6) | ((row >= 0.8) & (row < 0.9))) for row in draws]
    assert 0.93 <= sum(one.low <= 0.1 <= one.high for one in found) / 1000 <= 0.975


@pytest.mark.parametrize(("of_a", "of_b"), [(0, 0), (3, 4)])
def test_other_samples_are_refused(of_a: int, of_b: int) -> None:
    """No samples, and different numbers of them, are refused, naming both."""
    with pytest.raises(ValueError, match=f"got {of_a} and {of_b}"):
        unwrap(compare)(torch.ones(of_a).bool(), torch.ones(of_b).bool())  # without the check of shapes
