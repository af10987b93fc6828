"""One panel of a picture: a number of every layer, from the input at the bottom upwards, by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratoscope.callbacks.pictures.probe_table import evenly, shared_prefix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cell = tuple[float, str] | None  # a number as it is coloured and as it is printed; None if there is none, for it failed


@dataclass(frozen=True)
class HeatMap:
    """What a panel shows.

    Attributes:
        heading: Its title.
        unit: Of its numbers, beside the colour bar.
        layers: Names of its rows, from the bottom upwards.
        columns: Numbers of epochs, or again names of layers.
        cells: By row and column; what is not there stays white.
        least: The colour bar spans so much at least: what differs by less is noise.
        log: Whether colours follow the logarithm of the numbers.
    """

    heading: str
    unit: str
    layers: Sequence[str]
    columns: Sequence[int] | Sequence[str]
    cells: Mapping[tuple[int, int], Cell]
    least: float = 0.0
    log: bool = False

    def numbers(self) -> list[float]:
        """The numbers that have a colour: all, or those above 0 if colours are logarithmic."""
        return [cell[0] for cell in self.cells.values() if cell and (cell[0] > 0 or not self.log)]

    def draw(
        self,
        axis: "Axes",
        span: tuple[float, float],
        font: float | None = 8.0,
        cross: float = 6.0,
        names: tuple[int, int] = (1000, 24),
    ) -> None:
        """Draw colours (cividis: in order for every kind of colour vision), numbers, and a cross where one failed.

        Args:
            axis: Where to draw.
            span: Numbers at the ends of the colour bar; those beyond have the colour of the end.
            font: Size of the numbers, in points; None prints none.
            cross: Size of the crosses, in points.
            names: Most rows and most columns that are named; if there are more, some are, evenly chosen.
        """
        import numpy as np
        from matplotlib.colors import LogNorm, Normalize

        shades = np.full((len(self.layers), len(self.columns)), np.nan)
        for at, cell in self.cells.items():
            if cell is None:
                axis.plot(at[1], at[0], marker="x", markersize=cross, color="black")
            else:
                shades[at] = cell[0]
        low, high = span[0], max(span[1], 1.1 * span[0] if self.log else span[0] + self.least)
        norm = (LogNorm if self.log else Normalize)(low, high, clip=True)
        image = axis.imshow(shades, origin="lower", aspect="auto", cmap="cividis", norm=norm)
        bar = axis.figure.colorbar(image, ax=axis, label=self.unit)
        if self.log:
            _plain_ticks(bar.ax, low, high)
        for (y, x), cell in self.cells.items():
            if cell is not None and font is not None:
                colour = "white" if norm(cell[0]) < 0.5 else "black"
                axis.text(x, y, cell[1], ha="center", va="center", fontsize=font, color=colour)
        self._name(axis, *names)
        axis.set_title(self.heading, loc="left", fontsize="medium")

    def _name(self, axis: "Axes", rows: int, columns: int) -> None:
        prefix = shared_prefix(list(self.layers))
        shown = evenly(list(range(len(self.layers))), rows)
        axis.set_yticks(shown, [self.layers[at].removeprefix(prefix) for at in shown])
        shown = evenly(list(range(len(self.columns))), columns)
        axis.set_xticks(shown, [str(self.columns[at]).removeprefix(prefix) for at in shown])
        if self.columns == self.layers:
            axis.tick_params("x", rotation=90)
        else:
            axis.set_xlabel("epochs of training")


def _plain_ticks(axis: "Axes", low: float, high: float) -> None:
    """Label a logarithmic colour bar with numbers such as 0.5, 1, 2 instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    wide = LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0))
    axis.yaxis.set_major_locator(wide if high > 10 * low else MaxNLocator(5))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
