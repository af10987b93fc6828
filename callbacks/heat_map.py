"""One panel of a picture: a number of every layer, from the input at the bottom upwards, by epoch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratoscope.callbacks.probe_table import evenly, shared_prefix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = tuple[float, str] | None  # a number as it is coloured and as it is printed; None where it failed
NAMED_EPOCHS = 24
LEAST_RATIO = 1.1  # of the ends of a logarithmic colour bar


def span(cells: Iterable[Cell], least: float, log: bool = False) -> tuple[float, float]:
    """Ends of a colour bar: the smallest and the largest number, but so far apart at least that noise stays pale.

    Args:
        cells: What the colours are for.
        least: Smallest distance of the ends, if not logarithmic.
        log: Whether colours follow the logarithm; numbers that have none do not count.
    """
    known = [cell[0] for cell in cells if cell and (cell[0] > 0 or not log)]
    if not known:
        return (1.0, 100.0) if log else (0.0, 100.0)
    low, high = min(known), max(known)
    return low, max(high, LEAST_RATIO * low if log else low + least)


@dataclass(frozen=True)
class HeatMap:
    """What a panel shows.

    Attributes:
        heading: Its title.
        unit: Of its numbers, beside the colour bar.
        layers: Names of its rows, from the bottom upwards.
        columns: Numbers of epochs, or the layers again.
        cells: By row and column; what is not there stays white.
        span: Numbers at the ends of the colour bar; those beyond have the colour of the end.
        log: Whether colours follow the logarithm of the numbers.
    """

    heading: str
    unit: str
    layers: Sequence[str]
    columns: Sequence[int] | Sequence[str]
    cells: Mapping[tuple[int, int], Cell]
    span: tuple[float, float]
    log: bool = False

    def draw(self, axis: "Axes", bar: "Axes | None" = None, font: float | None = 8.0, cross: float = 6.0) -> None:
        """Draw colours (cividis: in order for every kind of colour vision), numbers, and a cross where one failed.

        Args:
            axis: Where to draw.
            bar: Where to draw the colour bar; None takes some of the axis.
            font: Size of the numbers, in points; None prints none.
            cross: Size of the crosses, in points.
        """
        import numpy as np
        from matplotlib.colors import LogNorm, Normalize

        numbers = np.full((len(self.layers), len(self.columns)), np.nan)
        for at, cell in self.cells.items():
            if cell is not None:
                numbers[at] = cell[0]
        crossed = [at for at, cell in self.cells.items() if cell is None]
        axis.plot([x for _, x in crossed], [y for y, _ in crossed], "kx", markersize=cross)
        shade = (LogNorm if self.log else Normalize)(*self.span, clip=True)
        image = axis.imshow(numbers, origin="lower", aspect="auto", cmap="cividis", norm=shade)
        axis.figure.colorbar(image, ax=axis, cax=bar, label=self.unit)
        for (y, x), cell in self.cells.items():
            if cell is not None and font is not None:
                colour = "white" if shade(cell[0]) < 0.5 else "black"
                axis.text(x, y, cell[1], ha="center", va="center", fontsize=font, color=colour)
        self.name(axis, len(self.layers), NAMED_EPOCHS)
        axis.set_title(self.heading, loc="left", fontsize="medium")

    def name(self, axis: "Axes", rows: int, columns: int) -> None:
        """Name the rows and columns, or as many of them as there is room for, evenly chosen."""
        prefix = shared_prefix(list(self.layers))
        shown = evenly(list(range(len(self.layers))), rows)
        axis.set_yticks(shown, [self.layers[at].removeprefix(prefix) for at in shown])
        shown = evenly(list(range(len(self.columns))), columns)
        axis.set_xticks(shown, [str(self.columns[at]).removeprefix(prefix) for at in shown])
        if self.columns != self.layers:
            axis.set_xlabel("epochs of training")
