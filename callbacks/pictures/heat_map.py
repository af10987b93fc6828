"""One panel of a picture: a number of every layer, from the input at the bottom upwards, by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stratoscope.callbacks.pictures.probe_table import evenly, shared_prefix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.image import AxesImage

Cell = tuple[float, str] | None  # a number as it is coloured and as it is printed; None if there is none, for it failed
MINUS = "\N{MINUS SIGN}"
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"  # in order, and apart, for every kind of colour vision


@dataclass(frozen=True)
class HeatMap:
    """What a panel shows.

    Attributes:
        heading: Its title.
        unit: Of its numbers, beside the colour bar.
        layers: Names of its rows, from the bottom upwards.
        columns: Numbers of epochs, of which 0 is marked as the untrained network, or other names, such as the layers'.
        cells: By row and column; what is not there stays white.
        least: The colour bar spans so much at least: what differs by less is noise.
        log: Whether colours follow the logarithm of the numbers.
        difference: Whether the numbers are differences: their colours go apart from a white 0.
        hints: More of what there is to say of a cell, by row and column, where a picture can show it (`svg`).
        chance: The number that guessing gives, likewise.
    """

    heading: str
    unit: str
    layers: Sequence[str]
    columns: Sequence[int] | Sequence[str]
    cells: Mapping[tuple[int, int], Cell]
    least: float = 0.0
    log: bool = False
    difference: bool = False
    hints: Mapping[tuple[int, int], str] = field(default_factory=dict)
    chance: float | None = None

    def numbers(self) -> list[float]:
        """The numbers that have a colour: all, or those above 0 if colours are logarithmic."""
        return [cell[0] for cell in self.cells.values() if cell and (cell[0] > 0 or not self.log)]

    def colours(self, span: tuple[float, float]) -> "tuple[Colormap, Normalize]":
        """The colours, and the place of a number among them.

        Args:
            span: Numbers at the ends of the colour bar; those beyond have the colour of the end. Around 0, the larger
                one counts.
        """
        from matplotlib import colormaps
        from matplotlib.colors import LogNorm, Normalize

        if self.difference:
            far = max(abs(span[0]), abs(span[1]), self.least) or 1.0
            return colormaps[DIVERGING], Normalize(-far, far, clip=True)
        high = max(span[1], 1.1 * span[0] if self.log else span[0] + self.least)
        return colormaps[SEQUENTIAL], (LogNorm if self.log else Normalize)(span[0], high, clip=True)

    def draw(
        self,
        axis: "Axes",
        span: tuple[float, float],
        font: float | None = 8.0,
        cross: float = 6.0,
        names: tuple[int, int] = (1000, 24),
        bar: bool = True,
    ) -> "AxesImage":
        """Draw colours, numbers, and a cross where one failed; without numbers, differences below 0 are hatched.

        Args:
            axis: Where to draw.
            span: Numbers at the ends of the colour bar; see `colours`.
            font: Size of the numbers, in points; None prints none.
            cross: Size of the crosses, in points.
            names: Most rows and most columns that are named; if there are more, some are, evenly chosen.
            bar: Whether this panel has a colour bar of its own.

        Returns:
            What a colour bar can be drawn of.
        """
        import numpy as np
        from matplotlib.collections import PolyCollection

        shades = np.full((len(self.layers), len(self.columns)), np.nan)
        for at, cell in self.cells.items():
            if cell is None:
                axis.plot(at[1], at[0], marker="x", markersize=cross, color="black")
            else:
                shades[at] = cell[0]
        colours, norm = self.colours(span)
        image = axis.imshow(shades, origin="lower", aspect="auto", cmap=colours, norm=norm)
        if bar:
            self.draw_bar(image, [axis])
        for (y, x), cell in self.cells.items():
            if cell is not None and font is not None:
                colour = ink(colours(norm(cell[0])))
                axis.text(x, y, cell[1], ha="center", va="center", fontsize=font, color=colour)
        if self.difference and font is None:  # in grey, both sides of 0 look alike
            below = np.argwhere(shades < 0)[:, None, ::-1] + [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]
            axis.add_collection(
                PolyCollection([*below], facecolor="none", edgecolor="0.3", linewidth=0, hatch="////"), autolim=False
            )
        self._name(axis, *names)
        axis.set_title(self.heading, loc="left", fontsize="medium")
        return image

    def draw_bar(self, image: "AxesImage", axes: "Sequence[Axes]", slender: float = 20.0) -> None:
        """Draw a colour bar.

        Args:
            image: Of one of the panels that share it.
            axes: Of all of them.
            slender: Its height over its width.
        """
        bar = axes[0].figure.colorbar(image, ax=list(axes), label=self.unit, aspect=slender)
        if self.log:
            _plain_ticks(bar.ax, *image.get_clim())

    def _name(self, axis: "Axes", rows: int, columns: int) -> None:
        prefix = shared_prefix(list(self.layers))
        shown = evenly(list(range(len(self.layers))), rows)
        axis.set_yticks(shown, [self.layers[at].removeprefix(prefix) for at in shown])
        shown = evenly(list(range(len(self.columns))), columns)
        names = [str(self.columns[at]).removeprefix(prefix) for at in shown]
        if self.columns == self.layers:
            axis.tick_params("x", rotation=90)
        elif isinstance(self.columns[0], int):
            axis.set_xlabel("epochs of training")
            if self.columns[0] == 0:
                names[0] += "\nuntrained"
                axis.axvline(0.5, color="white", linewidth=3)
        axis.set_xticks(shown, names)


def ink(colour: Sequence[float]) -> str:
    """White on dark colours, black on light ones.

    Args:
        colour: Red, green and blue, in [0, 1].
    """
    return "white" if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5 else "black"


def _plain_ticks(axis: "Axes", low: float, high: float) -> None:
    """Label a logarithmic colour bar with numbers such as 0.5, 1, 2 instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    wide = LogLocator(subs=(1.0,) if high > 300 * low else (1.0, 2.0, 5.0))
    axis.yaxis.set_major_locator(wide if high > 10 * low else MaxNLocator(5))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
