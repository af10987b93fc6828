"""Tests of stratoscope/experiments/claims.py: verdicts can say yes, no, and that they do not know."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stratoscope.experiments.claims import comparison_with, comparisons_with_chance, verdict_of
from stratoscope.experiments.experiment import Claim, Experiment, Published
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.quantities import Result
from tests.small_experiments import result, written

NARROW, WIDE = {"width": "narrow"}, {"width": "wide"}


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """An experiment with two widths and two seeds, and quantities of the test accuracy."""
    quantities = {
        "accuracy": {"metric": "train/accuracy", "percent": True},  # on the training set, which is no sample
        "test accuracy": {"metric": "test/accuracy", "percent": True},
        "test error": {"metric": "test/accuracy", "percent": True, "error": True},
        "epochs to half": {"metric": "train/accuracy", "at_least": 0.5},
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


@pytest.mark.parametrize(
    ("of", "others", "wanted"),
    [
        (NARROW, {"at_least": 75}, "unclear"),  # never is not more than 75
        (NARROW, {"at_least": 75, "at_most": 125}, "unclear"),  # it may be 100: training ended after 89
        (NARROW, {"at_least": 20, "at_most": 50}, "does not hold"),  # it is not fewer than 50 either
        (NARROW, {"at_most": 89}, "does not hold"),
        (NARROW, {"at_most": 90}, "unclear"),
        (NARROW, {"over": WIDE, "at_least": 1.5}, "unclear"),
        (NARROW, {"over": WIDE, "at_most": 6}, "does not hold"),  # 90 by 10 at least
        (WIDE, {"over": NARROW, "at_least": 0.5}, "does not hold"),
        (WIDE, {"over": NARROW, "at_most": 0.5}, "unclear"),
        (WIDE, {"minus": NARROW, "at_most": 0}, "unclear"),
        (WIDE, {"at_most": 20}, "holds"),
    ],
)
def test_never_is_no_number(of: Any, others: Any, wanted: str, experiment: Experiment) -> None:
    """A network that stays at 10 % for 89 epochs breaks bounds that these epochs reach over, and keeps none."""
    late = [result({"width": "narrow", "seed": 0}, *[0.1] * 90), result({"width": "wide", "seed": 0}, *[0.1] * 10, 0.9)]
    verdict = verdict_of(Claim("So", "epochs to half", of, **others), experiment, "full", late)
    assert verdict.verdict == wanted
    if of is NARROW and "over" not in others:
        assert [str(one) for one in verdict.numbers.values()] == ["never in 89 epochs"]


def test_of_some_repetitions_one_that_never_comes_is_enough(experiment: Experiment) -> None:
    """Their mean is no number either."""
    rows = [result({"width": "narrow", "seed": seed}, *[0.1] * 9, last) for seed, last in enumerate((0.9, 0.9, 0.1))]
    for others, wanted in (
        ({"at_most": 20}, "unclear"),
        ({"at_least": 1}, "unclear"),
        ({"at_most": 7}, "does not hold"),
    ):
        claim = Claim("So", "epochs to half", NARROW, **others)  # type: ignore[arg-type]
        assert verdict_of(claim, experiment, "full", rows).verdict == wanted


@pytest.mark.parametrize(
    ("narrow", "wide", "others", "wanted"),
    [
        # of 10,000 images: 60 ± 0.96
        ([0.6], [0.3], {"at_least": 59}, "holds"),
        ([0.6], [0.3], {"at_least": 59.5}, "unclear"),
        ([0.6], [0.3], {"at_least": 60}, "unclear"),
        ([0.6], [0.3], {"at_least": 61.5}, "does not hold"),
        ([0.6], [0.3], {"at_most": 60.5}, "unclear"),
        ([0.6], [0.3], {"at_least": 59, "at_most": 61}, "holds"),
        # a gain of a point: 1 ± 1.35
        ([0.61], [0.6], {"minus": WIDE, "at_least": 1}, "unclear"),
        ([0.61], [0.6], {"minus": WIDE, "at_least": 0}, "unclear"),
        ([0.63], [0.6], {"minus": WIDE, "at_least": 1}, "holds"),
        ([0.60], [0.6], {"minus": WIDE, "at_least": 1}, "unclear"),
        ([0.59], [0.6], {"minus": WIDE, "at_least": 1}, "does not hold"),
        # repetitions do not make the test set larger: 61 ± 0.96, whatever their number
        ([0.61] * 5, [0.3] * 5, {"at_least": 60.2}, "unclear"),
        ([0.61] * 5, [0.3] * 5, {"at_least": 60}, "holds"),
        # and both kinds of error count: 60.5 ± 1.24 over three, with 0.96 makes 1.57
        ([0.60, 0.605, 0.61], [0.3] * 3, {"at_least": 59.2}, "unclear"),
        ([0.60, 0.605, 0.61], [0.3] * 3, {"at_least": 58.9}, "holds"),
    ],
)
def test_the_error_of_the_test_set_is_in_the_margin(
    narrow: list[float], wide: list[float], others: Any, wanted: str, experiment: Experiment
) -> None:
    """One run can say that something holds only outside of it."""
    claim = Claim("So", "test accuracy", NARROW, **others)
    assert verdict_of(claim, experiment, "full", runs(narrow, wide)).verdict == wanted


def test_a_test_set_of_unknown_size_decides_nothing(experiment: Experiment) -> None:
    """Until the experiment says how large it is."""
    (one,) = runs([0.9], [])
    assert one.record is not None
    unknown = [Result(one.planned, replace(one.record, record={}))]
    claim = Claim("So", "test accuracy", NARROW, at_least=50)
    verdict = verdict_of(claim, experiment, "full", unknown)
    assert (verdict.verdict, [str(number) for number in verdict.numbers.values()]) == ("unclear", ["90 ± ?"])
    assert verdict_of(claim, replace(experiment, samples={"test": 100}), "full", unknown).verdict == "holds"


def test_whole_numbers_have_the_resolution_of_an_epoch(experiment: Experiment) -> None:
    """Equal ones of several repetitions too: 3 is between 2 and 3."""
    rows = [result({"width": "narrow", "seed": seed}, 0.1, 0.2, 0.3, 0.9) for seed in range(3)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"at_most": 3}, "holds"),
        ({"at_most": 2.5}, "unclear"),
        ({"at_least": 2}, "holds"),
        ({"at_least": 3}, "unclear"),
        ({"at_least": 3.5}, "does not hold"),
    ]
    for others, wanted in cases:
        verdict = verdict_of(Claim("So", "epochs to half", NARROW, **others), experiment, "full", rows)
        assert verdict.verdict == wanted
        assert [str(one) for one in verdict.numbers.values()] == ["3 ± 1"]


@pytest.mark.parametrize(
    ("narrow", "wide", "within", "wanted"),
    [
        (0.1000, 0.1000, 3, "holds"),
        (0.1070, 0.0930, 3, "does not hold"),  # of two comparisons at 2.5 % each
        (0.1066, 0.0935, 3, "holds"),
        (0.1000, 0.1120, 3, "does not hold"),
        (0.1000, 0.1000, 0.5, "unclear"),  # which 10,000 images cannot tell
        (0.1000, 0.1120, 0.5, "does not hold"),
    ],
)
def test_guessing(narrow: float, wide: float, within: float, wanted: str, experiment: Experiment) -> None:
    """By exact binomial tests, of an accuracy and of an error alike, at one error rate for all."""
    found = runs([narrow], [wide])
    for quantity, chance in (("test accuracy", 10), ("test error", 90)):
        claim = Claim("So", quantity, chance=chance, within=within)
        verdict = verdict_of(claim, replace(experiment, claims=[claim]), "full", found)
        assert verdict.verdict == wanted
        assert verdict.bounds.startswith(f"chance, {chance} (binomial tests, 5% in all); what is {within:g} away")


def test_the_error_rate_is_shared_by_all_comparisons_of_the_experiment(experiment: Experiment) -> None:
    """A run counts once, however many claims and published numbers look at the same quantity of it."""
    claim = Claim("So", "test accuracy", chance=10, within=3)
    published = Published("test accuracy", NARROW, 9.8, chance=10)
    whole = replace(experiment, claims=[claim, replace(claim, of=NARROW)], published=[published])
    found = runs([0.1] * 3, [0.1] * 2)
    assert comparisons_with_chance(whole, found) == 5
    assert comparisons_with_chance(replace(whole, claims=[]), found) == 3
    assert comparisons_with_chance(replace(whole, claims=[claim, replace(claim, quantity="test error")]), found) == 10
    for narrow, wanted in ((0.1, "holds"), (0.112, "does not hold")):
        compared = comparison_with(published, whole, "full", runs([narrow], [0.1]))
        assert compared.verdict == wanted
    assert comparison_with(published, whole, "half", found).verdict == "not comparable"


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
        ([0.5, 0.7], "full", "unclear"),  # their interval counts, not the mean alone
        ([0.6, 0.6], "full", "holds"),
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
