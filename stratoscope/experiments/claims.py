"""Whether the runs bear a claim out, by bounds that were written down before them."""

from collections.abc import Sequence
from dataclasses import dataclass

from stratoscope.experiments.grid import selected
from stratoscope.experiments.quantities import Cell, Estimate, Result, brief, compared
from stratoscope.experiments.specification import FULL, Claim, Experiment, Published, Where

HOLDS, FAILS, UNCLEAR, NO_DATA, OTHER_SCALE = "holds", "does not hold", "unclear", "no data", "not comparable"
INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Verdict:
    """What has been found about a claim.

    Attributes:
        claim: The claim.
        verdict: holds, does not hold, unclear (the interval over repetitions reaches over a bound, or a difference or
            ratio has an epoch in it that never came), incomplete (runs that it is about are missing), no data, or not
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
        parts = [
            f"{words} {brief(bound)}" for words, bound in (("at least", low), ("at most", high)) if bound is not None
        ]
        return " and ".join(parts)


@dataclass(frozen=True)
class Comparison:
    """A number of the paper beside ours.

    Attributes:
        published: The paper's.
        runs: Which runs.
        ours: Ours; None if there is none yet.
        verdict: holds (within the tolerance), does not hold, not comparable (another scale), incomplete, or no data.
    """

    published: Published
    runs: str
    ours: Estimate | None
    verdict: str


def verdict_of(claim: Claim, experiment: Experiment, scale: str, results: Sequence[Result]) -> Verdict:
    """Judge a claim: every group of runs must keep its bounds.

    Args:
        claim: The claim.
        experiment: The experiment it belongs to.
        scale: The scale of the runs.
        results: The runs.
    """
    found = compared(results, experiment.quantities[claim.quantity], claim.of, claim.minus, claim.over)
    verdicts = [_kept(one, claim.at_least, claim.at_most) for one in found.values()]
    order = [FAILS, UNCLEAR, HOLDS]
    verdict = min(verdicts, key=order.index) if verdicts else NO_DATA
    missing = _missing(results, claim.of, claim.minus if claim.minus is not None else claim.over)
    if missing and verdict in {HOLDS, UNCLEAR}:  # a run that is not there could only make it worse
        verdict = INCOMPLETE
    if found and claim.full_scale and scale != FULL:
        verdict = OTHER_SCALE
    return Verdict(claim, verdict, {told(cell, list(found)): one for cell, one in found.items()}, missing)


def comparison_with(published: Published, experiment: Experiment, scale: str, results: Sequence[Result]) -> Comparison:
    """Set a number of the paper beside ours.

    Args:
        published: The paper's.
        experiment: The experiment.
        scale: The scale of the runs; only full ones can be held against a paper.
        results: The runs.
    """
    found = compared(results, experiment.quantities[published.quantity], published.of, None, published.over)
    runs = ", ".join(str(label) for label in published.of.values())
    ours = next(iter(found.values()), None)
    if ours is None:
        return Comparison(published, runs, None, NO_DATA)
    verdict = _kept(ours, published.value - published.tolerance, published.value + published.tolerance, margin=False)
    verdict = INCOMPLETE if _missing(results, published.of, published.over) else verdict
    return Comparison(published, runs, ours, verdict if scale == FULL else OTHER_SCALE)


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


def _kept(estimate: Estimate, low: float | None, high: float | None, margin: bool = True) -> str:
    mean, width = estimate.mean, estimate.margin * margin
    if (low is not None and mean + width < low) or (high is not None and mean - width > high):
        return FAILS
    if (low is None or mean - width >= low) and (high is None or mean + width <= high):
        return HOLDS
    return UNCLEAR


def told(cell: Cell, among: Sequence[Cell]) -> str:
    """The labels of a cell that tell it from the others."""
    parts = [str(label) for axis, label in cell if len({dict(other).get(axis) for other in among}) > 1]
    return ", ".join(parts)
