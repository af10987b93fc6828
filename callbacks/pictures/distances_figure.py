"""The picture of how far weights have come: the whole network over epochs, and the norm of every layer."""

from collections.abc import Sequence
from pathlib import Path

from stratoscope.callbacks.pictures.heat_map import Cell, HeatMap
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.separability_figure import COLOURS, MARKERS
from stratoscope.files.atomic import replacing
from stratoscope.files.table import Row
from stratoscope.probes.landscape.distances import WHOLE

TALLEST = 12.0  # inches


def draw_distances(rows: Sequence[Row], origin: Origin, file: Path) -> None:
    """Draw norms and distances, and write a PNG.

    Args:
        rows: Of a table of distances; at least one.
        origin: What is known of the network.
        file: The picture, replaced as a whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in rows if isinstance(row["value"], float)]  # without what failed
    epochs = list(dict.fromkeys(row["epoch"] for row in rows))
    layers = list(dict.fromkeys(row["layer"] for row in rows if row["layer"] != WHOLE))
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    high = min(TALLEST, max(3.6, 1.2 + 0.3 * len(layers)))
    figure = Figure(figsize=(5.0 + min(8.0, max(4.0, 2.5 + 0.4 * len(epochs))), high), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    whole, by_layer = figure.subplots(1, 2, width_ratios=(4.5, figure.get_figwidth() - 4.5))
    for number, measure in enumerate(measures):
        mine = [(row["epoch"], row["value"]) for row in rows if (row["layer"], row["measure"]) == (WHOLE, measure)]
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
        whole.plot(*zip(*mine, strict=True), label=measure.replace("_", " "), **style)
    whole.xaxis.set_major_locator(MaxNLocator(integer=True))
    whole.set_xlabel("epochs")
    whole.set_title("all weights", fontsize=9)
    whole.set_ylim(bottom=0)
    whole.grid(alpha=0.25)
    whole.spines[["top", "right"]].set_visible(False)
    whole.legend(fontsize=8, frameon=False)
    cells: dict[tuple[int, int], Cell] = {
        (layers.index(row["layer"]), epochs.index(row["epoch"])): (row["value"], f"{row['value']:.3g}")
        for row in rows
        if row["measure"] == "norm" and row["layer"] != WHOLE
    }
    shown = HeatMap("norm of the weights of every layer", "Euclidean norm", layers, epochs, cells)
    numbers = shown.numbers() or [0.0]
    room = high < TALLEST and len(epochs) <= 16
    shown.draw(by_layer, (min(numbers), max(numbers)), font=7.0 if room else None, names=(36, 24))
    told = ", ".join(filter(None, origin.told(epochs[-1]).values()))
    figure.suptitle(told, x=0.01, ha="left", fontsize=9, wrap=True)
    with replacing(file) as part:
        figure.savefig(part, format="png")
