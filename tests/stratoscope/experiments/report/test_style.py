"""Tests of stratoscope/experiments/report/style.py."""

from matplotlib.figure import Figure as Picture

from stratoscope.experiments.experiment import Figure
from stratoscope.experiments.report.style import finish, style, with_unit


def test_lines_differ_in_colour_and_mark() -> None:
    """Eight of them; what is asked for is otherwise."""
    assert len({(look["color"], look["marker"]) for look in map(style, range(8))}) == 8
    assert style(3, {"marker": ""})["marker"] == ""
    assert with_unit("loss", "nats") == "loss, nats"
    assert with_unit("norm", "") == "norm"


def test_a_line_without_a_name_is_not_called_missing() -> None:
    """Only where there is nothing it is said that there are no runs yet."""
    for drawn, said in ((True, []), (False, ["no runs yet"])):
        axis = Picture().subplots()
        if drawn:
            axis.plot([0, 1], [1, 2])
        finish(axis, Figure("density", "", "loss"))
        assert [text.get_text() for text in axis.texts] == said
        assert axis.get_yscale() == "log"
        assert axis.get_legend() is None
