"""One panel of a picture of probes: what it shows, and what is said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stratoscope.callbacks.pictures.heat_map import MINUS, Cell, HeatMap
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import UNKNOWN, ProbeTable, words

VALUES = {"accuracy": "accuracy, %", "loss": "cross-entropy, nats"}
Show = Literal["value", "difference"]


@dataclass(frozen=True)
class Probed:
    """Probes of one network, and what it is.

    Attributes:
        origin: What is known of it.
        table: At least one row.
    """

    origin: Origin
    table: ProbeTable


@dataclass(frozen=True)
class Panel:
    """The probes of one network on one kind of labels, scored on one set.

    Attributes:
        probed: Of which network.
        labels: Label kind.
        split: Name of the set.
        value: Column of the table.
        show: The value, or its difference from that of the untrained network.
    """

    probed: Probed
    labels: str
    split: str
    value: str = "accuracy"
    show: Show = "value"

    @property
    def epochs(self) -> list[int]:
        """Those there is something to show of."""
        return [epoch for epoch in self.probed.table.epochs if epoch or self.show == "value"]

    def cells(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Rows of the table by layer and epoch, with what is shown as `shown`, `from` and `to`, or None for each."""
        rows, epochs = self.probed.table.cells(self.labels, self.split), {*self.epochs}
        return {
            at: {**row, **dict(zip(("shown", "from", "to"), self._shown(row, rows.get((at[0], 0))), strict=True))}
            for at, row in rows.items()
            if at[1] in epochs
        }

    def _shown(self, row: dict[str, Any], untrained: dict[str, Any] | None) -> tuple[float | None, ...]:
        """A number with the ends of its 95 % interval; of differences Newcombe's (1998, method 10).

        That one is for two samples. Both accuracies are of the same one, where the difference varies less.
        """
        value = _number(row.get(self.value))
        low, high = (_number(row.get(end)) if self.value == "accuracy" else None for end in ("low", "high"))
        if self.show == "value":
            return tuple(self._in_unit(number) for number in (value, low, high))
        before = untrained or {}
        start, least, most = (_number(before.get(name)) for name in (self.value, "low", "high"))
        if value is None or start is None:
            return None, None, None
        change = value - start
        if low is None or high is None or least is None or most is None:
            return self._in_unit(change), None, None
        down, up = math.hypot(value - low, most - start), math.hypot(high - value, start - least)
        return tuple(self._in_unit(number) for number in (change, change - down, change + up))

    def _in_unit(self, number: float | None) -> float | None:
        return 100 * number if number is not None and self.value == "accuracy" else number

    @property
    def unit(self) -> str:
        """Of what is shown."""
        if self.show == "value":
            return VALUES[self.value]
        return f"{self.value} minus untrained, {'percentage points' if self.value == 'accuracy' else 'nats'}"

    def printed(self, number: float, row: dict[str, Any]) -> str:
        """A number as it stands in a cell, with a ~ where the probe is not converged."""
        sign, digits = "+" if self.show == "difference" else "", 0 if self.value == "accuracy" else 2
        text = f"{number:{sign}.{digits}f}"
        text = text if float(text) else text.lstrip("+-")
        return text.replace("-", MINUS) + ("" if row["converged"] else "~")

    def heat_map(self, heading: str) -> HeatMap:
        """Layers by epochs.

        Args:
            heading: Title of the panel.
        """
        layers = self.probed.table.unique("layer")
        high = {layer: at for at, layer in enumerate(layers)}
        wide = {epoch: at for at, epoch in enumerate(self.epochs)}
        cells: dict[tuple[int, int], Cell] = {}
        hints: dict[tuple[int, int], str] = {}
        for (layer, epoch), row in self.cells().items():
            at = high[layer], wide[epoch]
            number = row["shown"]
            cells[at] = None if number is None else (number, self.printed(number, row))
            hints[at] = self._hint(row)
        least = 1.0 if self.value == "accuracy" else 0.01
        columns = [""] if self.epochs == [UNKNOWN] else self.epochs
        return HeatMap(
            heading, self.unit, layers, columns, cells, least, difference=self.show == "difference", hints=hints
        )

    def _hint(self, row: dict[str, Any]) -> str:
        if row["shown"] is None:
            return f"failed: {row['failed']}" if row["failed"] else "no value"
        sign, unit = ("+" if self.show == "difference" else ""), self.unit.rpartition(", ")[2]
        text = f"{row['shown']:{sign}.4g} {unit}"
        if row["from"] is not None:
            text += f", 95 % interval {row['from']:{sign}.4g} to {row['to']:{sign}.4g}"
        gap = "" if row["gap"] is None else f", gap {row['gap']:.1g} nats"
        return text + gap + ("" if row["converged"] else ", not converged")


def panels(
    probed: Sequence[Probed],
    labels: str | None = None,
    split: str | None = None,
    value: str = "accuracy",
    show: Show = "value",
) -> list[Panel]:
    """What there is to show, a panel per network and kind of labels.

    Args:
        probed: The networks.
        labels: Label kind, such as `true_label`; None takes all.
        split: Name of the set; None takes, for each kind, the one where it means most (`ProbeTable.panels`).
        value: accuracy or loss.
        show: value or difference, from the untrained network.

    Raises:
        ValueError: If there are no such probes; it says what there is.
    """
    for option, given, known in (("value", value, VALUES), ("show", show, ("value", "difference"))):
        if given not in known:
            raise ValueError(f"{option} must be {' or '.join(known)}, got {given!r}")
    found: list[Panel] = []
    scored: dict[tuple[str, str], None] = {}
    for one in probed:
        there = dict.fromkeys((row["labels"], row["split"]) for row in one.table.rows)
        scored |= there
        chosen = one.table.panels() if split is None else [at for at in there if at[1] == split]
        wanted = [at for at in chosen if at in there and labels in {None, at[0]}]
        found += [Panel(one, of, where, value, show) for of, where in wanted]
    if not found:
        asked = " on ".join(filter(None, [labels, split])) or "any labels"
        raise ValueError(f"there are no probes of {asked}; there are {', '.join(map(' on '.join, scored)) or 'none'}")
    if show == "difference":
        for panel in found:
            if 0 not in panel.probed.table.epochs or not panel.epochs:
                epochs = [str(epoch) for epoch in panel.probed.table.epochs if epoch != UNKNOWN]
                at = f"epoch {', '.join(epochs)}" if epochs else "one network of an unknown epoch"
                raise ValueError(
                    f"show='difference' needs probes of the untrained network (epoch 0) and of a later epoch, got {at}"
                )
    return found


def headings(shown: Sequence[Panel], what: str = "Linear probes") -> tuple[str, list[str]]:
    """What all panels are of, and what each is of besides.

    Args:
        shown: The panels.
        what: The first words.
    """
    told = [panel.probed.origin.told(panel.probed.table.epochs[-1]) for panel in shown]
    common = {key: text for key, text in told[0].items() if all(one[key] == text for one in told)}
    parts = [[text for key, text in one.items() if text and key not in common] for one in told]
    networks = list(dict.fromkeys(id(panel.probed) for panel in shown))
    apart = {tuple(own): id(panel.probed) for own, panel in zip(parts, shown, strict=True)}
    if len(apart) < len(networks):  # such as seeds
        parts = [[panel.probed.origin.name, *own] for own, panel in zip(parts, shown, strict=True)]
    titles = []
    for own, panel in zip(parts, shown, strict=True):
        of = f"{words(panel.labels)}, {panel.split} set"
        titles.append(f"{', '.join(filter(None, own))}: {of}" if any(own) else of)
    common_text = ", ".join(filter(None, common.values()))
    return f"{what}: {common_text}" if common_text else what, titles


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
