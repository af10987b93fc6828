"""The picture of all that was measured in a run: a panel per instrument and label kind, layers x epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stratoscope.callbacks.instruments.measures import MEASURES, SIMILARITY, Look, plain
from stratoscope.callbacks.pictures.heat_map import Cell, HeatMap
from stratoscope.callbacks.pictures.layer_panel import Panel, Probed
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.files.atomic import replacing

Row = dict[str, Any]
At = tuple[int, int]  # layer, epoch
CKA = "cka with "
DPI = 110
FONT, SMALL = 8.0, 6.5  # points
ACROSS = 4  # panels in a row
COLOURS = 128  # of the picture: a third of the bytes


def draw_measures(rows: Sequence[Row], table: ProbeTable, origin: Origin, file: Path) -> None:
    """Draw every instrument of a run by layer (from the input, at the bottom, upwards) and epoch, and write a PNG.

    Only what was measured has a panel. Panels of one measure, such as NC1 of true and of given labels, stand side by
    side and share their colours. CKA between layers is that of the last epoch. Numbers are printed where there is room;
    what could not be measured is crossed out.

    Args:
        rows: Of a `MeasureTable`.
        table: The probes of the same layers and epochs; at least one row.
        origin: What is known of the network.
        file: The picture, replaced as a whole.
    """
    import numpy as np  # heavy, as all of these
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    layers, epochs = table.unique("layer"), table.epochs
    rows = [row for row in rows if row["layer"] in layers and row["epoch"] in table.epochs]  # a table may be lost
    groups = [_probes(Probed(origin, table)), *_measured(rows, layers, epochs), *similarities(rows, layers, epochs)]
    places = _places([len(group) for group in groups])
    wide, high = min(3.2, max(2.0, 0.28 * len(epochs))), min(5.0, max(1.3, 0.22 * len(layers)))
    down, across = 1 + max(at[0] for at in places), 1 + max(at[1] for at in places)
    with rc_context({"font.size": FONT + 1, "axes.labelsize": FONT, "xtick.labelsize": FONT, "ytick.labelsize": FONT}):
        figure = Figure(figsize=(1.0 + across * (wide + 1.1), 0.3 + down * (high + 0.9)), layout="constrained", dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False)
        for axis in grid.flat:
            axis.set_visible(False)
        panels = [(panel, group) for group in groups for panel in group]
        for (panel, group), at in zip(panels, places, strict=True):
            axis = grid[at]
            axis.set_visible(True)
            panel.draw(axis, own_span(panel, group), _font(panel, wide, high), 5.0)
            axis.tick_params("y", labelleft=at[1] == 0)
        told = ", ".join(filter(None, origin.told(epochs[-1]).values()))
        figure.suptitle(told, x=0.01, ha="left", fontsize=FONT + 2, wrap=True)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        with replacing(file) as part:
            Image.fromarray(pixels).convert("RGB").quantize(COLOURS).save(part, format="png", optimize=True)


def _probes(probed: Probed) -> list[HeatMap]:
    return [
        Panel(probed, kind, split).heat_map(_heading("Linear probe accuracy", kind, split))
        for kind, split in probed.table.panels()
    ]


def _heading(name: str, kind: str, split: str) -> str:
    labels = f"{kind.replace('_', ' ')}s, " if kind else ""
    return f"{name}\n{labels}{split} set"


def _measured(rows: Sequence[Row], layers: list[str], epochs: list[int]) -> list[list[HeatMap]]:
    found: dict[str, dict[tuple[str, str], dict[At, Cell]]] = {}
    failed: dict[str, set[At]] = {}
    looks = {shown: (look, name) for name, measure in MEASURES.items() for shown, look in measure.shows.items()}
    high, wide = _places_of(layers), _places_of(epochs)
    for row in rows:
        at = high[row["layer"]], wide[row["epoch"]]
        measure = row["measure"]
        if measure.startswith(CKA):
            continue
        if isinstance(row["value"], str):
            failed.setdefault(measure, set()).add(at)
        else:
            shown = looks.get(measure, (Look(measure, ""), measure))[0].shown(row["value"])
            found.setdefault(measure, {}).setdefault((row["labels"], row["split"]), {})[at] = shown
    groups = []
    for measure in [*looks, *(name for name in found if name not in looks)]:
        look, of_all = looks.get(measure, (Look(measure, ""), measure))
        crossed: dict[At, Cell] = dict.fromkeys(failed.get(of_all, set()))
        group = [
            HeatMap(_heading(look.name, *of), look.unit, layers, epochs, {**crossed, **cells}, look.least, look.log)
            for of, cells in found.get(measure, {}).items()
        ]
        groups += [group] if group else []
    return groups


def similarities(rows: Sequence[Row], layers: list[str], epochs: list[int]) -> list[list[HeatMap]]:
    """Maps of CKA: with the first and the previous epoch, and between the layers at the last one.

    Args:
        rows: Of a `MeasureTable`; other measures are left out.
        layers: The rows of the maps, from the input on.
        epochs: Those that were measured.

    Returns:
        One group of maps; none if there is no similarity.
    """
    first: dict[At, Cell] = {}
    previous: dict[At, Cell] = {}
    between: dict[At, Cell] = {}
    split = ""
    high, wide = _places_of(layers), _places_of(epochs)
    for row in rows:
        if not row["measure"].startswith(CKA):
            continue
        split, other = row["split"], row["measure"].removeprefix(CKA)
        cell = None if isinstance(row["value"], str) else plain(row["value"])
        y, x = high[row["layer"]], wide[row["epoch"]]
        if other in high:
            if x == len(epochs) - 1:
                between[y, high[other]] = between[high[other], y] = cell
        else:
            first.setdefault((y, x), cell)
            if x and other == f"epoch {epochs[x - 1]}":
                previous[y, x] = cell
    if between:
        between |= {(y, y): plain(1.0) for y in range(len(layers))}
    maps = [
        HeatMap(f"Linear CKA with the {which} epoch\n{split} set", SIMILARITY, layers, epochs, cells, 0.01)
        for which, cells in {"first": first, "previous": previous}.items()
        if cells
    ]
    if between:
        heading = f"Linear CKA between layers\nepoch {epochs[-1]}, {split} set"
        maps.append(HeatMap(heading, SIMILARITY, layers, layers, between, 0.01))
    return [maps] if maps else []


def _places_of(names: Sequence[Any]) -> dict[Any, int]:
    return {name: at for at, name in enumerate(names)}


def own_span(panel: HeatMap, group: Sequence[HeatMap]) -> tuple[float, float]:
    """Ends of a colour bar: panels of one measure share them, those of similarities have their own.

    Args:
        panel: Whose colour bar it is.
        group: All panels of its measure.
    """
    if panel.unit == SIMILARITY:
        return min(*panel.numbers(), 0.99), 1.0
    known = [number for one in group for number in one.numbers()] or [0.1, 1.0]
    return min(known), max(known)


def _font(panel: HeatMap, wide: float, high: float) -> float | None:
    """Size of the numbers in a panel of so many inches; None if there is no room for them."""
    longest = max((len(cell[1]) for cell in panel.cells.values() if cell), default=1)
    across, down = SMALL * (0.62 * longest + 0.3) / 72, SMALL * 1.2 / 72
    return SMALL if across < wide / len(panel.columns) and down < high / len(panel.layers) else None


def _places(sizes: Sequence[int]) -> list[At]:
    """Row and column of every panel: groups follow each other, and none is divided that fits into a row."""
    places, x, y = [], 0, 0
    for size in sizes:
        if x + size > ACROSS and x:
            x, y = 0, y + 1
        for _ in range(size):
            if x == ACROSS:
                x, y = 0, y + 1
            places.append((y, x))
            x += 1
    return places
