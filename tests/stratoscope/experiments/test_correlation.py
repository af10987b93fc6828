"""Tests of stratoscope/experiments/correlation.py: rank correlations over runs, with intervals that are wide enough."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from stratoscope.experiments.correlation import Correlation, _correlation, correlations
from stratoscope.experiments.experiment import Claim, Quantity
from stratoscope.experiments.measured import Reading
from tests.small_experiments import result


def groups(x: list[list[float]], y: list[list[float]], error: float = 0.0) -> list[list[Any]]:
    """Pairs by group."""
    ends = (1.96 * error, 1.96 * error)
    return [
        [(Reading(a), Reading(b, ends)) for a, b in zip(one, other, strict=True)]
        for one, other in zip(x, y, strict=True)
    ]


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_coefficient_is_scipys(kind: str, seed: int) -> None:
    """With ties too."""
    drawn = np.random.default_rng(seed).integers(0, 6, (2, 12)).astype(float)
    found = _correlation(groups([[a] for a in drawn[0]], [[b] for b in drawn[1]]), kind)
    theirs: Any = (spearmanr if kind == "spearman" else kendalltau)(*drawn)
    expected = theirs.statistic
    assert found.reading.value == pytest.approx(expected)
    assert found.reading.low <= expected <= found.reading.high
    assert (found.runs, found.clusters) == (12, 12)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@pytest.mark.parametrize("count", [6, 20])
def test_the_interval_covers_what_is_true(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pairs that do not go together, in 95 % of draws or more: it may miss 0 in 10 of 100 at most."""
    monkeypatch.setattr("stratoscope.experiments.correlation.DRAWS", 40)
    generator = np.random.default_rng(count)
    missed = 0
    for _ in range(100):
        x, y = generator.normal(size=(2, count))
        one = _correlation(groups([[a] for a in x], [[b] for b in y]), kind).reading
        missed += not one.low <= 0 <= one.high
    assert missed <= 10


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_a_perfect_order_of_few_runs_is_not_certain(kind: str) -> None:
    """It also comes by chance; of many runs it hardly does."""
    few, many = (_correlation(groups([[k] for k in range(n)], [[k] for k in range(n)]), kind).reading for n in (5, 40))
    assert (few.value, many.value) == pytest.approx((1.0, 1.0))
    assert few.low < 0.5
    assert many.low > 0.9


def test_repetitions_stay_together() -> None:
    """Four repetitions of six groups say no more than six runs: the interval is much wider than that of 24."""
    generator = np.random.default_rng(0)
    x = [[k + 0.1 * j for j in range(4)] for k in range(6)]
    y = [[k % 3 + 0.01 * noise for noise in generator.normal(size=4)] for k in range(6)]
    together = _correlation(groups(x, y), "spearman").reading
    alone = _correlation(groups([[a] for g in x for a in g], [[b] for g in y for b in g]), "spearman").reading
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_runs_of_one_group_are_drawn_singly() -> None:
    """Or there would be no interval."""
    found = _correlation(groups([[1, 2, 3, 4, 5, 6]], [[1, 2, 4, 3, 6, 5]]), "spearman")
    assert found.clusters == 1
    assert found.reading.low < found.reading.value


def test_the_error_of_the_test_set_widens_the_interval() -> None:
    """What is not known at all leaves it unknown."""
    x, y = [[float(k)] for k in range(30)], [[float(k)] for k in range(30)]
    sure, unsure = (_correlation(groups(x, y, error), "spearman").reading for error in (0.0, 20.0))
    assert unsure.low < sure.low - 0.2
    assert np.isnan(_correlation(groups(x, y, float("nan")), "spearman").reading.low)


def test_fewer_than_five_groups_have_no_interval() -> None:
    """However many repetitions they have; and a constant quantity correlates with nothing."""
    few = _correlation(
        groups([[1.0, 1.1], [2.0, 2.1], [3.0], [4.0]], [[1.0, 1.1], [2.0, 2.1], [3.0], [4.0]]), "kendall"
    )
    assert few.reading.value == pytest.approx(1.0)
    assert np.isnan(few.reading.high)
    flat = _correlation(groups([[float(k)] for k in range(6)], [[1.0]] * 6), "spearman")
    assert flat.reading.value == 0.0
    assert flat.reading.low < 0 < flat.reading.high


def test_an_epoch_that_never_came_is_the_latest() -> None:
    """It is not left out, and its rank has no error."""
    y = [[1.0], [2.0], [3.0], [4.0], [float("inf")], [float("inf")]]
    found = _correlation(groups([[float(k)] for k in range(6)], y), "spearman")
    assert found.runs == 6
    assert found.reading.value > 0.95


def test_counterparts_are_the_same_in_all_that_is_left_open() -> None:
    """The seed too; and labels of an axis have a correlation each."""
    results = [
        result({"width": width, "step": step, "seed": seed}, 0.0, train)
        for width, base in (("narrow", 0.1), ("wide", 0.5))
        for seed in range(6)
        for step, train in (("a", base + seed / 100), ("b", base - seed / 100 if width == "wide" else base + seed / 50))
    ]
    quantities = {"x": Quantity("train/accuracy"), "y": Quantity("train/accuracy", percent=True)}
    claim = Claim("So", "y", {"step": "a"}, correlation="spearman", against="x", against_of={"step": "b"}, each="width")
    found: dict[str, Correlation] = correlations(claim, quantities, results, {})
    assert {label: one.reading.value for label, one in found.items()} == pytest.approx({"narrow": 1.0, "wide": -1.0})
    assert {one.runs for one in found.values()} == {6}


def test_runs_that_share_a_counterpart_are_one_group() -> None:
    """They are no more independent than it."""
    results = [result({"width": "narrow", "step": "train", "seed": 0}, 0.0, 0.5)]
    results += [result({"width": "narrow", "step": f"to {k}", "seed": 0}, 0.0, 0.1 * k) for k in range(7)]
    quantities = {"x": Quantity("train/accuracy"), "y": Quantity("train/accuracy", percent=True)}
    of: dict[str, Any] = {"step": [f"to {k}" for k in range(7)]}
    claim = Claim("So", "y", of, correlation="spearman", against="x", against_of={"step": "train"})
    (found,) = correlations(claim, quantities, results, {}).values()
    assert (found.runs, found.clusters) == (7, 1)
