"""Tests of probes/linear/control.py."""

from bisect import bisect_right
from fractions import Fraction
from itertools import accumulate

import pytest
import torch
from scipy.stats import chisquare

from stratoscope.datamodules.draws import raw_bits
from stratoscope.probes.linear.control import control_labels, selectivity


@pytest.mark.parametrize("frequencies", [[1.0] * 10, [5, 1, 0, 3], [0, 0.25, 0.75, 0], [1]])
def test_labels_come_as_often_as_their_class(frequencies: list[int | float]) -> None:
    """Counts of 20,000 labels fit the frequencies by a chi-squared test; classes of frequency 0 never come."""
    counts = torch.bincount(control_labels(20_000, frequencies, seed=0), minlength=len(frequencies))
    assert len(counts) == len(frequencies)
    expected = torch.tensor(frequencies, dtype=torch.float64) * 20_000 / sum(frequencies)
    assert bool((counts[expected == 0] == 0).all())
    if int((expected > 0).sum()) > 1:
        assert chisquare(counts[expected > 0].numpy(), expected[expected > 0].numpy()).pvalue > 1e-3


@pytest.mark.parametrize("frequencies", [[1] * 10, [5, 1, 0, 3], [5000, 4999, 5001]])
def test_labels_are_thresholds_on_the_raw_bits(frequencies: list[int]) -> None:
    """Each label is where its 53 raw bits fall among the cumulated frequencies, by exact arithmetic."""
    ends = [Fraction(end, sum(frequencies)) for end in accumulate(frequencies)]
    bits = raw_bits(3, "control labels", 500).tolist()
    expected = [bisect_right(ends, Fraction(word >> 11, 2**53)) for word in bits]
    assert control_labels(500, frequencies, seed=3).tolist() == expected


def test_labels_never_change() -> None:
    """The first labels of a seed, written down once: they stay with every version of NumPy and torch."""
    labels = control_labels(12, [1] * 10, seed=0)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [9, 2, 7, 1, 7, 5, 2, 9, 2, 7, 9, 2]


def test_label_of_an_input_does_not_depend_on_the_number_of_inputs() -> None:
    """The first inputs keep their labels when others follow, and frequencies may be counts or shares."""
    labels = control_labels(1000, [0.2, 0.3, 0.5], seed=1)
    assert torch.equal(control_labels(100, [0.2, 0.3, 0.5], seed=1), labels[:100])
    assert torch.equal(control_labels(1000, [20, 30, 50], seed=1), labels)
    assert control_labels(0, [1, 1], seed=1).shape == (0,)


def test_seeds_give_independent_labels() -> None:
    """Labels of two seeds agree as often as chance has it."""
    first, second = (control_labels(10_000, [1] * 10, seed) for seed in (0, 1))
    assert 0.08 < float((first == second).double().mean()) < 0.12


def test_stream_is_not_that_of_corrupted_labels() -> None:
    """With the same seed, control labels are not those of a corruption, which a network may have learnt."""
    control = control_labels(10_000, [1] * 10, seed=0)
    for purpose in ("labels", "confused labels"):
        others = (torch.from_numpy(raw_bits(0, purpose, 10_000) >> 11).double() * 2.0**-53 * 10).long()
        assert 0.08 < float((control == others).double().mean()) < 0.12


def test_global_generators_are_left_alone() -> None:
    """Drawing the labels does not move torch's random generator."""
    state = torch.get_rng_state()
    control_labels(100, [1, 2], seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("frequencies", [[], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_impossible_frequencies_are_refused(frequencies: list[int | float]) -> None:
    """No classes, only empty ones, negative and infinite frequencies are errors."""
    with pytest.raises(ValueError, match="frequencies must be finite, from 0 and not all 0"):
        control_labels(10, frequencies, seed=0)


@pytest.mark.parametrize(("n", "seed"), [(-1, 0), (1, -1)])
def test_negative_numbers_are_refused(n: int, seed: int) -> None:
    """A negative number of inputs or seed is an error that names both."""
    with pytest.raises(ValueError, match=f"must not be negative, got {n} and {seed}"):
        control_labels(n, [1, 1], seed)


def test_selectivity_is_what_capacity_does_not_explain() -> None:
    """It is the difference of the accuracies: 0 for a probe that learns anything, negative if chance does better."""
    assert selectivity(0.9, 0.25) == pytest.approx(0.65)
    assert selectivity(1.0, 1.0) == 0
    assert selectivity(0.1, 0.2) == pytest.approx(-0.1)


@pytest.mark.parametrize(("accuracy", "control"), [(1.1, 0.5), (0.5, -0.1), (90.0, 10.0), (float("nan"), 0.5)])
def test_what_is_no_accuracy_is_refused(accuracy: float, control: float) -> None:
    """Numbers outside [0, 1], as percentages, are errors."""
    with pytest.raises(ValueError, match=r"accuracies must be in \[0, 1\]"):
        selectivity(accuracy, control)
