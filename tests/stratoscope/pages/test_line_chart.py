"""Tests of stratoscope/pages/line_chart.py."""

import re
from itertools import pairwise
from math import nan
from xml.etree import ElementTree

import pytest

from stratoscope.pages.line_chart import HIGH, LINE, STRIPS, WIDE, line_chart, ticks


def places(chart: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Where the lines go."""
    texts = [line.get("points", "") for line in chart.iter("polyline")]
    return [[(float(x), float(y)) for x, y in re.findall(r"([\d.-]+),([\d.-]+)", text)] for text in texts]


def test_lines_go_through_their_numbers() -> None:
    """Evenly along the epochs, higher where a number is larger; the mouse finds all numbers of an epoch."""
    lines = {"train": {1: 0.0, 2: 5.0, 3: 10.0}, "test <b>": {1: 10.0, 3: 0.0}}
    chart = ElementTree.fromstring(line_chart(lines, {"chance": 5.0}, "%"))
    train, test = places(chart)
    assert train[1] == pytest.approx([(train[0][i] + train[2][i]) / 2 for i in (0, 1)], abs=0.06)
    assert (train[0][1], train[2][1]) == (test[1][1], test[0][1])
    assert train[2][1] < train[0][1]
    told = [title.text for title in chart.iter("title")]
    assert told == ["epoch 1\ntrain 0 %\ntest <b> 10 %", "epoch 2\ntrain 5 %", "epoch 3\ntrain 10 %\ntest <b> 0 %"]
    assert {"train", "test <b>", "chance", "epochs of training", "0", "10"} <= {
        text.text for text in chart.iter("text")
    }
    for text in chart.iter("text"):
        assert 0 <= float(text.get("x", -1)) <= WIDE
        assert 0 <= float(text.get("y", -1)) <= HIGH


def test_lines_are_broken_where_there_is_no_number() -> None:
    """A number alone is a dot; without any there is no line."""
    chart = ElementTree.fromstring(line_chart({"a": {1: 1.0, 2: 2.0, 3: nan, 4: 3.0}, "b": {1: nan}}))
    assert [len(line) for line in places(chart)] == [2, 1]
    assert len(list(chart.iter("circle"))) == 1
    assert "b" not in [text.text for text in chart.iter("text")]


def test_names_of_lines_that_end_at_one_place_are_apart() -> None:
    """However many there are."""
    chart = ElementTree.fromstring(line_chart({f"line {number}": {0: 0.0, 1: 1.0} for number in range(9)}))
    heights = sorted(float(text.get("y", 0)) for text in chart.iter("text") if (text.text or "").startswith("line"))
    assert all(b - a >= LINE - 0.11 for a, b in pairwise(heights))
    assert heights[-1] <= HIGH


def test_a_long_course_has_some_places_for_the_mouse() -> None:
    """Evenly chosen; the line goes through every number."""
    chart = ElementTree.fromstring(line_chart({"a": {epoch: float(epoch) for epoch in range(1000)}}))
    assert len(list(chart.iter("title"))) == STRIPS
    assert len(places(chart)[0]) == 1000


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1.36, 2.94, [1, 1.5, 2, 2.5, 3]),
        (-3, 12, [-5, 0, 5, 10, 15]),
        (0, 61.8, [0, 20, 40, 60, 80]),
        (5, 5, [4.4, 4.6, 4.8, 5, 5.2, 5.4, 5.6]),
        (0, 0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_marks_are_round_and_enclose_the_numbers(low: float, high: float, expected: list[float]) -> None:
    """Also where all numbers are one."""
    assert ticks(low, high) == pytest.approx(expected)
