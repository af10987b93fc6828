"""Numbers read off finished runs, and put together over repetitions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from stratoscope.experiments.grid import PlannedRun, selected
from stratoscope.experiments.specification import OF_LAYERS, SEED, Figure, Quantity, Where
from stratoscope.run_record import RunRecord

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
    """A number over repetitions.

    Attributes:
        values: One for each repetition.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values) if self.values else math.nan

    @property
    def margin(self) -> float:
        """Half the 95 % interval of the mean (Student's t); 0 for a single one, of which nothing is known."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return 0.0
        from scipy.stats import t

        return float(t.ppf(0.975, len(self.values) - 1)) * stdev(self.values) / math.sqrt(len(self.values))

    def __str__(self) -> str:
        if math.isinf(self.mean):
            return "never"
        if self.values and math.isnan(self.mean):
            return "not known"
        return f"{brief(self.mean)} ± {brief(self.margin)}" if len(self.values) > 1 else brief(self.mean)


def brief(number: float) -> str:
    """A number in four digits at most."""
    return "-" if math.isnan(number) else f"{number:,.4g}" if abs(number) < 1e4 else f"{number:,.0f}"


def course(record: RunRecord, quantity: Quantity) -> dict[int, float]:
    """A quantity's metric at every epoch at which it is known, in its unit.

    Args:
        record: The run.
        quantity: What to read.
    """
    if quantity.metric:
        rows = ((row["epoch"], row.get(quantity.metric)) for row in record.metrics)
        found = {int(epoch): float(value) for epoch, value in rows if epoch is not None and value is not None}
    else:
        found = {epoch: max(by_layer.values()) for epoch, by_layer in layers(record, quantity).items() if by_layer}
    return {epoch: in_unit(value, quantity) for epoch, value in sorted(found.items())}


def layers(record: RunRecord, quantity: Quantity) -> dict[int, dict[str, float]]:
    """Accuracies of a probe by epoch and layer, as shares.

    Args:
        record: The run.
        quantity: Which probe; the layers are those it names, or all.
    """
    labels, split, *wanted = quantity.probe.split()
    found: dict[int, dict[str, float]] = {}
    for row in record.probes:
        if (row["labels"], row["split"]) != (labels, split) or not row["chosen"] or row["accuracy"] is None:
            continue
        layer = str(row["layer"])
        if not wanted or {layer, layer.removeprefix("network.")} & set(wanted):
            found.setdefault(int(row["epoch"]), {})[layer] = float(row["accuracy"])
    return dict(sorted(found.items()))


def in_unit(value: float, quantity: Quantity) -> float:
    """A share as an error, and in percent, where that is asked for."""
    value = 1 - value if quantity.error else value
    return 100 * value if quantity.percent else value


def number(record: RunRecord, quantity: Quantity) -> float | str | None:
    """A quantity of one run; infinity for an epoch that does not come, None if nothing is known.

    Args:
        record: The run.
        quantity: What to read.
    """
    if quantity.take in OF_LAYERS:
        return _of_layers(record, quantity)
    values = course(record, quantity)
    if not values:
        return None
    if quantity.at_epoch is not None:
        return values.get(quantity.at_epoch)
    low, high = quantity.at_least, quantity.at_most
    if low is not None or high is not None:
        reached = (epoch for epoch, value in values.items() if _within(value, low, high))
        return float(next(reached, math.inf))
    take: dict[str, Callable[[Sequence[float]], float]] = {
        "first": lambda found: found[0],
        "last": lambda found: found[-1],
        "max": max,
        "min": min,
        "gain": lambda found: found[-1] - found[0],
        "fall": lambda found: max(found) - found[-1],
    }
    return take[quantity.take](list(values.values()))


def _of_layers(record: RunRecord, quantity: Quantity) -> float | str | None:
    """What is said of the layers at the last epoch."""
    by_epoch = layers(record, quantity)
    last = by_epoch[max(by_epoch)] if by_epoch else {}
    if not last:
        return None
    if quantity.take == "best_layer":
        return max(last, key=lambda layer: last[layer])
    if quantity.take == "behind_best":
        everywhere = layers(record, replace(quantity, probe=" ".join(quantity.probe.split()[:2])))
        behind = max(last.values()) - max(everywhere[max(by_epoch)].values())
        return 100 * behind if quantity.percent else behind
    return _rank_correlation([in_unit(value, quantity) for value in last.values()])


def _rank_correlation(values: Sequence[float]) -> float | None:
    """Spearman's correlation of values with their places: 0 if they are all the same, None for a single one."""
    from scipy.stats import spearmanr

    if len(set(values)) < 2:
        return 0.0 if len(values) > 1 else None
    correlation: Any = spearmanr(range(len(values)), values)
    return float(correlation.statistic)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def estimates(results: Sequence[Result], quantity: Quantity, of: Where | None) -> dict[Cell, dict[object, float]]:
    """A quantity of all runs that are meant, by cell (all labels but the seed's) and seed.

    Args:
        results: The runs.
        quantity: What to read; one that is a number.
        of: Which runs.
    """
    found: dict[Cell, dict[object, float]] = {}
    for result in results:
        if result.record is not None and selected(result.planned.labels, of):
            value = number(result.record, quantity)
            if value is not None:
                found.setdefault(result.planned.cell, {})[result.planned.labels.get(SEED)] = float(value)
    return found


def compared(
    results: Sequence[Result], quantity: Quantity, of: Where, minus: Where | None, over: Where | None
) -> dict[Cell, Estimate]:
    """A quantity of the runs that are meant, or its difference or ratio to that of others, by cell.

    A run's counterpart has the same labels, the seed's too, on all axes that the other selection leaves open.

    Args:
        results: The runs.
        quantity: What to read.
        of: Which runs.
        minus: Whose quantity is subtracted.
        over: Whose quantity it is divided by.
    """
    mine = estimates(results, quantity, of)
    other = minus if minus is not None else over
    if other is None:
        return {cell: Estimate(tuple(by_seed.values())) for cell, by_seed in mine.items()}
    theirs = estimates(results, quantity, other)
    found: dict[Cell, Estimate] = {}
    for cell, by_seed in mine.items():
        free = [pair for pair in cell if pair[0] not in other]
        for base, by_base_seed in theirs.items():
            if all(pair in base for pair in free):
                pairs = [(by_seed[seed], by_base_seed[seed]) for seed in by_seed if seed in by_base_seed]
                values = [_relative(a, b, minus is not None) for a, b in pairs]
                if values:
                    found[cell] = Estimate(tuple(values))
    return found


def _relative(a: float, b: float, minus: bool) -> float:
    """Difference or ratio; not a number if an epoch has never come, of which only a lower bound is known."""
    if math.isinf(a) or math.isinf(b):
        return math.nan
    return a - b if minus else a / b if b else math.nan


def drawn(results: Sequence[Result], figure: Figure) -> dict[str, list[Result]]:
    """The runs of a figure by the label of its lines, in the order of the plan."""
    chosen = [one for one in results if one.record is not None and selected(one.planned.labels, figure.of)]
    found: dict[str, list[Result]] = {}
    for one in chosen:
        found.setdefault(str(one.planned.labels.get(figure.lines, "")), []).append(one)
    return found
