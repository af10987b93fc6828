"""Tests of stratoscope/experiments/claims.py: verdicts can say yes, no, and that they do not know."""

from pathlib import Path
from typing import Any

import pytest

from stratoscope.experiments.claims import comparison_with, verdict_of
from stratoscope.experiments.quantities import Result
from stratoscope.experiments.specification import Claim, Experiment, Published, read_experiment
from tests.small_experiments import result, written

NARROW, WIDE = {"width": "narrow"}, {"width": "wide"}


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """An experiment with two widths and two seeds, and quantities of the test accuracy."""
    quantities = {
        "accuracy": {"metric": "test/accuracy", "percent": True},
        "epochs to half": {"metric": "test/accuracy", "at_least": 0.5},
    }
    return read_experiment(str(written(tmp_path, quantities=quantities)))


def runs(narrow: list[float], wide: list[float]) -> list[Result]:
    """Runs that end with these shares, one for every seed."""
    by_width = {"narrow": narrow, "wide": wide}
    return [
        result({"width": width, "seed": seed}, 0.0, value)
        for width, values in by_width.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("narrow", "of", "others", "wanted"),
    [
        ([0.6], NARROW, {"at_least": 60}, "holds"),
        ([0.6], NARROW, {"at_least": 60.1}, "does not hold"),
        ([0.6], NARROW, {"at_most": 60}, "holds"),
        ([0.6], NARROW, {"at_most": 59.9}, "does not hold"),
        ([0.6], NARROW, {"at_least": 55, "at_most": 65}, "holds"),
        ([0.7], NARROW, {"at_least": 55, "at_most": 65}, "does not hold"),
        ([0.5], NARROW, {"at_least": 55, "at_most": 65}, "does not hold"),
        ([0.60, 0.61], NARROW, {"at_least": 50}, "holds"),  # 60.5 ± 6.4
        ([0.60, 0.61], NARROW, {"at_least": 70}, "does not hold"),
        ([0.60, 0.61], NARROW, {"at_least": 60}, "unclear"),
        ([0.60, 0.61], NARROW, {"at_most": 62}, "unclear"),
        ([0.60, 0.61], NARROW, {"at_least": 58, "at_most": 63}, "unclear"),
        ([0.60, 0.61], NARROW, {"at_least": 54, "at_most": 67}, "holds"),
        ([], NARROW, {"at_least": 0}, "no data"),
        ([0.6], NARROW, {"minus": WIDE, "at_least": 29}, "holds"),  # wide has 0.3
        ([0.2], NARROW, {"minus": WIDE, "at_least": 0}, "does not hold"),
        ([0.6], NARROW, {"over": WIDE, "at_least": 1.9, "at_most": 2.1}, "holds"),
        ([0.8], NARROW, {"over": WIDE, "at_most": 2}, "does not hold"),
        ([], NARROW, {"minus": WIDE, "at_least": 0}, "no data"),
        ([0.9], {}, {"at_least": 20}, "holds"),
        ([0.9], {}, {"at_least": 40}, "does not hold"),  # every group counts, and wide fails
        ([0.60, 0.61], {}, {"at_least": 60}, "does not hold"),  # one group unclear, the other not
        ([0.60, 0.61], {}, {"at_least": 29}, "holds"),
    ],
)
def test_claims(narrow: list[float], of: Any, others: Any, wanted: str, experiment: Experiment) -> None:
    """A bound is kept, broken, or within the interval over seeds."""
    claim = Claim("It is so", "accuracy", of, **others)
    assert verdict_of(claim, experiment, "full", runs(narrow, [0.3])).verdict == wanted


def test_a_verdict_says_what_it_rests_on(experiment: Experiment) -> None:
    """Bounds in words, and the numbers by the labels that tell groups apart."""
    verdict = verdict_of(Claim("So", "accuracy", at_least=20, at_most=95), experiment, "full", runs([0.9], [0.25]))
    assert verdict.bounds == "at least 20 and at most 95"
    assert {name: one.values for name, one in verdict.numbers.items()} == {"narrow": (90,), "wide": (25,)}


def test_what_is_never_reached_breaks_an_upper_bound_only(experiment: Experiment) -> None:
    """It is later than any epoch; but how much later is not known, so no difference or ratio is."""
    late = runs([0.1], [0.9])
    assert (
        verdict_of(Claim("So", "epochs to half", NARROW, at_most=100), experiment, "full", late).verdict
        == "does not hold"
    )
    assert verdict_of(Claim("So", "epochs to half", NARROW, at_least=100), experiment, "full", late).verdict == "holds"
    verdict = verdict_of(Claim("So", "epochs to half", NARROW, over=WIDE, at_least=2), experiment, "full", late)
    assert verdict.verdict == "unclear"
    assert [str(one) for one in verdict.numbers.values()] == ["not known"]


def test_a_claim_holds_only_if_no_run_is_missing(experiment: Experiment) -> None:
    """The one that has failed may be the one that speaks against it; what does not hold already does not."""
    good, bad = runs([0.9], [0.3])
    claim = Claim("So", "accuracy", at_least=50)
    missing = Result(bad.planned, None)
    found = [verdict_of(claim, experiment, "full", [good, one]) for one in (missing, bad)]
    assert [(one.verdict, one.missing) for one in found] == [("incomplete", 1), ("does not hold", 0)]
    assert verdict_of(claim, experiment, "full", [Result(good.planned, None), bad]).verdict == "does not hold"
    assert verdict_of(claim, experiment, "full", [Result(good.planned, None), missing]).verdict == "no data"
    assert (
        verdict_of(Claim("So", "accuracy", NARROW, at_least=50), experiment, "full", [good, missing]).verdict == "holds"
    )


def test_only_counterparts_can_be_missing(experiment: Experiment) -> None:
    """A run of the other selection that nothing is compared with makes nothing incomplete."""
    claim = Claim("So", "accuracy", NARROW, minus=WIDE, at_least=10)
    whole = [*runs([0.9, 0.9], [0.3, 0.3]), result({"width": "wide", "seed": 2}, 0.0, 0.3)]
    for gone, wanted in ((4, "holds"), (3, "incomplete"), (1, "incomplete")):
        some = [Result(one.planned, None) if i == gone else one for i, one in enumerate(whole)]
        verdict = verdict_of(claim, experiment, "full", some)
        assert (verdict.verdict, verdict.missing) == (wanted, int(wanted == "incomplete"))


def test_claims_about_full_scale_say_nothing_at_another(experiment: Experiment) -> None:
    """The numbers are shown all the same."""
    claim = Claim("So", "accuracy", NARROW, at_least=50, full_scale=True)
    found = [verdict_of(claim, experiment, scale, runs([0.9], [])) for scale in ("full", "half")]
    assert [one.verdict for one in found] == ["holds", "not comparable"]
    assert [one.numbers for one in found] == [found[0].numbers] * 2
    assert verdict_of(claim, experiment, "half", runs([], [])).verdict == "no data"


def test_a_published_number_waits_for_all_seeds(experiment: Experiment) -> None:
    """A mean over some of them is not yet ours."""
    published = Published("accuracy", NARROW, 60, 5)
    first, second = runs([0.6, 0.6], [])
    some = [first, Result(second.planned, None)]
    verdicts = [comparison_with(published, experiment, "full", one).verdict for one in (some, [first, second])]
    assert verdicts == ["incomplete", "holds"]


@pytest.mark.parametrize(
    ("narrow", "scale", "wanted"),
    [
        ([0.6], "full", "holds"),
        ([0.65], "full", "holds"),
        ([0.66], "full", "does not hold"),
        ([0.5], "full", "does not hold"),
        ([0.5, 0.7], "full", "holds"),  # the mean counts
        ([0.6], "small", "not comparable"),
        ([0.1], "small", "not comparable"),
        ([], "full", "no data"),
        ([], "small", "no data"),
    ],
)
def test_published_numbers(narrow: list[float], scale: str, wanted: str, experiment: Experiment) -> None:
    """60 ± 5: within the tolerance or not, and at full scale only."""
    published = Published("accuracy", NARROW, 60, 5)
    comparison = comparison_with(published, experiment, scale, runs(narrow, [0.3]))
    assert comparison.verdict == wanted
    assert (comparison.ours is None) == (not narrow)
    if comparison.ours:
        assert comparison.ours.mean == pytest.approx(100 * sum(narrow) / len(narrow))


def test_published_ratios(experiment: Experiment) -> None:
    """A number of the paper that is a ratio is set beside ours."""
    published = Published("accuracy", NARROW, 2, 0.1, over=WIDE)
    assert comparison_with(published, experiment, "full", runs([0.6], [0.3])).verdict == "holds"
    assert comparison_with(published, experiment, "full", runs([0.9], [0.3])).verdict == "does not hold"
