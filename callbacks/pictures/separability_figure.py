"""The picture of a run's probes: layers x epochs, one panel per label kind."""

from pathlib import Path

from stratoscope.callbacks.pictures.heat_map import Cell, HeatMap
from stratoscope.callbacks.pictures.probe_table import ProbeTable, title
from stratoscope.files.atomic import replacing

INCH_PER_LAYER, INCH_PER_EPOCH = 0.34, 0.52
WIDEST, TALLEST = 12.0, 13.0  # inches per panel
NAMED = 36  # most layers that are named


def draw_separability(table: ProbeTable, file: Path) -> None:
    """Draw accuracy by layer (from the input, at the bottom, upwards) and epoch, and write a PNG.

    Numbers are printed where there is room. A failed probe is crossed out, one that is not converged has a ~.

    Args:
        table: The probes so far; at least one row.
        file: The picture, replaced as a whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure

    panels = table.panels()
    layers, epochs = table.unique("layer"), table.epochs
    wide = min(WIDEST, 2.4 + INCH_PER_EPOCH * len(epochs))
    tall = min(TALLEST, 1.3 + INCH_PER_LAYER * len(layers))
    figure = Figure(figsize=(max(6.0, wide), len(panels) * tall), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (kind, split) in zip(axes, panels, strict=True):
        panel = probe_panel(table, kind, split, title(kind, split))
        known = panel.numbers() or [0.0, 100.0]
        room = wide < WIDEST and tall < TALLEST
        panel.draw(axis, (min(known), max(known)), font=8.0 if room else None, names=(NAMED, 24))
    with replacing(file) as part:
        figure.savefig(part, format="png", dpi=150)


def probe_panel(table: ProbeTable, kind: str, split: str, heading: str) -> HeatMap:
    """Accuracy of the probes of one label kind, scored on one set.

    Args:
        table: The probes so far.
        kind: Label kind.
        split: Name of the set.
        heading: Title of the panel.
    """
    layers, epochs = table.unique("layer"), table.epochs
    high = {layer: at for at, layer in enumerate(layers)}
    wide = {epoch: at for at, epoch in enumerate(epochs)}
    cells: dict[tuple[int, int], Cell] = {}
    for (layer, epoch), cell in table.cells(kind, split).items():
        at = high[layer], wide[epoch]
        percent = None if cell["accuracy"] is None else 100 * cell["accuracy"]
        cells[at] = None if percent is None else (percent, f"{percent:.0f}" + ("" if cell["converged"] else "~"))
    return HeatMap(heading, "accuracy, %", layers, epochs, cells, least=1.0)
