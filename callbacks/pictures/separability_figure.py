"""The picture of probes: layers x epochs as heat maps, or accuracy over the layers as profiles."""

import math
import textwrap
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stratoscope.callbacks.pictures.heat_map import HeatMap
from stratoscope.callbacks.pictures.heat_map_svg import svg
from stratoscope.callbacks.pictures.layer_panel import Panel, Probed, headings, panels
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import UNKNOWN, ProbeTable, evenly, shared_prefix
from stratoscope.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCH_PER_LAYER, INCH_PER_EPOCH = 0.34, 0.4
WIDEST, TALLEST = 13.0, 13.0  # inches of a row of panels, and of a panel
FONT = 9.0  # points of the numbers
NAMED = 36  # most layers that are named
# Okabe and Ito's colours, told apart by every kind of colour vision, but for the yellow, which is too light for lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
MARKERS = "os^Dv<>P"

Kind = Literal["heat map", "profile"]


def layers_figure(shown: Sequence[Panel], kind: Kind = "heat map", axis: "Axes | None" = None) -> "Figure":
    """Draw panels.

    Args:
        shown: See `panels`; at least one.
        kind: Heat maps, which share their colours, or a profile: values over the layers, untrained and after the last
            epoch, with 95 % intervals of accuracies.
        axis: Where to draw a profile or one heat map; None makes a figure.

    Raises:
        ValueError: If there are several heat maps for one axis, or there is no such kind.
    """
    if kind not in {"heat map", "profile"}:
        raise ValueError(f"kind must be 'heat map' or 'profile', got {kind!r}")
    common, titles = headings(shown)
    if kind == "heat map":
        if axis is not None and len(shown) > 1:
            listed = "; ".join(titles)
            raise ValueError(
                f"one axis has room for one heat map, got {len(shown)}: choose labels, or one run ({listed})"
            )
        return _heat_maps(shown, common, titles, axis)
    return _profile(shown, common, titles, axis)


def _heat_maps(shown: Sequence[Panel], common: str, titles: Sequence[str], axis: "Axes | None") -> "Figure":
    maps = [panel.heat_map(title) for panel, title in zip(shown, titles, strict=True)]
    columns, layers = max(len(one.columns) for one in maps), max(len(one.layers) for one in maps)
    wide, tall = 0.9 + INCH_PER_EPOCH * columns, min(TALLEST, 1.0 + INCH_PER_LAYER * layers)
    room = wide < WIDEST and tall < TALLEST
    if axis is not None:
        maps[0].draw(axis, shared_span(maps), names=(NAMED, 24), font=FONT if room else None)
        axis.set_title(_wrapped(f"{common}\n{titles[0]}", 60), loc="left", fontsize="medium")
        return axis.figure  # type: ignore[return-value]  # whatever it is in
    longest = max(4.0, 0.075 * max(map(len, titles)))  # inches
    across = max(1, min(len(maps), int((WIDEST - 1.2) / max(wide, longest))))
    down = math.ceil(len(maps) / across)
    figure = _figure(min(WIDEST, 1.2 + across * max(wide, longest)), down * tall + 0.6)
    grid = figure.subplots(down, across, squeeze=False)
    for place in range(len(maps), grid.size):
        grid.flat[place].set_visible(False)
    images = []
    for place, one in enumerate(maps):
        drawn = one.draw(grid.flat[place], shared_span(maps), names=(NAMED, 24), font=FONT if room else None, bar=False)
        images.append(drawn)
        same = place % across and one.layers == maps[place - 1].layers
        grid.flat[place].tick_params("y", labelleft=not same)
    maps[0].draw_bar(images[-1], list(grid.flat)[: len(maps)], slender=max(20.0, 5 * figure.get_figheight()))
    figure.suptitle(_wrapped(common, 13 * figure.get_figwidth()), x=0.01, ha="left", fontsize="large")
    return figure


def _profile(shown: Sequence[Panel], common: str, titles: Sequence[str], axis: "Axes | None") -> "Figure":
    layers = list(dict.fromkeys(layer for panel in shown for layer in panel.probed.table.unique("layer")))
    if axis is None:
        figure = _figure(min(WIDEST, max(6.4, 2.5 + 0.3 * len(layers))), 4.4)
        axis = figure.subplots()
    for number, (panel, title) in enumerate(zip(shown, titles, strict=True)):
        cells = panel.cells()
        ends = [panel.epochs[0], panel.epochs[-1]] if panel.show == "value" else panel.epochs[-1:]
        for epoch in dict.fromkeys(ends):
            rows = [(at, cells.get((layer, epoch), {})) for at, layer in enumerate(layers)]
            rows = [(at, row) for at, row in rows if row.get("shown") is not None]
            if not rows:
                continue
            first = epoch == 0
            style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            style |= {"linestyle": ":", "markerfacecolor": "white"} if first else {"linestyle": "-"}
            when = "untrained" if first else "" if epoch == UNKNOWN else f"epoch {epoch}"
            values = [row["shown"] for _, row in rows]
            label = ", ".join(filter(None, (title, when)))
            axis.errorbar(
                [at for at, _ in rows], values, yerr=_bars(rows), label=label, capsize=2, markersize=4, **style
            )
    if shown[0].show == "difference":
        axis.axhline(0, color="0.4", linewidth=0.8)
    elif shown[0].value == "accuracy":
        for chance in dict.fromkeys(filter(None, (panel.probed.origin.chance for panel in shown))):
            axis.axhline(100 * chance, color="0.4", linestyle="--", linewidth=0.8, label="chance")
    if shown[0].look.log and shown[0].show == "value":
        axis.set_yscale("log")
    prefix = shared_prefix(layers)
    places = evenly(list(range(len(layers))), NAMED)
    axis.set_xticks(places, [layers[at].removeprefix(prefix) for at in places], rotation=45, ha="right")
    axis.set_ylabel(shown[0].unit)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if axis.containers:  # or all probes have failed
        axis.legend(fontsize="small", frameon=False)
    axis.set_title(_wrapped(common, 13 * axis.figure.get_figwidth()), loc="left", fontsize="medium")  # type: ignore[union-attr]
    return axis.figure  # type: ignore[return-value]


def _bars(rows: Sequence[tuple[int, dict[str, Any]]]) -> list[list[float]] | None:
    """How far intervals reach below and above; None where there are none."""
    if any(row["from"] is None for _, row in rows):
        return None
    return [[row["shown"] - row["from"] for _, row in rows], [row["to"] - row["shown"] for _, row in rows]]


def _figure(wide: float, tall: float) -> "Figure":
    """A figure that no window knows, and that shows itself in a notebook."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure

    figure = Figure(figsize=(wide, tall), layout="constrained")
    FigureCanvasAgg(figure)
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]  # else only where pyplot is imported
    return figure


def _png(figure: "Figure") -> bytes:
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def shared_span(maps: Sequence[HeatMap]) -> tuple[float, float]:
    """The smallest and the largest number: panels beside each other have the same colours."""
    known = [number for one in maps for number in one.numbers()] or [0.0, 100.0]
    return min(known), max(known)


def _wrapped(text: str, letters: float) -> str:
    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, int(letters)))


def layers_svg(shown: Sequence[Panel]) -> str:
    """Heat maps as SVG, with values, intervals and gaps in the title of every cell.

    Args:
        shown: See `panels`; at least one.
    """
    common, titles = headings(shown)
    maps = [panel.heat_map(title) for panel, title in zip(shown, titles, strict=True)]
    return svg(common, maps, shared_span(maps))


def draw_separability(table: ProbeTable, origin: Origin, file: Path) -> None:
    """Draw accuracy by layer (from the input, at the bottom, upwards) and epoch, as PNG and, beside it, as SVG.

    Numbers are printed where there is room. A failed probe is crossed out, one that is not converged has a ~.

    Args:
        table: The probes so far; at least one row.
        origin: What is known of the network.
        file: The PNG, replaced as a whole, as is the SVG.
    """
    shown = panels([Probed(origin, table)])
    figure = layers_figure(shown)
    with replacing(file) as part:
        figure.savefig(part, format="png", dpi=150)
    with replacing(file.with_suffix(".svg")) as part:
        part.write_text(layers_svg(shown), encoding="utf-8")
