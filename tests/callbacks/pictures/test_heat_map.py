"""Tests of callbacks/pictures/heat_map.py."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from stratoscope.callbacks.pictures.heat_map import HeatMap, ink

LAYERS = ["network.block1.relu", "network.block2.relu", "network.logits"]


@pytest.fixture
def axis() -> Iterator[Any]:
    """Where to draw; a figure that no window knows."""
    figure = Figure(layout="constrained")
    yield figure.subplots()
    figure.canvas.draw()  # what was drawn can be


def shown(axis: Any) -> dict[tuple[int, int], str]:
    """The numbers printed, by row and column."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axis.texts}


def test_rows_go_up_from_the_input_and_names_lose_what_they_share(axis: Any) -> None:
    """Epochs on the other axis; the heading on the left."""
    HeatMap("Accuracy", "%", LAYERS, [0, 5], {(0, 0): (10.0, "10")}).draw(axis, (0, 100))
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["block1.relu", "block2.relu", "logits"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0\nuntrained", "5"]
    assert axis.get_ylim()[0] < axis.get_ylim()[1]
    assert axis.get_xlabel() == "epochs of training"
    assert axis.get_title("left") == "Accuracy"


def test_numbers_stand_in_their_cells_and_crosses_where_one_failed(axis: Any) -> None:
    """What is not there stays white, without either."""
    cells = {(0, 0): (10.0, "10"), (2, 1): (90.0, "90"), (1, 1): None}
    HeatMap("Accuracy", "%", LAYERS, [0, 5], cells).draw(axis, (0, 100))
    assert shown(axis) == {(0, 0): "10", (2, 1): "90"}
    marked = [line for line in axis.lines if line.get_marker() == "x"]
    crosses = [(float(line.get_ydata()[0]), float(line.get_xdata()[0])) for line in marked]
    assert crosses == [(1.0, 1.0)]
    shades = axis.images[0].get_array()
    assert shades[0, 0] == 10.0
    assert shades.mask.tolist() == [[False, True], [True, True], [True, False]]
    colours = {text.get_text(): text.get_color() for text in axis.texts}
    assert colours == {"10": "white", "90": "black"}  # on dark and on light


def test_without_a_font_no_number_is_printed(axis: Any) -> None:
    """The colours are there."""
    HeatMap("Accuracy", "%", LAYERS, [0], {(0, 0): (10.0, "10")}).draw(axis, (0, 100), font=None)
    assert shown(axis) == {}
    assert axis.images[0].get_array()[0, 0] == 10.0


@pytest.mark.parametrize(
    ("log", "least", "span", "expected"),
    [
        (False, 0.0, (20.0, 80.0), (20.0, 80.0)),
        (False, 5.0, (20.0, 20.1), (20.0, 25.0)),
        (False, 5.0, (20.0, 80.0), (20.0, 80.0)),
        (True, 0.0, (1.0, 1000.0), (1.0, 1000.0)),
        (True, 0.0, (10.0, 10.0), (10.0, 11.0)),
    ],
)
def test_colours_span_what_they_are_given_or_the_least(
    log: bool, least: float, span: tuple[float, float], expected: tuple[float, float], axis: Any
) -> None:
    """Differences that are noise do not fill the colour bar; what is beyond has the colour of the end."""
    HeatMap("Rank", "directions", LAYERS, [0], {(0, 0): (30.0, "30")}, least, log).draw(axis, span)
    norm = axis.images[0].norm
    assert type(norm) is (LogNorm if log else Normalize)
    assert (norm.vmin, norm.vmax) == pytest.approx(expected)
    assert norm(10 * expected[1]) == pytest.approx(1)


def test_a_logarithmic_bar_has_plain_numbers(axis: Any) -> None:
    """0.5 and 100, no powers."""
    HeatMap("NC1", "", LAYERS, [0], {(0, 0): (1.0, "1")}, log=True).draw(axis, (0.5, 100.0))
    axis.figure.canvas.draw()
    labels = [tick.get_text() for tick in axis.figure.axes[1].get_yticklabels()]
    assert {"0.5", "1", "2", "5", "10", "100"} <= set(labels)


def test_coloured_numbers_are_all_or_those_above_zero() -> None:
    """By a logarithm; what failed has none."""
    cells = {(0, 0): (-1.0, "-1"), (1, 0): (0.0, "0"), (2, 0): (3.0, "3"), (0, 1): None}
    assert HeatMap("", "", LAYERS, [0, 1], cells).numbers() == [-1.0, 0.0, 3.0]
    assert HeatMap("", "", LAYERS, [0, 1], cells, log=True).numbers() == [3.0]


def test_layers_against_layers_are_named_on_both_sides(axis: Any) -> None:
    """Of many some, evenly chosen, the first and the last among them."""
    many = [f"network.layer{number}" for number in range(50)]
    HeatMap("CKA", "", many, many, {(0, 0): (1.0, "1")}).draw(axis, (0, 1), names=(1000, 8))
    assert len(axis.get_yticklabels()) == 50
    across = [tick.get_text() for tick in axis.get_xticklabels()]
    assert len(across) <= 8
    assert (across[0], across[-1]) == ("layer0", "layer49")
    assert axis.get_xlabel() == ""


def test_differences_go_apart_from_a_white_zero(axis: Any) -> None:
    """As far down as up; in grey both sides look alike, so that without numbers what is below 0 is hatched."""
    cells = {(0, 0): (-10.0, "-10"), (1, 0): (40.0, "+40"), (2, 0): (0.0, "0")}
    panel = HeatMap("Change", "points", LAYERS, [5], cells, difference=True)
    image = panel.draw(axis, (-10.0, 40.0))
    assert image.get_clim() == (-40.0, 40.0)
    assert np.min(image.cmap(image.norm(np.array([0.0])))) > 0.9
    assert not axis.collections
    panel.draw(axis, (-10.0, 40.0), font=None)
    hatched = axis.collections[-1]
    assert hatched.get_hatch() == "////"
    (cell,) = hatched.get_paths()
    assert cell.get_extents().extents.tolist() == [-0.5, -0.5, 0.5, 0.5]


def test_panels_may_share_a_colour_bar(axis: Any) -> None:
    """Then each has none of its own."""
    panel = HeatMap("Accuracy", "%", LAYERS, [1], {(0, 0): (10.0, "10")})
    image = panel.draw(axis, (0, 100), bar=False)
    assert len(axis.figure.axes) == 1
    panel.draw_bar(image, [axis])
    assert axis.figure.axes[1].get_ylabel() == "%"


@pytest.mark.parametrize("difference", [False, True])
def test_numbers_can_be_read_on_every_colour(difference: bool) -> None:
    """The ink is at least three times as light or as dark as the ground, as WCAG asks of graphics."""

    def light(colour: Sequence[float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    colours, _ = HeatMap("", "", LAYERS, [1], {}, difference=difference).colours((0.0, 1.0))
    for place in range(101):
        ground = colours(place / 100)
        on, below = light(ground) + 0.05, (1.05 if ink(ground) == "white" else 0.05)
        assert max(on, below) / min(on, below) > 3


def test_sequential_colours_keep_their_order_in_grey() -> None:
    """Printed without colours, more is lighter."""
    colours, _ = HeatMap("", "", LAYERS, [1], {}).colours((0.0, 1.0))
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b, _ in map(colours, range(256))]
    assert all(low < high for low, high in pairwise(grey[::8]))
