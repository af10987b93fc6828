"""Tests of callbacks/pictures/contours.py."""

import pytest
from matplotlib.figure import Figure

from stratoscope.callbacks.pictures.contours import RANGE, contours, levels_of

SQUARE = [(0.0, 0.0, 1.0), (1.0, 0.0, 2.0), (0.0, 1.0, 3.0), (1.0, 1.0, 9.0)]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0, 5.0], [2.0, 2.0], [1e-9, 1.0], [-3.0, -1.0]])
def test_levels_rise(log: bool, values: list[float]) -> None:
    """From the smallest to the largest value; on a logarithmic scale over four decades at most."""
    levels, norm = levels_of(values, log)
    assert levels == sorted(set(levels))
    assert levels[-1] >= max(values) * (1 - 1e-9) or max(values) < 0
    if log and max(values) > 0:
        assert levels[0] >= max(values) / RANGE * (1 - 1e-9)
    assert norm(levels[0]) == pytest.approx(0)


def test_contours_are_drawn_with_names() -> None:
    """And something to draw a colour bar of."""
    axis = Figure().subplots()
    levels, norm = levels_of([point[2] for point in SQUARE], log=True)
    assert contours(axis, SQUARE, levels, norm, {"SGD": (0, 0)}) is not None
    assert [text.get_text() for text in axis.texts] == ["SGD"]


@pytest.mark.parametrize("points", [SQUARE[:2], [(float(k), float(k), 1.0) for k in range(5)]])
def test_points_on_a_line_have_none(points: list[tuple[float, float, float]]) -> None:
    """Which is said in the place of an error."""
    axis = Figure().subplots()
    levels, norm = levels_of([1.0, 2.0], log=False)
    assert contours(axis, points, levels, norm, {}) is None
    assert "no contours" in axis.texts[0].get_text()
