"""The table of a run's probes: one row per (epoch, layer, labels, split)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from html import escape
from itertools import takewhile
from typing import Any

from rich.console import Console
from rich.table import Table

from stratoscope.files.table import EpochTable, Row, kinds_of
from stratoscope.printable import printable
from stratoscope.probes import HELD_OUT, Separability

UNKNOWN = -1  # epochs of a network whose training nobody knows
UNFILLED = {field.name: field.default for field in fields(Separability) if field.name not in {"labels", "split"}}
COLUMNS = kinds_of("epoch", "layer", "width", *(field.name for field in fields(Separability)), "reduced")


class ProbeTable(EpochTable):
    """Results of every probe so far; a second result for the same epoch replaces the first. A notebook shows it.

    Args:
        rows: Rows of an earlier table, as plain dictionaries.
        columns: Types of the columns of its file.
    """

    def __init__(self, rows: Iterable[Row] = (), columns: Mapping[str, Any] = COLUMNS) -> None:
        super().__init__(columns, rows)

    def _begin(self, rows: Iterable[Row]) -> None:
        super()._begin({"reduced": "", **UNFILLED, **row} for row in rows)

    def put(
        self,
        epoch: int,
        results: dict[str, tuple[int, list[Separability]]],
        reduced: Mapping[str, str] | None = None,
    ) -> None:
        """Add the results of an epoch.

        Args:
            epoch: Number of finished epochs.
            results: By layer, in order of execution: its full width and its scores.
            reduced: By layer, what was done to its activation (see `LayerReduction.reduced`), if anything.
        """
        rows = []
        for layer, (width, scores) in results.items():
            known = {"epoch": epoch, "layer": layer, "width": width, "reduced": (reduced or {}).get(layer, "")}
            rows += [{**known, **asdict(score)} for score in scores]
        self.replace(epoch, rows)

    def __repr__(self) -> str:
        """Its size, and what is most separable after the last epoch."""
        if not self.epochs:
            return "no probes yet"
        layers, epochs = len(self.unique("layer")), len(self.epochs)
        return f"{layers} layers x {epochs} epochs; epoch {self.epochs[-1]}: {self.summary(self.epochs[-1])}"

    def _repr_html_(self) -> str:
        """The tables that `print` prints, for a notebook; in a cell's title its 95 % interval."""
        if not self.epochs:
            return f"<p>{self!r}</p>"
        layers, epochs = self.unique("layer"), evenly(self.epochs, 12)
        prefix = shared_prefix(layers)
        parts = []
        for kind, split in self.panels():
            cells = self.cells(kind, split)
            head = "".join(f"<th>{'untrained' if epoch == 0 else epoch}</th>" for epoch in epochs)
            rows = "".join(
                f"<tr><th>{escape(printable(layer.removeprefix(prefix)))}</th>"
                + "".join(_html(cells.get((layer, epoch))) for epoch in epochs)
                + "</tr>"
                for layer in layers
            )
            parts.append(
                f"<table><caption>{escape(title(kind, split))}, by epoch</caption>"
                f"<thead><tr><th>layer</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
            )
        return "".join(parts)

    def cells(self, labels: str, split: str) -> dict[tuple[str, int], dict[str, Any]]:
        """The rows of one label kind and split, of the ridge chosen, by (layer, epoch)."""
        wanted = (row for row in self.rows if (row["labels"], row["split"]) == (labels, split) and row["chosen"])
        return {(row["layer"], row["epoch"]): row for row in wanted}

    def panels(self) -> list[tuple[str, str]]:
        """The (label kind, split) worth a picture: each kind on the split where it means something.

        True labels are there for the test set, so they are scored on it; corrupted labels exist for the training set
        only.
        """
        splits = self.unique("split")
        held_out = next((split for split in splits if split not in {"train", HELD_OUT}), "train")
        return [(kind, held_out if kind == "true_label" else "train") for kind in self.unique("labels")]

    def failures(self) -> list[str]:
        """Layers and epochs without a result, and why."""
        found = {(row["layer"], row["epoch"]): row["failed"] for row in self.rows if row["failed"]}
        return [f"{layer} at epoch {epoch}: {reason}" for (layer, epoch), reason in found.items()]

    def summary(self, epoch: int) -> str:
        """One line: for every panel, the layer where the labels are most separable."""
        parts = []
        one = ProbeTable(self.at(epoch))
        for kind, split in one.panels():
            cells = {layer: cell for (layer, _), cell in one.cells(kind, split).items()}
            fine = [cell for cell in cells.values() if cell["accuracy"] is not None]
            if fine:
                best = max(fine, key=lambda cell: cell["accuracy"])
                parts.append(f"{words(kind)}, {split} set {100 * best['accuracy']:.1f} % at {best['layer']}")
            if failed := [layer for layer, cell in cells.items() if cell["accuracy"] is None]:
                parts.append(f"FAILED at {', '.join(failed)}: {cells[failed[0]]['failed']}")
            if loose := [cell["layer"] for cell in fine if not cell["converged"]]:
                parts.append(f"not converged at {', '.join(loose)}")
        return "; ".join(parts)

    def print(self, console: Console | None = None) -> None:
        """Print layers x epochs, one table per panel; as many epochs as fit, evenly chosen.

        Args:
            console: Where to; by default standard output.
        """
        console = console or Console(markup=False, emoji=False)
        layers, epochs = self.unique("layer"), self.unique("epoch")
        prefix = shared_prefix(layers)
        widest = max(len(layer) - len(prefix) for layer in layers)
        room = max(2, (console.width - widest - 4) // 9)  # a cell of "100.0~" takes 9 with its frame
        shown = evenly(epochs, room)
        for kind, split in self.panels():
            console.print(printable(f"\n{title(kind, split)}, by epoch"), highlight=False)
            table = Table()
            table.add_column("layer", no_wrap=True)
            for epoch in shown:
                table.add_column(str(epoch), justify="right", no_wrap=True)
            cells = self.cells(kind, split)
            for layer in layers:
                table.add_row(
                    printable(layer.removeprefix(prefix)), *(_shown(cells.get((layer, epoch))) for epoch in shown)
                )
            console.print(table)


def title(kind: str, split: str) -> str:
    """Heading of a panel."""
    return f"Linear probe accuracy on {words(kind)}, {split} set, in %"


def evenly(values: list[int], room: int) -> list[int]:
    """At most `room` of the values, evenly chosen, always with the first and the last."""
    if len(values) <= room:
        return values
    return [values[round(place * (len(values) - 1) / (room - 1))] for place in range(room)]


def shared_prefix(layers: list[str]) -> str:
    """The leading module path, with its dot, that all layers but the input have in common."""
    paths = [layer.split(".")[:-1] for layer in layers if layer != "input"]
    common = takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    return "".join(f"{parts[0]}." for parts in common)


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    if cell["accuracy"] is None:
        return "failed"
    return f"{100 * cell['accuracy']:.1f}" + ("" if cell["converged"] else "~")


def _html(cell: dict[str, Any] | None) -> str:
    told = "" if cell is None else cell["failed"]
    if cell and cell["low"] is not None:
        told = f"95 % interval {100 * cell['low']:.1f} to {100 * cell['high']:.1f}"
    return f'<td title="{escape(printable(told))}">{_shown(cell)}</td>'


def words(kind: str) -> str:
    """A label kind in words: `true labels`; what else a row is about, as it stands."""
    return f"{kind}s".replace("_", " ") if kind.endswith("_label") else kind
