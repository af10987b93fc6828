"""What one run shows, and how far that may be off: the test set is a sample, and epochs are whole numbers.

*Sampling.* An accuracy is counted on n test images: Wilson's 95 % interval. A difference of two accuracies has the
square root of the sum of squares of their two distances (Newcombe's for independent proportions): which images a
network has right is not stored, so images that both have right are not known; where they are many, as for two networks
on the same images, the interval of the paired difference would be narrower, not wider. Of a mean loss e is the error
rate: its images are taken as if those with the right answer had no loss and those with a wrong one losses that are
distributed exponentially, which gives a standard deviation of loss sqrt(2/e - 1) and is wider than what networks show.
A training set is no sample of what is said of it, but a part of one is.
A column that has its standard error beside it, such as loss and loss_error, has 1.96 of these; the barrier of a path
that of the differences, image by image, at the place where it is.

*Rounding.* The first epoch at which something is so is known to within the epochs that were not looked at before it: it
may have been so earlier, not later.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratoscope.datamodules.image_data import EVALUATION_BATCH
from stratoscope.errors import Refused, nearest
from stratoscope.experiments.experiment import BARRIER, OF_LAYERS, TRAIN, Quantity
from stratoscope.files.table import Row, Table
from stratoscope.probes.statistics.interval import Z95, wilson
from stratoscope.results.record import RunRecord, falls

# test images of data sets, for runs of the first releases, which did not write down how many there were
TEST_SETS = {"CIFAR10": 10_000, "CIFAR100": 10_000, "MNIST": 10_000, "FashionMNIST": 10_000, "Digits": 360}
NO_SAMPLES = ("seconds", "lr-")  # how metrics begin that are no means over samples
DRAWS = 1000  # of the accuracies of all layers, for the interval of a rank correlation
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Reading:
    """A number of one run, or what it is relative to that of another.

    Attributes:
        value: The number; infinity for an epoch that did not come, not a number for what is relative to one.
        sampling: How far below and above it the truth may be, as the test set is a sample (95 %); not a number where
            that is not known.
        rounding: How far below and above, as epochs are whole numbers and not all of them may have been looked at.
        range: Where it lies if the value is not finite.
        counted: Of how many samples how many are right, for an accuracy or error at one epoch.
    """

    value: float
    sampling: tuple[float, float] = (0.0, 0.0)
    rounding: tuple[float, float] = (0.0, 0.0)
    range: tuple[float, float] = (-math.inf, math.inf)
    counted: tuple[int, int] | None = None

    @property
    def low(self) -> float:
        """The least it may be."""
        return self.value - self.sampling[0] - self.rounding[0] if math.isfinite(self.value) else self.range[0]

    @property
    def high(self) -> float:
        """The most it may be."""
        return self.value + self.sampling[1] + self.rounding[1] if math.isfinite(self.value) else self.range[1]


@dataclass(frozen=True)
class Point:
    """A value at one epoch as the table has it, with the interval that its test set leaves.

    Attributes:
        value: The value.
        low: Lower end of the 95 % interval; the value itself if it is not of a sample, not a number if unknown.
        high: Upper end.
        counted: Of how many samples how many are right, for an accuracy.
    """

    value: float
    low: float
    high: float
    counted: tuple[int, int] | None = None

    def apart(self, other: "Point") -> tuple[float, float]:
        """How far below and above the difference to another the truth may be."""
        if self is other:  # the same measurement, not two that came out alike
            return 0.0, 0.0
        below = math.hypot(self.value - self.low, other.high - other.value)
        return below, math.hypot(self.high - self.value, other.value - other.low)


def course(record: RunRecord, quantity: Quantity) -> dict[int, float]:
    """A quantity's metric at every epoch at which it is known, in its unit.

    Args:
        record: The run.
        quantity: What to read.
    """
    return {epoch: in_unit(point.value, quantity) for epoch, point in points(record, quantity, {}).items()}


def points(record: RunRecord, quantity: Quantity, sizes: Sizes) -> dict[int, Point]:
    """A quantity's metric, or its best probe, at every epoch at which it is known, as a share or in nats.

    Args:
        record: The run.
        quantity: What to read.
        sizes: Of sets, by name, where the run does not say.
    """
    if quantity.column:
        return _column_points(record, quantity)
    if quantity.probe:
        sign = _sign(quantity)
        best = (
            (epoch, max(by_layer.values(), key=lambda point: sign * point.value))
            for epoch, by_layer in layer_points(record, quantity).items()
        )
        return dict(best)
    found = {
        int(row["epoch"]): _of_metric(record, quantity.metric, quantity.exact, row, sizes)
        for row in record.metrics
        if row["epoch"] is not None and row.get(quantity.metric) is not None
    }
    return dict(sorted(found.items()))


def layers(record: RunRecord, quantity: Quantity) -> dict[int, dict[str, float]]:
    """Accuracies of a probe by epoch and layer, as shares.

    Args:
        record: The run.
        quantity: Which probe; the layers are those it names, or all.
    """
    return {
        epoch: {layer: point.value for layer, point in by_layer.items()}
        for epoch, by_layer in layer_points(record, quantity).items()
    }


def layer_points(record: RunRecord, quantity: Quantity) -> dict[int, dict[str, Point]]:
    """The same with intervals.

    Args:
        record: The run.
        quantity: Which probe; the layers are those it names, or all.
    """
    labels, split, *wanted = quantity.probe.split()
    found: dict[int, dict[str, Point]] = {}
    for row in _rows(record, quantity.table):
        value = row.get("value") if row.get("measure") == quantity.value else row.get(quantity.value)
        if (row["labels"] or "-", row["split"]) != (labels, split) or not isinstance(value, float | int):
            continue
        layer = str(row["layer"])
        if not wanted or {layer, layer.removeprefix("network.")} & set(wanted):
            counted = (row.get("correct"), row.get("count")) if quantity.value == "accuracy" else (None, None)
            value = float(value)
            point = Point(value, value, value) if split == TRAIN else _counted(value, *counted)
            found.setdefault(int(row["epoch"]), {})[layer] = point
    return dict(sorted(found.items()))


def column_rows(record: RunRecord, quantity: Quantity, along: Sequence[str] = ()) -> dict[int, list[Row]]:
    """The rows of a quantity's table that are meant, by epoch; empty if the run has no such table.

    Args:
        record: The run.
        quantity: Which table, and what other columns must have.
        along: Columns by which there may be several rows of one epoch; else there is one.

    Raises:
        Refused: If there is no such column, or what others must have leaves several rows.
    """
    table = record.tables.get(quantity.table)
    if table is None:
        return {}
    who = f"{quantity.table}.csv of run {record.name}"
    for column in (quantity.column, *quantity.where, *along):
        if column not in table.columns:
            raise Refused(f"{who} has no column {column}{nearest(column, table.columns)}")
    found: dict[int, list[Row]] = {}
    for row in table.rows:
        if row.get("chosen") is not False and all(_same(row[name], value) for name, value in quantity.where.items()):
            found.setdefault(row["epoch"], []).append(row)
    what = [name for name in table.that("what") if name not in {"epoch", "step", *along, *quantity.where}]
    for epoch, rows in found.items():
        apart = [name for name in what if len({row[name] for row in rows}) > 1]
        if apart:
            among = ", ".join(f"{name} ({', '.join(sorted({str(row[name]) for row in rows})[:5])})" for name in apart)
            raise Refused(f"{who} has {len(rows)} rows for {quantity.column} at epoch {epoch}: give {among} in where")
    return dict(sorted(found.items()))


def check_columns(quantity: Quantity, records: Sequence[RunRecord]) -> None:
    """See whether a quantity of a table is anywhere, in runs that have finished.

    Args:
        quantity: Which table and rows.
        records: All of them.

    Raises:
        Refused: If some have tables and none has this one, or a value that another column must have.
    """
    tables = {name: table for record in records for name, table in record.tables.items()}
    if not quantity.column or not tables:
        return
    if quantity.table not in tables:
        raise Refused(f"no run has left a table {quantity.table}{nearest(quantity.table, tables)}")
    all_of_it = [record.tables[quantity.table] for record in records if quantity.table in record.tables]
    for name, value in quantity.where.items():
        there = {str(row[name]): row[name] for table in all_of_it if name in table.columns for row in table.rows}
        if there and not any(_same(cell, value) for cell in there.values()):
            some = ", ".join(sorted(there)[:8])
            hint = nearest(str(value), there) or f"; there are {some}"
            raise Refused(f"no row of {quantity.table}.csv has {name} {value}{hint}")


def _same(cell: Any, wanted: Any) -> bool:
    """Whether a cell has a value that is asked for; an empty one is asked for by an empty text or `-`."""
    if isinstance(cell, float) and isinstance(wanted, int | float):
        return math.isclose(cell, wanted, rel_tol=1e-9, abs_tol=1e-12)
    if cell is None or cell == "":
        return wanted in {"", "-"}
    return str(cell) == str(wanted)


def _column_points(record: RunRecord, quantity: Quantity) -> dict[int, Point]:
    """A column, or the barrier of a path, at every epoch at which it is known."""
    train = (record.record.get("samples") or {}).get(TRAIN)
    if quantity.take != BARRIER:
        at = column_rows(record, quantity)
        return {epoch: point for epoch in at if (point := column_point(at[epoch][0], quantity, train)) is not None}
    by_epoch = column_rows(record, quantity, _along(record.tables.get(quantity.table)))
    return {epoch: _barrier(rows, replace(quantity, column="excess"), train) for epoch, rows in by_epoch.items()}


def _barrier(rows: Sequence[Row], excess: Quantity, train: int | None) -> Point:
    """The largest excess of a path, from the least it may be to the most; unknown where it could not be measured.

    Each end of the interval is the largest of those of all points: the ends of a path, which have no excess and no
    error, do not make it certain.
    """
    points = [point for row in rows if (point := column_point(row, excess, train)) is not None]
    value = max((point.value for point in points if math.isfinite(point.value)), default=math.nan)
    missing = any(row.get("failed") for row in rows if row[excess.column] is None and _between(row))
    unknown = any(isinstance(cell := row[excess.column], float) and not math.isfinite(cell) for row in rows)
    if missing or unknown or not points:
        return Point(value, math.nan, math.nan)
    return Point(value, max(point.low for point in points), max(point.high for point in points))


def _between(row: Row) -> bool:
    """Whether a point is between the ends of a path; in a plane with corners all are."""
    alpha, beta = row.get("alpha"), row.get("beta")
    return beta is not None or alpha is None or 0 <= alpha <= 1


def _along(table: Table | None) -> list[str]:
    """Columns that tell where on a path a row is."""
    return [name for name in ("alpha", "beta") if table is not None and name in table.columns]


def column_point(row: Row, quantity: Quantity, train: int | None = None) -> Point | None:
    """A cell with the interval that its test set leaves; None if it is no number.

    Args:
        row: The row.
        quantity: Which column.
        train: Size of the training set: of a part of it, which is a sample too, there is an error. None: unknown.
    """
    value = row[quantity.column]
    if not isinstance(value, int | float) or math.isnan(value):
        return None
    value = float(value)
    of_part = train is not None and (row.get("count") or train) < train
    if quantity.exact or row.get("split") in {None, ""} or (row.get("split") == TRAIN and not of_part):
        return Point(value, value, value)
    if quantity.column == "accuracy":
        return _counted(value, row.get("correct"), row.get("count"))
    error = row.get(f"{quantity.column}_error")
    if not isinstance(error, float):
        ends = quantity.column == "excess" and value == 0.0  # an end of a path, where there is nothing to compare
        return Point(value, value, value) if ends else Point(value, math.nan, math.nan)
    return Point(value, value - Z95 * error, value + Z95 * error)


def in_unit(value: float, quantity: Quantity) -> float:
    """A share as an error, and in percent, where that is asked for."""
    value = 1 - value if quantity.error else value
    return 100 * value if quantity.percent else value


def as_share(value: float, quantity: Quantity) -> float:
    """The share that is right, of a value in the quantity's unit."""
    value = value / 100 if quantity.percent else value
    return 1 - value if quantity.error else value


def number(record: RunRecord, quantity: Quantity) -> float | str | None:
    """A quantity of one run; infinity for an epoch that does not come, None if nothing is known.

    Args:
        record: The run.
        quantity: What to read.
    """
    found = reading(record, quantity, {})
    return found.value if isinstance(found, Reading) else found


def reading(record: RunRecord, quantity: Quantity, sizes: Sizes) -> Reading | str | None:
    """A quantity of one run, and how far it may be off; None if nothing is known.

    Args:
        record: The run.
        quantity: What to read.
        sizes: Of sets, by name, where the run does not say.
    """
    if quantity.take in OF_LAYERS:
        return _of_layers(record, quantity)
    found = points(record, quantity, sizes)
    if not found:
        return None
    if quantity.at_epoch is not None:
        return _single(found[quantity.at_epoch], quantity) if quantity.at_epoch in found else None
    if quantity.at_least is not None or quantity.at_most is not None:
        return _first_epoch(found, quantity)
    values = list(found.values())
    by_value: Callable[[Point], float] = lambda point: in_unit(point.value, quantity)  # noqa: E731
    if quantity.take in {"gain", "fall"}:
        before = values[0] if quantity.take == "gain" else values[-1]
        after = values[-1] if quantity.take == "gain" else max(values, key=by_value)
        return _difference(after, before, quantity)
    take: dict[str, Callable[[Sequence[Point]], Point]] = {
        "first": lambda all_of_them: all_of_them[0],
        "last": lambda all_of_them: all_of_them[-1],
        BARRIER: lambda all_of_them: all_of_them[-1],  # of an epoch, which is the largest there
        "max": lambda all_of_them: max(all_of_them, key=by_value),
        "min": lambda all_of_them: min(all_of_them, key=by_value),
    }
    return _single(take[quantity.take](values), quantity)


def relative(one: Reading, other: Reading, minus: bool) -> Reading:
    """The difference of two numbers of independent samples, or their ratio.

    Args:
        one: The first.
        other: What is subtracted from it, or what it is divided by.
        minus: Whether it is a difference.
    """
    a, b = one.value, other.value
    if not (math.isfinite(a) and math.isfinite(b)) or not (minus or b):
        # of an epoch that did not come it is known that it is later than those that were looked at
        return Reading(math.nan, range=_relative_range(one, other, minus))
    value = a - b if minus else a / b
    scale, share = (1.0, 1.0) if minus else (abs(b), abs(value))  # how far it moves with either
    by_other = [share * (far / scale) if share else 0.0 for far in other.sampling]
    sampling = (
        math.hypot(one.sampling[0] / scale, by_other[1]),
        math.hypot(one.sampling[1] / scale, by_other[0]),
    )
    low, high = _relative_range(replace(one, sampling=(0, 0)), replace(other, sampling=(0, 0)), minus)
    return Reading(value, sampling, (value - low, high - value))


def _relative_range(one: Reading, other: Reading, minus: bool) -> tuple[float, float]:
    if minus:
        return one.low - other.high, one.high - other.low
    if other.low > 0 or other.high < 0:
        ends = [_quotient(a, b) for a in (one.low, one.high) for b in (other.low, other.high)]
        return min(ends), max(ends)
    if one.low >= 0 and other.low == 0 < other.high:  # as of epochs, of which none is before 0
        return _quotient(one.low, other.high), math.inf
    return -math.inf, math.inf


def _quotient(a: float, b: float) -> float:
    """Of ends of ranges: what is 0, or divided by what has no bound, is as small as can be."""
    return 0.0 if a == 0 or math.isinf(b) else a / b


def _single(point: Point, quantity: Quantity) -> Reading:
    value, *ends = (in_unit(one, quantity) for one in (point.value, point.low, point.high))
    low, high = sorted(ends)
    return Reading(value, (value - low, high - value), counted=point.counted)


def _difference(after: Point, before: Point, quantity: Quantity) -> Reading:
    value = in_unit(after.value, quantity) - in_unit(before.value, quantity)
    scale = 100.0 if quantity.percent else 1.0
    below, above = (scale * distance for distance in after.apart(before))
    return Reading(value, (above, below) if quantity.error else (below, above))


def _first_epoch(found: Mapping[int, Point], quantity: Quantity) -> Reading:
    """The first epoch at which a bound is kept: by the value, and by either end of its interval.

    It may have been kept before, since the epoch that was looked at last, but not before the beginning.
    """

    def first(kept: Callable[[float, float, float], bool]) -> tuple[float, float]:
        """The epoch, and how many epochs before it the one before was looked at."""
        before = 0
        for epoch, point in found.items():
            value, *ends = (in_unit(one, quantity) for one in (point.value, point.low, point.high))
            if kept(value, *sorted(ends)):
                return epoch, max(1, epoch - before) if epoch else 0
            before = epoch
        return math.inf, 0.0

    least = -math.inf if quantity.at_least is None else quantity.at_least
    most = math.inf if quantity.at_most is None else quantity.at_most
    epoch, step = first(lambda value, _low, _high: least <= value <= most)
    if math.isinf(epoch):
        return Reading(math.inf, range=(max(found) + 1.0, math.inf))
    if any(math.isnan(point.low) for point in found.values()):
        return Reading(float(epoch), (math.nan, math.nan), (step, 0.0))
    early, _ = first(lambda _value, low, high: high >= least and low <= most)
    late, _ = first(lambda _value, low, high: least <= low and high <= most)
    return Reading(float(epoch), (float(epoch - early), float(late - epoch)), (min(step, float(early)), 0.0))


def _of_layers(record: RunRecord, quantity: Quantity) -> Reading | str | None:
    """What is said of the layers at the last epoch."""
    by_epoch = layer_points(record, quantity)
    last = by_epoch[max(by_epoch)] if by_epoch else {}
    if not last:
        return None
    if quantity.take == "best_layer":
        return max(last, key=lambda layer: _sign(quantity) * last[layer].value)
    if quantity.take == "behind_best":
        everywhere = layer_points(record, replace(quantity, probe=" ".join(quantity.probe.split()[:2])))
        return _behind(last, everywhere[max(by_epoch)], quantity)
    return _rank_reading(list(last.values()), quantity)


def _behind(mine: Mapping[str, Point], everywhere: Mapping[str, Point], quantity: Quantity) -> Reading:
    """The best of some layers less the best of all: at most 0, and less if another may well be better."""
    best = max(mine.values(), key=lambda point: point.value)
    others = [point for layer, point in everywhere.items() if layer not in mine]
    if not others:
        return Reading(0.0)
    rival = max(others, key=lambda point: point.value)
    scale = 100.0 if quantity.percent else 1.0
    lead, (below, above) = best.value - rival.value, best.apart(rival)
    value = min(0.0, lead)
    return Reading(scale * value, (scale * (value - min(0.0, lead - below)), scale * (min(0.0, lead + above) - value)))


def _rank_reading(found: Sequence[Point], quantity: Quantity) -> Reading | None:
    """Spearman's correlation of values with their places: 0 if they are all the same, None for a single one."""
    import numpy as np

    from stratoscope.probes.statistics.draws import normal

    if len(found) < 2:
        return None
    values = np.array([in_unit(point.value, quantity) for point in found])
    value = float(_correlations(values[None])[0])
    errors = np.array([in_unit(1.0, quantity) - in_unit(0.0, quantity)]) * [p.high - p.low for p in found] / (2 * Z95)
    if not np.isfinite(errors).all():
        return Reading(value, (math.nan, math.nan))
    if not errors.any():
        return Reading(value)
    drawn = values + errors * normal(np.random.PCG64(0), DRAWS * len(found)).reshape(DRAWS, -1)
    low, high = np.quantile(_correlations(drawn), [0.025, 0.975])
    return Reading(value, (max(0.0, value - float(low)), max(0.0, float(high) - value)))


def _correlations(rows: Any) -> Any:
    """Of every row the correlation of the ranks of its values with their places, 0 where all are the same."""
    import numpy as np
    from scipy.stats import rankdata

    ranks = rankdata(rows, axis=1) - (rows.shape[1] + 1) / 2
    places = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    return ranks @ places / np.maximum(np.sqrt((ranks**2).sum(1) * (places**2).sum()), 1e-9)


def _of_metric(record: RunRecord, metric: str, exact: bool, row: Row, sizes: Sizes) -> Point:
    """A metric of one epoch, with the interval of its test set."""
    value = float(row[metric])
    split, _, name = metric.rpartition("/")
    if split == TRAIN or exact or metric.startswith(NO_SAMPLES) or not math.isfinite(value):
        return Point(value, value, value)
    size = _evaluated(record, split, sizes)
    if "acc" in name:
        # a number of samples that does not give it is not that of those it was counted on
        right = round(value * size) if size is not None and 0 <= value <= 1 else None
        fits = size is not None and right is not None and abs(right - value * size) < 0.01 + 1e-6 * size
        return _counted(value, right if fits else None, size)
    accuracy = row.get(f"{split}/accuracy")
    if not name.endswith("loss") or size is None or accuracy is None or not 0 <= float(accuracy) <= 1:
        return Point(value, math.nan, math.nan)
    wrong = max(1 - float(accuracy), 1 / size)
    half = Z95 * value * math.sqrt((2 / wrong - 1) / size)
    return Point(value, value - half, value + half)


def _sign(quantity: Quantity) -> int:
    """1 if the best layer has the largest value, -1 if it has the smallest."""
    return -1 if falls(quantity.value) else 1


def _rows(record: RunRecord, name: str) -> list[dict[str, Any]]:
    """The rows of a table of layers that are to be shown; none if there is no such table."""
    table = record.tables.get(name)
    if table is None or not table.has("layer", "labels", "split"):
        return []
    return [row for row in table.rows if row.get("chosen") is not False]


def _counted(accuracy: float, correct: int | None, count: int | None) -> Point:
    if correct is None or not count or not 0 <= correct <= count:  # of a table that was changed
        return Point(accuracy, math.nan, math.nan)
    return Point(accuracy, *wilson(int(correct), int(count)), (int(correct), int(count)))


def _evaluated(record: RunRecord, split: str, sizes: Sizes) -> int | None:
    """On how many samples of a set the metrics of a run were counted; None if that is not known."""
    settings = record.settings
    known = {"test": TEST_SETS.get(str(settings.get("data")))}
    probed = (row.get("count") for row in _rows(record, "probes") if row["split"] == split and row.get("count"))
    written = (record.record.get("samples") or {}).get(split)
    size = written or sizes.get(split) or known.get(split) or next(probed, None)
    # what Lightning takes in its place, if it is given
    limit = settings.get("trainer.overfit_batches") or settings.get("trainer.limit_val_batches")
    if size is None or limit is None or (limit == 1.0 and isinstance(limit, float)):
        return None if size is None else int(size)
    processes = _processes(settings)
    batches = -(-int(size) // (EVALUATION_BATCH * processes))
    blocks = int(limit * batches) if isinstance(limit, float) else int(limit)
    return min(int(size), blocks * processes * EVALUATION_BATCH)


def _processes(settings: Mapping[str, Any]) -> int:
    """On how many devices of how many machines a run was; 1 for `auto`."""
    devices, nodes = (settings.get(f"trainer.{name}") for name in ("devices", "num_nodes"))
    if isinstance(devices, str):  # a number, or a list of them
        listed = [part for part in devices.strip("[]").split(",") if part.strip()]
        devices = len(listed) if "," in devices or "[" in devices else int(devices) if devices.isdecimal() else 1
    return math.prod(one for one in (devices, nodes) if isinstance(one, int) and one > 0)
