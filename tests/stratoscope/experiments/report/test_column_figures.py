"""Tests of stratoscope/experiments/report/column_figures.py; whole experiments with them are in test_steps.py."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure as Picture

from stratoscope.experiments.experiment import Experiment, Figure, Quantity
from stratoscope.experiments.quantities import Result, drawn
from stratoscope.experiments.report.column_figures import draw_lines, draw_map, draw_scatter
from stratoscope.files.table import COLUMNS, Table
from tests.small_experiments import result

LOSS = Quantity(column="loss", table="path", where={"split": "train"}, unit="nats")
EXPERIMENT = Experiment("", "", {}, [], quantities={
    "loss": LOSS,
    "test loss": replace(LOSS, where={"split": "test"}),
    "at the end": replace(LOSS, where={"split": "train", "alpha": 1.0}),
    "accuracy": Quantity("train/accuracy"),
})  # fmt: skip


def run(width: str, seed: int, losses: dict[tuple[float, float | None], float]) -> Result:
    """A run with a table path."""
    one = result({"width": width, "seed": seed}, 0.5, 0.5)
    names = ("epoch", "alpha", "beta", "split", "loss", "loss_error")
    rows = [
        {"epoch": 2, "alpha": at[0], "beta": at[1], "split": split, "loss": loss + (split == "test"), "loss_error": 0.1}
        for at, loss in losses.items()
        for split in ("train", "test")
    ]
    assert one.record is not None
    table = Table({name: COLUMNS[name] for name in names}, rows)
    return Result(one.planned, replace(one.record, tables={"path": table}))


def paths() -> list[Result]:
    """Two widths, two repetitions each."""
    at = [(0.0, None), (0.5, None), (1.0, None)]
    losses = {("narrow", 0): (0, 2, 1), ("narrow", 1): (0, 4, 1), ("wide", 0): (1, 1, 1), ("wide", 1): (1, 1, 3)}
    return [run(*labels, dict(zip(at, map(float, found), strict=True))) for labels, found in losses.items()]


def test_lines_are_means_with_a_band() -> None:
    """Over repetitions; every number is in the rows."""
    axis, results = Picture().subplots(), paths()
    figure = Figure("lines", "", "loss", lines="width", x="alpha")
    rows = draw_lines(axis, EXPERIMENT, figure, results, drawn(results, figure))
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axis.lines}
    assert lines == {"narrow": [0.0, 3.0, 1.0], "wide": [1.0, 1.0, 2.0]}
    assert len(rows) == 12
    assert {"line": "narrow", "seed": 1, "alpha": 0.5, "loss": 4.0} in rows
    assert len(axis.collections) == 2


def test_two_losses_stand_on_one_scale() -> None:
    """The second is dashed, with an ordinate of its own; of another unit it has a scale of its own too."""
    results = paths()
    for second, same in (("test loss", True), ("percent", False)):
        picture = Picture()
        axis = picture.subplots()
        others = {**EXPERIMENT.quantities, "percent": replace(LOSS, percent=True, unit="%")}
        figure = Figure("lines", "", "loss", lines="width", x="alpha", second=second)
        draw_lines(axis, replace(EXPERIMENT, quantities=others), figure, results, drawn(results, figure))
        right = next(one for one in picture.axes if one is not axis)
        assert (axis.get_ylim() == right.get_ylim()) == same
        assert {line.get_linestyle() for line in right.lines} == {"--"}
        assert "narrow, " + second in axis.get_legend_handles_labels()[1]


def test_a_scatter_has_a_point_for_every_run() -> None:
    """With the numbers of both quantities."""
    axis, results = Picture().subplots(), paths()
    figure = Figure("scatter", "", "at the end", lines="width", against="accuracy")
    rows = draw_scatter(axis, EXPERIMENT, figure, results, drawn(results, figure))
    assert [(row["width"], row["seed"], row["at the end"]) for row in rows] == [
        ("narrow", 0, 1.0), ("narrow", 1, 1.0), ("wide", 0, 1.0), ("wide", 1, 3.0),
    ]  # fmt: skip
    assert {row["accuracy"] for row in rows} == {0.5}


@pytest.mark.parametrize("log", [False, True])
def test_a_map_has_a_panel_for_every_line(log: bool) -> None:
    """With common levels, and its marks in each."""
    corners: dict[tuple[float, float | None], float] = {
        (0.0, 0.0): 1.0,
        (1.0, 0.0): 2.0,
        (0.0, 1.0): 3.0,
        (0.4, 0.4): 9.0,
    }
    results = [run("narrow", 0, corners), run("wide", 0, {at: 5 * loss for at, loss in corners.items()})]
    figure = Figure("map", "", "loss", lines="width", x="alpha", y="beta", log=log, marks={"SGD": [0, 0]})
    picture: Any = Picture()
    rows = draw_map(picture, EXPERIMENT, figure, drawn(results, figure))
    assert len(rows) == 8
    shown = [axis for axis in picture.axes if axis.get_title()]
    assert [axis.get_title() for axis in shown] == ["narrow", "wide"]
    assert all([text.get_text() for text in axis.texts] == ["SGD"] for axis in shown)


def test_without_runs_there_is_a_word() -> None:
    """In the place of a picture."""
    picture = Picture()
    figure = Figure("map", "", "loss", x="alpha", y="beta")
    assert draw_map(picture, EXPERIMENT, figure, {}) == []
    assert [text.get_text() for text in picture.texts] == ["no runs yet"]
