"""The figures of an experiment, redrawn from its runs; and the numbers in them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.pictures.heat_map import Cell, HeatMap
from stratoscope.callbacks.pictures.heat_map_svg import svg
from stratoscope.callbacks.pictures.probe_table import evenly, shared_prefix
from stratoscope.callbacks.pictures.separability_figure import shared_span
from stratoscope.experiments.experiment import SEED, Experiment, Figure, Quantity, place_of
from stratoscope.experiments.measured import course, in_unit, layers
from stratoscope.experiments.quantities import Estimate, Result, compared, drawn
from stratoscope.experiments.report.column_figures import draw_lines, draw_map, draw_scatter
from stratoscope.experiments.report.style import finish, style, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

Row = dict[str, Any]
MANY = 25  # points of a line that need no marks
TALLEST, NAMED = 12.0, 32  # inches of a heat map; most layers that are named


def draw(
    experiment: Experiment, figure: Figure, results: Sequence[Result], scale_note: str
) -> "tuple[Picture, list[Row]]":
    """Draw a figure.

    Args:
        experiment: The experiment.
        figure: Which figure of it.
        results: Its runs.
        scale_note: What is smaller than in the paper; empty at full scale.

    Returns:
        The picture, and its numbers: one row per point.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure as Picture

    quantity = experiment.quantities[figure.quantity]
    groups = drawn(results, figure)
    width, height = (6.4, 4.0) if figure.kind != "layers" else _size(groups, quantity)
    if figure.kind == "map":
        width, height = 1.2 + 3.4 * min(3, max(1, len(groups))), 3.6 * max(1, -(-len(groups) // 3)) + 0.4
    picture = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    if figure.kind == "layers":
        rows = _layers(picture, figure, quantity, groups)
    elif figure.kind == "map":
        rows = draw_map(picture, experiment, figure, groups)
    else:
        axis = picture.subplots()
        draws: dict[str, Callable[..., list[Row]]] = {
            "curves": _curves,
            "points": _points,
            "profile": _profile,
            "lines": draw_lines,
            "density": draw_lines,
            "scatter": draw_scatter,
        }
        rows = draws[figure.kind](axis, experiment, figure, results, groups)
        finish(axis, figure)
    note = f" ({scale_note})" if scale_note else ""
    picture.suptitle(f"{figure.title}{note}", fontsize="medium", wrap=True)
    return picture, rows


def _curves(
    axis: "Axes", experiment: Experiment, figure: Figure, _: Sequence[Result], groups: dict[str, list[Result]]
) -> list[Row]:
    """A metric over epochs: the mean over seeds, and in a lighter shade from the smallest to the largest."""
    from matplotlib.ticker import MaxNLocator

    quantity, rows = experiment.quantities[figure.quantity], []
    many = any(one.record and one.record.epochs > MANY for group in groups.values() for one in group)
    for number, (name, group) in enumerate(groups.items()):
        courses = [course(one.record, quantity) for one in group if one.record]
        epochs = sorted(set.intersection(*(set(one) for one in courses))) if courses else []
        values = [[one[epoch] for one in courses] for epoch in epochs]
        means = [sum(at) / len(at) for at in values]
        if not epochs:
            continue
        look = style(number, {"marker": ""} if many else {})
        axis.plot(epochs, means, label=name, **look)
        if len(courses) > 1:
            low, high = [min(at) for at in values], [max(at) for at in values]
            axis.fill_between(epochs, low, high, color=look["color"], alpha=0.2, linewidth=0)
        for one in group:
            found = course(one.record, quantity) if one.record else {}
            seed = one.planned.labels.get(SEED)
            rows += [{"line": name, SEED: seed, "epoch": at, figure.quantity: value} for at, value in found.items()]
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epochs")
    axis.set_ylabel(with_unit(figure.quantity, quantity.unit))
    return rows


def _points(
    axis: "Axes", experiment: Experiment, figure: Figure, results: Sequence[Result], groups: dict[str, list[Result]]
) -> list[Row]:
    """A number over an axis, with its 95 % interval; the paper's as hollow marks."""
    quantity, rows = experiment.quantities[figure.quantity], []
    found = compared(results, quantity, figure.of, None, figure.over, experiment.samples)
    for number, name in enumerate(groups):
        points: list[tuple[float, Estimate]] = []
        for cell, estimate in found.items():
            labels = dict(cell)
            if str(labels.get(figure.lines, "")) == name:
                points.append((place_of(labels[figure.x], figure), estimate))
        look = style(number)
        never = sum(not math.isfinite(one.mean) for _, one in points)
        points = [(x, one) for x, one in points if math.isfinite(one.mean)]
        points.sort(key=lambda point: point[0])
        if points:
            x, y, below, above = zip(*((x, *_ends(one)) for x, one in points), strict=True)
            missed = f" ({never} never reached)" if never else ""
            axis.errorbar(x, y, yerr=[below, above], label=f"{name or 'ours'}{missed}", capsize=2, **look)
        rows += [{"line": name, figure.x: x, figure.quantity: one.mean, "margin": one.margin} for x, one in points]
        paper = [
            (place_of(one.of[figure.x], figure), one.value)
            for one in experiment.published
            if one.quantity == figure.quantity and one.over_axes() == set(figure.over or {}) and figure.x in one.of
            if str(one.of.get(figure.lines, "")) == name
        ]
        if paper:
            x, y = zip(*sorted(paper), strict=True)
            hollow = look | {"markersize": 7, "markerfacecolor": "none", "linestyle": ":", "linewidth": 0.8}
            axis.plot(x, y, label=f"{name}, paper".removeprefix(", "), **hollow)
            rows += [{"line": f"{name}, paper", figure.x: at, figure.quantity: value} for at, value in paper]
    axis.set_xlabel(figure.x)
    axis.set_ylabel(with_unit(figure.quantity, "relative" if figure.over else quantity.unit))
    return rows


def _ends(one: Estimate) -> tuple[float, float, float]:
    """A mean, and how far below and above it the interval reaches; nothing is drawn where that is not known."""
    below, above = (end if math.isfinite(end) else 0.0 for end in (one.mean - one.low, one.high - one.mean))
    return one.mean, below, above


def _profile(
    axis: "Axes", experiment: Experiment, figure: Figure, _: Sequence[Result], groups: dict[str, list[Result]]
) -> list[Row]:
    """A probe over the layers: untrained (dotted) and after the last epoch, or once if nothing was trained."""
    quantity, rows = experiment.quantities[figure.quantity], []
    names: list[str] = []
    for number, (name, group) in enumerate(groups.items()):
        by_run = [layers(one.record, quantity) for one in group if one.record]
        by_run = [one for one in by_run if one]
        trained = any(len(one) > 1 for one in by_run)
        for place, dotted in ((min, True), (max, False)) if trained else ((max, False),):
            tables = [one[place(one)] for one in by_run]
            if not tables:
                continue
            names = list(dict.fromkeys([*names, *tables[0]]))
            shown = [layer for layer in names if all(layer in table for table in tables)]
            means = [sum(in_unit(table[layer], quantity) for table in tables) / len(tables) for layer in shown]
            look = style(number, {"linestyle": ":", "markerfacecolor": "none"} if dotted else {})
            state = ("untrained" if dotted else "trained") if trained else ""
            label = ", ".join(filter(None, (name, state)))
            axis.plot([names.index(layer) for layer in shown], means, label=label, **look)
            rows += [
                {"line": name, "state": state, "layer": layer, figure.quantity: mean}
                for layer, mean in zip(shown, means, strict=True)
            ]
    prefix = shared_prefix(names)
    places = evenly(list(range(len(names))), NAMED)
    axis.set_xticks(places, [names[at].removeprefix(prefix) for at in places], rotation=45, ha="right")
    axis.set_ylabel(with_unit(figure.quantity, quantity.unit))
    return rows


def _size(groups: dict[str, list[Result]], quantity: Quantity) -> tuple[float, float]:
    tables = [layers(group[0].record, quantity) for group in groups.values() if group[0].record]
    rows = max((len(at) for table in tables for at in table.values()), default=4)
    columns = max((len(table) for table in tables), default=4)
    return max(5.0, min(10.0, 2.8 + 0.5 * columns)), max(1, len(groups)) * min(TALLEST, 1.2 + 0.3 * rows)


def _layers(picture: "Picture", figure: Figure, quantity: Quantity, groups: dict[str, list[Result]]) -> list[Row]:
    """A probe by layer, from the input at the bottom upwards, and epoch: maps that share one range of colours."""
    maps, rows = _maps(figure, quantity, groups)
    if not maps:
        picture.text(0.5, 0.4, "no runs yet", ha="center")
        return rows
    for axis, one in zip(picture.subplots(len(maps), squeeze=False)[:, 0], maps, strict=True):
        room = 1.2 + 0.3 * len(one.layers) < TALLEST
        one.draw(axis, shared_span(maps), font=8.0 if room else None, names=(NAMED, 24))
    return rows


def hovered(experiment: Experiment, figure: Figure, results: Sequence[Result]) -> list[tuple[str, str]]:
    """A figure's heat maps for a page, where a browser shows their numbers under the mouse.

    Args:
        experiment: The experiment.
        figure: Which figure of it.
        results: Its runs.

    Returns:
        What each is of, and its SVG; none if figures of this kind have no such maps.
    """
    if figure.kind != "layers":
        return []
    maps, _ = _maps(figure, experiment.quantities[figure.quantity], drawn(results, figure))
    return [(one.heading, svg("", [replace(one, heading="")], shared_span(maps), alone=False)) for one in maps]


def _maps(figure: Figure, quantity: Quantity, groups: dict[str, list[Result]]) -> tuple[list[HeatMap], list[Row]]:
    """Means over the runs of each group, and the numbers in them."""
    maps, rows = [], []
    for name, group in groups.items():
        tables = [layers(one.record, quantity) for one in group if one.record]
        tables = [table for table in tables if table]
        if not tables:
            continue
        epochs = sorted(set.intersection(*(set(table) for table in tables)))
        names = list(dict.fromkeys(layer for epoch in epochs for layer in tables[0][epoch]))
        cells: dict[tuple[int, int], Cell] = {}
        for x, epoch in enumerate(epochs):
            for y, layer in enumerate(names):
                found = [in_unit(table[epoch][layer], quantity) for table in tables if layer in table[epoch]]
                if found:
                    mean = sum(found) / len(found)
                    cells[y, x] = mean, f"{mean:.0f}"
                    rows.append({"line": name, "layer": layer, "epoch": epoch, figure.quantity: mean})
        maps.append(HeatMap(name, with_unit(figure.quantity, quantity.unit), names, epochs, cells, least=1.0))
    return maps, rows
