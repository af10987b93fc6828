"""Figures of the columns of tables, and of one quantity against another: lines, density, map, scatter."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.pictures.contours import contours, levels_of
from stratoscope.experiments.experiment import SEED, Experiment, Figure, Quantity
from stratoscope.experiments.measured import Reading, column_rows, in_unit, reading
from stratoscope.experiments.quantities import Result, readings
from stratoscope.experiments.report.style import style, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Row = dict[str, Any]
MANY = 40  # points of a line that need no marks


def draw_lines(
    axis: "Axes", experiment: Experiment, figure: Figure, _: Sequence[Result], groups: Mapping[str, list[Result]]
) -> list[Row]:
    """A column over another at the last epoch: the mean over repetitions, in a lighter shade from least to most.

    Args:
        axis: Where to draw.
        experiment: The experiment.
        figure: Which figure of it, of the kind lines or density.
        groups: Its runs, by the label of its lines.

    Returns:
        Its numbers: one row per run and point.
    """
    rows: list[Row] = []
    right = axis.twinx() if figure.second else None
    for place, (name, dashes) in enumerate(((figure.quantity, "-"), (figure.second, "--"))):
        on = axis if place == 0 else right
        if on is None:
            continue
        quantity = experiment.quantities[name]
        for number, (label, group) in enumerate(groups.items()):
            by_x: dict[float, list[float]] = {}
            for one in group:
                for x, value in _course(one, quantity, (figure.x,)):
                    by_x.setdefault(x[0], []).append(value)
                    rows.append({"line": label, SEED: one.planned.labels.get(SEED), figure.x: x[0], name: value})
            if not by_x:
                continue
            at = sorted(by_x)
            look = style(number, {"linestyle": dashes} | ({"marker": ""} if len(at) > MANY or place else {}))
            told = ", ".join(filter(None, (label, name if figure.second else "")))
            axis.plot([], [], label=told, **look) if place else None  # one legend for both ordinates
            on.plot(at, [fmean(by_x[x]) for x in at], label=told, **look)
            if any(len(values) > 1 for values in by_x.values()):
                low, high = [min(by_x[x]) for x in at], [max(by_x[x]) for x in at]
                on.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
        on.set_ylabel(with_unit(name, quantity.unit))
        if figure.log or figure.kind == "density":
            on.set_yscale("log")
    if right is not None and experiment.quantities[figure.second].unit == experiment.quantities[figure.quantity].unit:
        ends = [*axis.get_ylim(), *right.get_ylim()]  # on one scale, so that they can be compared
        for on in (axis, right):
            on.set_ylim(min(ends), max(ends))
    axis.set_xlabel(figure.x.replace("_", " "))
    return rows


def draw_scatter(
    axis: "Axes", experiment: Experiment, figure: Figure, results: Sequence[Result], groups: Mapping[str, list[Result]]
) -> list[Row]:
    """A quantity against another, a point per run, with 95 % intervals of test sets on both axes.

    Args:
        axis: Where to draw.
        experiment: The experiment.
        figure: Which figure of it.
        results: Its runs.
        groups: Those of it, by the label of its lines.

    Returns:
        Its numbers: one row per run.
    """
    quantity, against = experiment.quantities[figure.quantity], experiment.quantities[figure.against]
    others = figure.of if figure.against_of is None else figure.against_of
    theirs = readings(results, against, others, experiment.samples)
    rows: list[Row] = []
    for number, (label, group) in enumerate(groups.items()):
        pairs: list[tuple[Reading, Reading]] = []
        for one in group:
            mine = reading(one.record, quantity, experiment.samples) if one.record else None
            free = [pair for pair in one.planned.cell if figure.against_of is None or pair[0] not in others]
            seed = one.planned.labels.get(SEED)
            found = [by[seed] for cell, by in theirs.items() if seed in by and all(part in cell for part in free)]
            if isinstance(mine, Reading) and found and all(math.isfinite(x.value) for x in (mine, found[0])):
                pairs.append((found[0], mine))
                cells = {figure.against: found[0].value, figure.quantity: mine.value}
                rows.append({"line": label, **one.planned.labels, **cells})
        if pairs:
            (x, x_ends), (y, y_ends) = (_ends([pair[place] for pair in pairs]) for place in (0, 1))
            look = style(number, {"linestyle": "", "elinewidth": 0.7, "markersize": 5})
            axis.errorbar(x, y, xerr=x_ends, yerr=y_ends, label=label or "a run", capsize=0, **look)
    axis.set_xlabel(with_unit(figure.against, against.unit))
    axis.set_ylabel(with_unit(figure.quantity, quantity.unit))
    return rows


def draw_map(
    picture: "Picture", experiment: Experiment, figure: Figure, groups: Mapping[str, list[Result]]
) -> list[Row]:
    """Contours of a column over two others at the last epoch, a panel per line, with common levels.

    Of several repetitions the first that has the table is shown, as their means have no contours of their own.

    Args:
        picture: Where to draw.
        experiment: The experiment.
        figure: Which figure of it.
        groups: Its runs, by the label of its lines.

    Returns:
        Its numbers: one row per point.
    """
    quantity = experiment.quantities[figure.quantity]
    found: dict[str, list[tuple[tuple[float, ...], float]]] = {}
    for label, group in groups.items():
        courses = (_course(one, quantity, (figure.x, figure.y)) for one in group)
        first = next((one for one in courses if one), [])
        if first:
            found[label] = first
    if not found:
        picture.text(0.5, 0.4, "no runs yet", ha="center")
        return []
    values = [value for course in found.values() for _, value in course]
    levels, norm = levels_of(values, figure.log)
    across = min(3, len(found))
    down = -(-len(found) // across)
    axes = picture.subplots(down, across, squeeze=False)
    for axis in list(axes.flat)[len(found) :]:
        axis.set_visible(False)
    panels = []
    for axis, (label, course) in zip(axes.flat, found.items(), strict=False):
        panels.append(contours(axis, [(at[0], at[1], value) for at, value in course], levels, norm, figure.marks))
        axis.set_title(label, fontsize="small")
        axis.set_xlabel(figure.x.replace("_", " "))
        axis.set_ylabel(figure.y.replace("_", " "))
    if shades := next(filter(None, panels), None):
        picture.colorbar(shades, ax=list(axes.flat), label=with_unit(figure.quantity, quantity.unit), format="%.3g")
    return [
        {"line": label, figure.x: at[0], figure.y: at[1], figure.quantity: value}
        for label, course in found.items()
        for at, value in course
    ]


def _course(one: Result, quantity: Quantity, along: Sequence[str]) -> list[tuple[tuple[float, ...], float]]:
    """A run's values in the quantity's unit at its last epoch, by the values of some columns."""
    by_epoch = column_rows(one.record, quantity, along) if one.record else {}
    last = by_epoch[max(by_epoch)] if by_epoch else []
    return [
        (tuple(float(row[name]) for name in along), in_unit(float(row[quantity.column]), quantity))
        for row in last
        if all(_number(row[name]) for name in (*along, quantity.column))
    ]


def _number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell)


def _ends(found: Sequence[Reading]) -> tuple[list[float], list[list[float]]]:
    """Values, and how far their intervals reach; nothing where that is not known."""
    reach = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
    return [one.value for one in found], [[x if math.isfinite(x) else 0.0 for x in side] for side in reach]
