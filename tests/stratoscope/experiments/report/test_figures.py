"""Tests of stratoscope/experiments/report/figures.py: what is drawn, and the numbers beside it, worked out by hand."""

from typing import Any

import pytest

from stratoscope.experiments.experiment import Experiment, Figure, Published, Quantity
from stratoscope.experiments.grid import PlannedRun
from stratoscope.experiments.quantities import Result
from stratoscope.experiments.report.figures import draw
from tests.small_experiments import record, result

QUANTITIES = {
    "accuracy": Quantity("train/accuracy", percent=True, unit="%"),
    "epochs": Quantity("train/accuracy", at_least=0.5),
    "separability": Quantity(probe="true_label test", percent=True, unit="%"),
}
CURVES = Figure("curves", "Accuracy", "accuracy", lines="labels")
POINTS = Figure("points", "Accuracy", "accuracy", x="labels", places={"true": 0, "random": 1})


def drawn(
    figure: Figure, results: list[Result], note: str = "", published: tuple[Published, ...] = ()
) -> tuple[Any, list[dict[str, Any]]]:
    """Draw a figure of an experiment with two kinds of labels and two seeds."""
    axes: dict[str, Any] = {"labels": {"true": {}, "random": {}}, "seed": {0: {}, 1: {}}}
    experiment = Experiment("So", "Nobody", axes, [], quantities=QUANTITIES, published=list(published))
    return draw(experiment, figure, results, note)


def run(labels: str, seed: int, *accuracies: float) -> Result:
    """A run with these accuracies from epoch 0 on."""
    return result({"labels": labels, "seed": seed}, *accuracies)


RUNS = [run("true", 0, 0.1, 0.5), run("true", 1, 0.3, 0.75), run("random", 0, 0.125, 0.25)]


def test_a_curve_is_the_mean_over_seeds_within_its_range() -> None:
    """And the numbers beside it are those of every run."""
    picture, rows = drawn(CURVES, RUNS)
    (axis,) = picture.axes
    true, random = axis.get_lines()
    assert list(true.get_xdata()) == [0, 1]
    assert list(true.get_ydata()) == pytest.approx([20, 62.5])
    assert list(random.get_ydata()) == pytest.approx([12.5, 25])
    (band,) = axis.collections  # where there is more than one seed
    assert sorted({round(float(y), 9) for y in band.get_paths()[0].vertices[:, 1]}) == [10, 30, 50, 75]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epochs", "accuracy, %")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["true", "random"]
    assert [tuple(row.values()) for row in rows] == [
        ("true", 0, 0, 10), ("true", 0, 1, 50), ("true", 1, 0, 30), ("true", 1, 1, 75),
        ("random", 0, 0, 12.5), ("random", 0, 1, 25),
    ]  # fmt: skip
    assert list(rows[0]) == ["line", "seed", "epoch", "accuracy"]


def test_a_curve_has_the_epochs_that_all_its_runs_have() -> None:
    """One that was cut off earlier makes it shorter; its numbers are there all the same."""
    picture, rows = drawn(CURVES, [run("true", 0, 0.1, 0.5, 0.6), run("true", 1, 0.3)])
    (line,) = picture.axes[0].get_lines()
    assert list(line.get_xdata()) == [0]
    assert len(rows) == 4


def test_points_are_means_with_their_intervals_at_their_places() -> None:
    """Of one run the interval is what is known of it: of a training accuracy nothing."""
    picture, rows = drawn(POINTS, RUNS)
    assert [row["labels"] for row in rows] == [0, 1]
    assert [row["accuracy"] for row in rows] == pytest.approx([62.5, 25])
    assert rows[0]["margin"] == pytest.approx(12.706205 * 12.5)  # Student's t of one degree of freedom
    assert rows[1]["margin"] == 0
    (axis,) = picture.axes
    (bars,) = axis.containers
    assert list(bars[0].get_ydata()) == pytest.approx([62.5, 25])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("labels", "accuracy, %")


def test_the_papers_numbers_are_hollow_marks_beside_ours() -> None:
    """Of this quantity only."""
    published = (
        Published("accuracy", {"labels": "random"}, 30, 5),
        Published("accuracy", {"labels": "true"}, 70, 5),
        Published("epochs", {"labels": "true"}, 3, 1),
    )
    picture, rows = drawn(POINTS, RUNS, published=published)
    assert rows[2:] == [
        {"line": ", paper", "labels": 1, "accuracy": 30},
        {"line": ", paper", "labels": 0, "accuracy": 70},
    ]
    paper = next(line for line in picture.axes[0].get_lines() if line.get_label() == "paper")
    assert paper.get_markerfacecolor() == "none"
    assert list(paper.get_ydata()) == [70, 30]  # by their places


def test_a_bound_that_is_never_reached_has_no_point_but_is_counted() -> None:
    """In the legend."""
    picture, rows = drawn(Figure("points", "", "epochs", x="labels", places=POINTS.places), RUNS)
    assert [(row["labels"], row["epochs"]) for row in rows] == [(0, 1)]
    assert [text.get_text() for text in picture.axes[0].get_legend().get_texts()] == ["ours (1 never reached)"]


def probed(seed: int, tables: dict[int, dict[str, float]], labels: str = "true") -> Result:
    """A run whose probes have these accuracies, by epoch and layer."""
    usual = {"labels": "true_label", "split": "test", "chosen": True}
    rows = [
        {**usual, "epoch": epoch, "layer": layer, "accuracy": value}
        for epoch, layers in tables.items()
        for layer, value in layers.items()
    ]
    planned = PlannedRun({"labels": labels, "seed": seed}, {}, None, f"{labels}-{seed}")  # type: ignore[arg-type]
    return Result(planned, record([], rows))


PROBED = [
    probed(0, {0: {"net.a": 0.1, "net.b": 0.2}, 2: {"net.a": 0.5, "net.b": 0.75}}),
    probed(1, {0: {"net.a": 0.3, "net.b": 0.4}, 2: {"net.a": 0.75, "net.b": 1.0}}),
]


def test_a_profile_is_dotted_before_training() -> None:
    """Means over seeds, layer by layer, without what all names begin with."""
    picture, rows = drawn(Figure("profile", "", "separability", lines="labels"), PROBED)
    (axis,) = picture.axes
    before, after = axis.get_lines()
    assert list(before.get_ydata()) == pytest.approx([20, 30])
    assert list(after.get_ydata()) == pytest.approx([62.5, 87.5])
    assert (before.get_linestyle(), after.get_linestyle()) == (":", "-")
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["a", "b"]
    assert [(row["state"], row["layer"]) for row in rows] == [
        ("untrained", "net.a"), ("untrained", "net.b"), ("trained", "net.a"), ("trained", "net.b"),
    ]  # fmt: skip


def test_networks_that_were_not_trained_have_one_profile() -> None:
    """Those of `validate`, which is neither before nor after."""
    _, rows = drawn(Figure("profile", "", "separability", lines="labels"), [probed(0, {0: {"a": 0.5, "b": 0.25}})])
    assert rows == [
        {"line": "true", "state": "", "layer": "a", "separability": 50},
        {"line": "true", "state": "", "layer": "b", "separability": 25},
    ]


def test_heat_maps_share_one_range_of_colours() -> None:
    """A map for every kind of labels; means over seeds."""
    others = probed(0, {0: {"net.a": 0.05, "net.b": 0.0}, 2: {"net.a": 0.1, "net.b": 0.5}}, "random")
    picture, rows = drawn(Figure("layers", "", "separability", lines="labels"), [*PROBED, others])
    assert [row["separability"] for row in rows if row["line"] == "true"] == pytest.approx([20, 30, 62.5, 87.5])
    ranges = {image.get_clim() for axis in picture.axes for image in axis.images}
    assert len(ranges) == 1
    assert sum(len(axis.images) for axis in picture.axes) == 2


@pytest.mark.parametrize(
    "figure",
    [
        CURVES,
        POINTS,
        Figure("profile", "", "separability", lines="labels"),
        Figure("layers", "", "separability", lines="labels"),
    ],
    ids=lambda figure: figure.kind,
)
def test_without_runs_a_figure_says_so(figure: Figure) -> None:
    """Whatever its kind."""
    gone = [Result(one.planned, None) for one in RUNS]
    picture, rows = drawn(figure, gone)
    assert rows == []
    texts = [text.get_text() for part in (picture, *picture.axes) for text in part.texts]
    assert "no runs yet" in texts


def test_what_is_smaller_than_in_the_paper_is_in_the_title() -> None:
    """And what is as large is not."""
    for note, title in (("scale half: fewer images", "Accuracy (scale half: fewer images)"), ("", "Accuracy")):
        picture, _ = drawn(CURVES, RUNS, note)
        assert picture.get_suptitle() == title


def test_a_logarithmic_figure_has_a_logarithmic_ordinate() -> None:
    """If it is asked for."""
    for log, scale in ((True, "log"), (False, "linear")):
        picture, _ = drawn(Figure("curves", "", "accuracy", lines="labels", log=log), RUNS)
        assert picture.axes[0].get_yscale() == scale
