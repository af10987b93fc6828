"""All that a table says of layers, whichever instrument has left it: what `Panel`s can show, by name."""

from collections.abc import Mapping
from typing import Any

from stratoscope.callbacks.instruments.measures import MEASURES
from stratoscope.callbacks.pictures.layer_panel import SCORES
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.files.table import Row, Table

At = tuple[int, str]  # epoch, layer
About = tuple[str, str]  # labels, split
PLACES = ("epoch", "step", "layer", "measure", "split")  # columns that say what a row is about, each in its own way


def layer_values(table: Table) -> dict[tuple[str, ...], ProbeTable]:
    """The values of layers in a table, by their names.

    Accuracies and losses of probes stay together, with all that is known of each. Every other column of numbers, and
    every measure, is a table by itself, with a column of its name; what its rows are about besides epoch, layer and set
    is their `labels`.

    Args:
        table: As it was read.

    Returns:
        The tables; none if there are no layers.
    """
    if not table.has("layer"):
        return {}
    if table.has("labels", "split", *SCORES):
        return {tuple(SCORES): ProbeTable(table.rows)}
    about = [name for name in table.that("what") if name not in PLACES]
    found: dict[str, dict[About, dict[At, Row]]] = {}
    for row in table.rows:
        for column in table.that("value") if row.get("chosen") is not False else []:
            value, name = row[column], row.get("measure", column) if column == "value" else column
            if value is None:
                continue
            of = ", ".join(str(row[part]) for part in about if row[part]), row.get("split") or ""
            failed = value if isinstance(value, str) else ""
            for one in MEASURES[name].shows if failed and name in MEASURES else [name]:  # all that it would have had
                cell = {one: None if failed else value, "failed": failed.removeprefix("failed: ")}
                found.setdefault(one, {}).setdefault(of, {})[row["epoch"], row["layer"]] = cell
    layers = {layer: place for place, layer in enumerate(dict.fromkeys(row["layer"] for row in table.rows))}
    return {(name,): ProbeTable(_rows(name, by, layers)) for name, by in found.items()}


def _rows(name: str, found: Mapping[About, Mapping[At, Row]], layers: Mapping[str, int]) -> list[Row]:
    """The rows of a value; what could not be measured at all could not be of any labels either."""
    whole = {of: cells for of, cells in found.items() if any(cell[name] is not None for cell in cells.values())}
    missing: dict[At, Row] = {}
    for of, cells in found.items():
        missing |= cells if of not in whole else {}
    rows: list[dict[str, Any]] = []
    for (labels, split), cells in (whole or found).items():
        for (epoch, layer), cell in {**missing, **cells}.items():
            at = {"epoch": epoch, "layer": layer, "labels": labels, "split": split}
            rows.append({**at, "converged": True, **cell})
    return sorted(rows, key=lambda row: layers[row["layer"]])
