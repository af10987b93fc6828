"""The picture of a run's probes: layers x epochs, one panel per label kind."""

from pathlib import Path
from typing import TYPE_CHECKING

from stratoscope.callbacks.atomic import replacing
from stratoscope.callbacks.probe_table import ProbeTable, evenly, shared_prefix, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCH_PER_LAYER, INCH_PER_EPOCH = 0.34, 0.52
WIDEST = 12.0  # inches per panel


def draw_separability(table: ProbeTable, file: Path) -> None:
    """Draw accuracy by layer (from the input, at the bottom, upwards) and epoch, and write a PNG.

    Colours (cividis) keep their order for every kind of colour vision; numbers are printed where there is room. A
    failed probe is crossed out, one that is not converged has a ~.

    Args:
        table: The probes so far; at least one row.
        file: The picture, replaced as a whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure

    panels = table.panels()
    layers, epochs = table.unique("layer"), table.unique("epoch")
    wide = min(WIDEST, 2.4 + INCH_PER_EPOCH * len(epochs))
    figure = Figure(figsize=(max(6.0, wide), len(panels) * (1.3 + INCH_PER_LAYER * len(layers))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (kind, split) in zip(axes, panels, strict=True):
        _panel(axis, table, kind, split, numbers=wide < WIDEST)
    with replacing(file) as part:
        figure.savefig(part, format="png", dpi=150)


def _panel(axis: "Axes", table: ProbeTable, kind: str, split: str, numbers: bool) -> None:
    import numpy as np

    layers, epochs = table.unique("layer"), table.unique("epoch")
    cells = table.cells(kind, split)
    percent = np.full((len(layers), len(epochs)), np.nan)
    for (layer, epoch), cell in cells.items():
        at = layers.index(layer), epochs.index(epoch)
        if cell["accuracy"] is None:
            axis.plot(at[1], at[0], marker="x", color="black")
            continue
        percent[at] = 100 * cell["accuracy"]
    finite = percent[np.isfinite(percent)]
    low, high = (finite.min(), max(finite.max(), finite.min() + 1)) if finite.size else (0.0, 100.0)
    image = axis.imshow(percent, origin="lower", aspect="auto", cmap="cividis", vmin=low, vmax=high)
    axis.figure.colorbar(image, ax=axis, label="accuracy, %")
    if numbers:
        for (layer, epoch), cell in cells.items():
            if cell["accuracy"] is not None:
                y, x = layers.index(layer), epochs.index(epoch)
                dark = percent[y, x] < (low + high) / 2
                text = f"{percent[y, x]:.0f}" + ("" if cell["converged"] else "~")
                axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    prefix = shared_prefix(layers)
    axis.set_yticks(range(len(layers)), [layer.removeprefix(prefix) for layer in layers])
    shown = evenly(list(range(len(epochs))), 24)
    axis.set_xticks(shown, [str(epochs[at]) for at in shown])
    axis.set_xlabel("epochs of training")
    axis.set_title(title(kind, split), loc="left", fontsize=10)
