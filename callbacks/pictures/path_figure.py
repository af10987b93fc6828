"""The picture of a path or plane between solutions: loss and accuracy of every set, side by side."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.pictures.contours import contours, levels_of
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.separability_figure import COLOURS
from stratoscope.files.atomic import replacing
from stratoscope.files.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORNERS = {
    "triangle": [(0, 0), (1, 0), (0, 1)],
    "quadrilateral": [(0, 0), (1, 0), (1, 1), (0, 1)],
    "plane": [(0, 0)],
}
FAR = 10.0  # times the largest loss between the ends: beyond that the ordinate is logarithmic
DASHES = ("-", "--", ":", "-.")


def draw_path(rows: Sequence[Row], origin: Origin, names: Sequence[str], file: Path) -> None:
    """Draw what `LossPath` has found, and write a PNG.

    Of a path, loss and accuracy over alpha: a colour for each label kind, a line style for each set, with 95 %
    intervals of sets that are samples; the loss on a logarithmic scale where it is far larger beyond the ends. Of
    a plane, contours of the loss, a panel for each label kind and set, with common levels.

    Args:
        rows: Of its table, at one epoch; at least one with a loss.
        origin: What is known of the network.
        names: Of the ends, in order.
        file: The picture, replaced as a whole.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy
    from matplotlib.figure import Figure

    found = [row for row in rows if row["loss"] is not None and isfinite(row["loss"])]
    kind, flat = str(found[0]["path"]), found[0]["beta"] is not None
    cells = _apart(found)
    figure = Figure(figsize=(3.6 * len(cells) + 0.8, 3.9) if flat else (9.0, 3.8), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    if flat:
        _maps(figure, found, cells, kind, names)
    else:
        _lines(figure, found, cells, names)
    of = "Plane around" if kind == "plane" else f"{kind.capitalize()}{'' if flat else ' path'} between"
    told = ", ".join(filter(None, origin.told(int(found[0]["epoch"])).values()))
    figure.suptitle(f"{of} {' and '.join(names)}\n{told}", x=0.01, ha="left", fontsize=9, wrap=True)
    with replacing(file) as part:
        figure.savefig(part, format="png")


def _apart(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """The label kinds and sets that differ, as (kind, set), and what to call them."""
    values: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        values.setdefault((row["split"], row["labels"]), []).append(row["loss"])
    found: dict[tuple[str, str], str] = {}
    for (split, labels), losses in values.items():
        if losses not in [other for (of, kind), other in values.items() if of == split and (kind, of) in found]:
            alone = all(other == losses for (of, _), other in values.items() if of == split)
            found[labels, split] = f"{split} set" if alone else f"{split} set, {labels.replace('_', ' ')}s"
    return found


def _lines(figure: "Figure", rows: Sequence[Row], cells: dict[tuple[str, str], str], names: Sequence[str]) -> None:
    loss, accuracy = figure.subplots(1, 2)
    kinds, splits = (list(dict.fromkeys(cell[place] for cell in cells)) for place in (0, 1))
    for (labels, split), told in cells.items():
        mine = sorted((row for row in rows if (row["labels"], row["split"]) == (labels, split)), key=_alpha)
        x = [row["alpha"] for row in mine]
        style: dict[str, Any] = {
            "color": COLOURS[kinds.index(labels) % len(COLOURS)],
            "linestyle": DASHES[splits.index(split) % len(DASHES)],
        }
        loss.plot(x, [row["loss"] for row in mine], label=told, **style)
        accuracy.plot(x, [100 * row["accuracy"] for row in mine], label=told, **style)
        if split != "train":
            half = [1.96 * (row["loss_error"] or 0.0) for row in mine]
            values = [row["loss"] for row in mine]
            low, high = zip(*((v - h, v + h) for v, h in zip(values, half, strict=True)), strict=True)
            loss.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
            ends = [[100 * row[end] for row in mine] for end in ("low", "high")]
            accuracy.fill_between(x, *ends, color=style["color"], alpha=0.15, linewidth=0)
    for axis, unit in ((loss, "loss, nats"), (accuracy, "accuracy, %")):
        axis.set_xlabel("alpha")
        axis.set_ylabel(unit)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        for place, name in enumerate(names):
            axis.axvline(place, color="0.6", linewidth=0.8, zorder=0)
            axis.annotate(name, (place, 1.0), xycoords=("data", "axes fraction"), fontsize=7, ha="center", va="bottom")
    inside = [row["loss"] for row in rows if 0 <= row["alpha"] <= 1]
    if max(row["loss"] for row in rows) > FAR * max(inside, default=0.0) > 0:  # or what is between them would be flat
        loss.set_yscale("log")
    else:
        loss.set_ylim(bottom=0)
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def _maps(
    figure: "Figure", rows: Sequence[Row], cells: dict[tuple[str, str], str], kind: str, names: Sequence[str]
) -> None:
    levels, norm = levels_of([row["loss"] for row in rows], log=True)
    axes: list[Axes] = list(figure.subplots(1, len(cells), squeeze=False)[0])
    drawn = []
    for axis, ((labels, split), told) in zip(axes, cells.items(), strict=True):
        mine = [row for row in rows if (row["labels"], row["split"]) == (labels, split)]
        points = [(row["alpha"], row["beta"], row["loss"]) for row in mine]
        drawn.append(contours(axis, points, levels, norm, dict(zip(names, CORNERS[kind], strict=True))))
        axis.set_title(told, fontsize=8)
        axis.set_xlabel("alpha")
        axis.set_aspect("equal")
    axes[0].set_ylabel("beta")
    if shades := next(filter(None, drawn), None):
        figure.colorbar(shades, ax=axes, shrink=0.85, label="loss, nats", format="%.2g").ax.tick_params(labelsize=7)


def _alpha(row: Row) -> float:
    return float(row["alpha"])
