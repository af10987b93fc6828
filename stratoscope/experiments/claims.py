"""Whether the runs support a claim, by bounds that were written down before them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stratoscope.experiments.chance import ERROR_RATE, POWER, at_chance
from stratoscope.experiments.correlation import correlations
from stratoscope.experiments.experiment import FULL, Claim, Experiment, Published, Quantity, Where
from stratoscope.experiments.grid import selected
from stratoscope.experiments.measured import as_share
from stratoscope.experiments.quantities import Cell, Estimate, Result, brief, compared

HOLDS, FAILS, UNCLEAR, NO_DATA, OTHER_SCALE = "holds", "does not hold", "unclear", "no data", "not comparable"
INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Verdict:
    """What has been found about a claim.

    Attributes:
        claim: The claim.
        verdict: holds, does not hold, unclear (the interval reaches over a bound, how far it reaches is not known, or
            an epoch that it is about did not come), incomplete (runs that it is about are missing), no data, or not
            comparable (a claim about full scale, at another).
        numbers: What it rests on, by group of runs.
        missing: Runs that it is about and that have not finished.
    """

    claim: Claim
    verdict: str
    numbers: dict[str, Estimate]
    missing: int = 0

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        low, high = self.claim.at_least, self.claim.at_most
        if self.claim.chance is not None and self.claim.within is not None:
            away = f"{brief(self.claim.within)} away is found with probability {POWER:.0%} or more"
            return f"{told_chance(self.claim.chance)}; what is {away}"
        within = f" within each {self.claim.each}" if self.claim.each else ""
        parts = [
            f"{words} {brief(bound)}" for words, bound in (("at least", low), ("at most", high)) if bound is not None
        ]
        return f"{' and '.join(parts)}{within}"


@dataclass(frozen=True)
class Comparison:
    """A number of the paper beside ours.

    Attributes:
        published: The paper's.
        runs: Which runs.
        ours: Ours; None if there is none yet.
        verdict: holds (within the tolerance, its interval too), does not hold, unclear, not comparable (another scale),
            incomplete, or no data.
    """

    published: Published
    runs: str
    ours: Estimate | None
    verdict: str


def told_chance(chance: float) -> str:
    """A comparison with chance in words."""
    return f"chance, {brief(chance)} (binomial tests, {ERROR_RATE:.0%} in all)"


def verdict_of(claim: Claim, experiment: Experiment, scale: str, results: Sequence[Result]) -> Verdict:
    """Judge a claim: every group of runs must keep its bounds.

    Args:
        claim: The claim.
        experiment: The experiment it belongs to.
        scale: The scale of the runs.
        results: The runs.
    """
    if claim.correlation:
        return _correlated(claim, experiment, scale, results)
    quantity = experiment.quantities[claim.quantity]
    found = compared(results, quantity, claim.of, claim.minus, claim.over, experiment.samples)
    if claim.chance is not None:
        comparisons = comparisons_with_chance(experiment, results)
        verdicts = [_guessed(one, quantity, claim.chance, claim.within, comparisons) for one in found.values()]
    else:
        verdicts = [_kept(one, claim.at_least, claim.at_most) for one in found.values()]
    missing = _missing(results, claim.of, claim.minus if claim.minus is not None else claim.over)
    numbers = {told(cell, list(found)): one for cell, one in found.items()}
    return Verdict(claim, _together(claim, verdicts, missing, scale), numbers, missing)


def _correlated(claim: Claim, experiment: Experiment, scale: str, results: Sequence[Result]) -> Verdict:
    """Judge a rank correlation: it must keep the bounds within each label that it is about."""
    found = correlations(claim, experiment.quantities, results, experiment.samples)
    verdicts, numbers = [], {}
    for label, one in found.items():
        estimate = Estimate((one.reading,))
        verdicts.append(UNCLEAR if one.left_out else _kept(estimate, claim.at_least, claim.at_most))
        of = f"{one.runs} runs in {one.clusters} group{'s' * (one.clusters != 1)}"
        of += f", {one.left_out} left out" if one.left_out else ""
        numbers[f"{label} ({of})".strip()] = estimate
    missing = _missing(results, claim.of, claim.against_of)
    verdict = _together(claim, verdicts, missing, scale)
    if missing and verdict == FAILS:  # another run can change it
        verdict = INCOMPLETE
    return Verdict(claim, verdict, numbers, missing)


def _together(claim: Claim, verdicts: Sequence[str], missing: int, scale: str) -> str:
    """One verdict on all groups of runs: the worst of them."""
    order = [FAILS, UNCLEAR, HOLDS]
    verdict = min(verdicts, key=order.index) if verdicts else NO_DATA
    if missing and verdict in {HOLDS, UNCLEAR}:  # a run that is not there could only make it worse
        verdict = INCOMPLETE
    return OTHER_SCALE if verdicts and claim.full_scale and scale != FULL else verdict


def comparison_with(published: Published, experiment: Experiment, scale: str, results: Sequence[Result]) -> Comparison:
    """Set a number of the paper beside ours.

    Args:
        published: The paper's.
        experiment: The experiment.
        scale: The scale of the runs; only full ones can be held against a paper.
        results: The runs.
    """
    quantity = experiment.quantities[published.quantity]
    found = compared(results, quantity, published.of, None, published.over, experiment.samples)
    runs = ", ".join(str(label) for label in published.of.values())
    ours = next(iter(found.values()), None)
    if ours is None:
        return Comparison(published, runs, None, NO_DATA)
    if published.chance is not None:
        verdict = _guessed(ours, quantity, published.chance, None, comparisons_with_chance(experiment, results))
    else:
        tolerance = published.tolerance or 0.0
        verdict = _kept(ours, published.value - tolerance, published.value + tolerance)
    verdict = INCOMPLETE if _missing(results, published.of, published.over) else verdict
    return Comparison(published, runs, ours, verdict if scale == FULL else OTHER_SCALE)


def comparisons_with_chance(experiment: Experiment, results: Sequence[Result]) -> int:
    """How many there are in an experiment, over which the error rate is shared: a quantity of a run counts once."""
    judged = [(one.quantity, one.of) for one in experiment.claims if one.chance is not None]
    judged += [(one.quantity, one.of) for one in experiment.published if one.chance is not None]
    tests = {
        (repr(experiment.quantities[quantity]), result.planned.name)
        for quantity, of in judged
        for result in results
        if selected(result.planned.labels, of)
    }
    return len(tests)


def _guessed(estimate: Estimate, quantity: Quantity, chance: float, within: float | None, comparisons: int) -> str:
    """Whether networks guess; unclear if their test set is too small to find out those that are so far from it."""
    counted = [one.counted for one in estimate.readings if one.counted is not None]
    if len(counted) < len(estimate.readings):
        return UNCLEAR
    share = as_share(chance, quantity)
    away = None if within is None else abs(as_share(chance + within, quantity) - share)
    same, able = at_chance(counted, share, comparisons, away)
    return FAILS if not same else HOLDS if able else UNCLEAR


def _missing(results: Sequence[Result], of: Where, other: Where | None) -> int:
    """How many runs have not finished among those that are meant and their counterparts."""
    mine = [one.planned for one in results if selected(one.planned.labels, of)]
    free = [{axis: label for axis, label in run.labels.items() if axis not in (other or {})} for run in mine]
    return sum(
        one.record is None
        and (
            one.planned in mine
            or (selected(one.planned.labels, other) and any(selected(one.planned.labels, part) for part in free))
        )
        for one in results
    )


def _kept(estimate: Estimate, low: float | None, high: float | None) -> str:
    """Whether bounds are kept, by the whole interval; what never came is not more than any number, nor fewer."""
    if (low is not None and estimate.high < low) or (high is not None and estimate.low > high):
        return FAILS
    inside = (low is None or estimate.low >= low) and (high is None or estimate.high <= high)
    known = math.isfinite(estimate.mean) and not math.isnan(estimate.margin)
    return HOLDS if inside and known else UNCLEAR


def told(cell: Cell, among: Sequence[Cell]) -> str:
    """The labels of a cell that tell it from the others."""
    parts = [str(label) for axis, label in cell if len({dict(other).get(axis) for other in among}) > 1]
    return ", ".join(parts)
