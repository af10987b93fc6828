"""What the figures of reports have in common."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.pictures.separability_figure import COLOURS, MARKERS
from stratoscope.experiments.experiment import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def style(number: int, others: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """How a line looks.

    Args:
        number: Which of the lines it is.
        others: What is to be otherwise.
    """
    usual = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
    return {**usual, **others}


def finish(axis: "Axes", figure: Figure) -> None:
    """Give a figure its grid, its scale and its legend.

    Args:
        axis: Where it is drawn.
        figure: What it shows.
    """
    if figure.log or figure.kind == "density":
        axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if axis.get_legend_handles_labels()[1]:  # not where there is one line, which needs no name
        axis.legend(fontsize="small", frameon=False, title=figure.lines)
    elif not axis.has_data():
        axis.text(0.5, 0.5, "no runs yet", ha="center", transform=axis.transAxes)


def with_unit(name: str, unit: str) -> str:
    """A quantity's name on an ordinate.

    Args:
        name: The name.
        unit: Its unit; there may be none.
    """
    return f"{name}, {unit}" if unit else name
