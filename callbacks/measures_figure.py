"""The picture of all that was measured in a run: a panel per measure and label kind, layers x epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.atomic import replacing
from stratoscope.callbacks.heat_map import Cell, HeatMap, span
from stratoscope.callbacks.probe_table import ProbeTable
from stratoscope.callbacks.separability_figure import probe_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, Any]  # of a MeasureTable
Cells = dict[tuple[int, int], Cell]
Group = list[HeatMap]  # panels that stand side by side
CKA = "cka with "
ACROSS = (4, 3)  # panels side by side, the better one first where both leave as little empty
DPI = 110
FONT, NUMBER_FONT = 8.0, 6.5  # points
POINT = 1 / 72  # inch
HEAD, FOOT, BAR, GAP = 0.45, 0.45, 0.1, 0.85  # inches above and below a panel; its colour bar and what is right of it


def draw_measures(rows: Sequence[Row], table: ProbeTable, file: Path) -> None:
    """Draw every instrument of a run by layer (from the input, at the bottom, upwards) and epoch, and write a PNG.

    Only what was measured has a panel. Those of one measure, such as NC1 of true and of given labels, stand side by
    side and have the same colours. CKA between layers is that of the last epoch. Numbers are printed where there is
    room; what could not be measured is crossed out, what was not stays white.

    Args:
        rows: Of a `MeasureTable`.
        table: The probes of the same layers and epochs; at least one row.
        file: The picture, replaced as a whole.
    """
    from matplotlib import rc_context  # heavy
    from PIL import Image

    layers, epochs = table.unique("layer"), table.unique("epoch")
    groups = [_probes(table), *_measured(rows, layers, epochs), _similarity(rows, layers, epochs)]
    with rc_context({"font.size": FONT, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6}):
        figure = _figure([group for group in groups if group])
        figure.canvas.draw()
    pixels = Image.fromarray(figure.canvas.buffer_rgba()).convert("RGB")
    with replacing(file) as part:  # 256 colours, of which none is far from the true one: a third of the size
        pixels.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(part, "png", optimize=True)
