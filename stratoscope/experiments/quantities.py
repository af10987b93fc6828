"""Numbers of finished runs, put together over repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from stratoscope.experiments.experiment import SEED, Figure, Quantity, Where
from stratoscope.experiments.grid import PlannedRun, selected
from stratoscope.experiments.measured import Reading, Sizes, reading, relative
from stratoscope.results.record import RunRecord

Cell = tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Result:
    """A planned run and what has become of it.

    Attributes:
        planned: The run.
        record: What it left; None if it has not ended well.
    """

    planned: PlannedRun
    record: RunRecord | None


@dataclass(frozen=True)
class Estimate:
    """A number over repetitions, with all that it may be off by.

    The distance of either end of the interval from the mean is sqrt(t^2 + s^2) + r: t half the 95 % interval of the
    mean over repetitions (Student's; 0 for a single one, of whose spread nothing is known), s the error of the test
    set, which is the same set in all repetitions and so does not shrink with their number, and r the rounding of whole
    numbers, which need not have the same sign twice.

    Attributes:
        readings: One for each repetition.
    """

    readings: tuple[Reading, ...]

    @property
    def values(self) -> tuple[float, ...]:
        """The number of every repetition."""
        return tuple(one.value for one in self.readings)

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values) if self.readings else math.nan

    @property
    def spread(self) -> float:
        """Half the 95 % interval of the mean over repetitions."""
        if len(self.readings) < 2 or not math.isfinite(self.mean):
            return 0.0
        from scipy.stats import t

        return float(t.ppf(0.975, len(self.readings) - 1)) * stdev(self.values) / math.sqrt(len(self.readings))

    @property
    def low(self) -> float:
        """Lower end of its interval."""
        if not math.isfinite(self.mean):
            return min((one.low for one in self.readings), default=math.nan)
        return self.mean - self._distance(0)

    @property
    def high(self) -> float:
        """Upper end of its interval."""
        if not math.isfinite(self.mean):
            return max((one.high for one in self.readings), default=math.nan)
        return self.mean + self._distance(1)

    @property
    def margin(self) -> float:
        """The distance of the farther end from the mean; 0 if there is no mean, not a number if it is not known."""
        if not math.isfinite(self.mean):
            return 0.0
        ends = self.mean - self.low, self.high - self.mean
        return math.nan if any(map(math.isnan, ends)) else max(ends)

    def _distance(self, side: int) -> float:
        sampling = fmean(one.sampling[side] for one in self.readings)
        return math.hypot(self.spread, sampling) + fmean(one.rounding[side] for one in self.readings)

    def __str__(self) -> str:
        if math.isinf(self.mean):
            watched = min(one.low for one in self.readings if math.isinf(one.value)) - 1
            return f"never in {brief(watched)} epochs"
        if self.readings and math.isnan(self.mean):
            ends = (("above", self.low), ("below", self.high))
            return ", ".join(["not known", *(f"{words} {brief(end)}" for words, end in ends if math.isfinite(end))])
        if math.isnan(self.margin):
            return f"{brief(self.mean)} ± ?"
        return (
            f"{brief(self.mean)} ± {brief(self.margin)}" if len(self.readings) > 1 or self.margin else brief(self.mean)
        )


def brief(number: float) -> str:
    """A number in four digits at most."""
    return "-" if math.isnan(number) else f"{number:,.4g}" if abs(number) < 1e4 else f"{number:,.0f}"


def readings(
    results: Sequence[Result], quantity: Quantity, of: Where | None, sizes: Sizes | None = None
) -> dict[Cell, dict[object, Reading]]:
    """A quantity of all runs that are meant, by cell (all labels but the seed's) and seed.

    Args:
        results: The runs.
        quantity: What to read; one that is a number.
        of: Which runs.
        sizes: Of sets, by name, where runs do not say.
    """
    found: dict[Cell, dict[object, Reading]] = {}
    for result in results:
        if result.record is not None and selected(result.planned.labels, of):
            one = reading(result.record, quantity, sizes or {})
            if isinstance(one, Reading):
                found.setdefault(result.planned.cell, {})[result.planned.labels.get(SEED)] = one
    return found


def compared(
    results: Sequence[Result],
    quantity: Quantity,
    of: Where,
    minus: Where | None,
    over: Where | None,
    sizes: Sizes | None = None,
) -> dict[Cell, Estimate]:
    """A quantity of the runs that are meant, or its difference or ratio to that of others, by cell.

    A run's counterpart has the same labels, the seed's too, on all axes that the other selection leaves open.

    Args:
        results: The runs.
        quantity: What to read.
        of: Which runs.
        minus: Whose quantity is subtracted.
        over: Whose quantity it is divided by.
        sizes: Of sets, by name, where runs do not say.
    """
    mine = readings(results, quantity, of, sizes)
    other = minus if minus is not None else over
    if other is None:
        return {cell: Estimate(tuple(by_seed.values())) for cell, by_seed in mine.items()}
    theirs = readings(results, quantity, other, sizes)
    found: dict[Cell, Estimate] = {}
    for cell, by_seed in mine.items():
        free = [pair for pair in cell if pair[0] not in other]
        for base, by_base_seed in theirs.items():
            if all(pair in base for pair in free):
                pairs = [(by_seed[seed], by_base_seed[seed]) for seed in by_seed if seed in by_base_seed]
                if pairs:
                    found[cell] = Estimate(tuple(relative(one, two, minus is not None) for one, two in pairs))
    return found


def drawn(results: Sequence[Result], figure: Figure) -> dict[str, list[Result]]:
    """The runs of a figure by the label of its lines, in the order of the plan."""
    chosen = [one for one in results if one.record is not None and selected(one.planned.labels, figure.of)]
    found: dict[str, list[Result]] = {}
    for one in chosen:
        found.setdefault(str(one.planned.labels.get(figure.lines, "")), []).append(one)
    return found
