"""One panel of a picture of probes: what it shows, and what is said of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stratoscope.callbacks.instruments.measures import ACCURACY, MEASURES, Look, percent
from stratoscope.callbacks.pictures.heat_map import MINUS, Cell, HeatMap
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import UNKNOWN, ProbeTable, words

SCORES = {
    "accuracy": Look("accuracy", ACCURACY, percent, 1.0),
    "loss": Look("cross-entropy", "cross-entropy, nats", lambda loss: (loss, f"{loss:.2f}"), 0.01),
}
LOOKS = {**SCORES, **{name: look for measure in MEASURES.values() for name, look in measure.shows.items()}}
Show = Literal["value", "difference"]


@dataclass(frozen=True)
class Probed:
    """What was measured of the layers of one network, and what it is.

    Attributes:
        origin: What is known of it.
        table: At least one row.
        values: Columns of the table that can be shown.
    """

    origin: Origin
    table: ProbeTable
    values: tuple[str, ...] = tuple(SCORES)


@dataclass(frozen=True)
class Panel:
    """A value of one network's layers: probes on one kind of labels, scored on one set, or a measure.

    Attributes:
        probed: Of which network.
        labels: Label kind; empty if the value is about none.
        split: Name of the set; empty likewise.
        value: Column of the table.
        show: The value, or its difference from that of the untrained network.
    """

    probed: Probed
    labels: str
    split: str
    value: str = "accuracy"
    show: Show = "value"

    @property
    def look(self) -> Look:
        """How the value is shown; one that nobody knows under its name, as a plain number."""
        return LOOKS.get(self.value, Look(self.value, ""))

    @property
    def epochs(self) -> list[int]:
        """Those there is something to show of."""
        return [epoch for epoch in self.probed.table.epochs if epoch or self.show == "value"]

    def cells(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Rows of the table by layer and epoch, with what is shown as `shown`, `from` and `to`, or None for each."""
        rows, epochs = self.probed.table.cells(self.labels, self.split), {*self.epochs}
        found = {}
        for at, row in rows.items():
            if at[1] in epochs:
                numbers = self._numbers(row, rows.get((at[0], 0)) or {})
                shown = (None if number is None else self.look.shown(number)[0] for number in numbers)
                found[at] = {**row, **dict(zip(("shown", "from", "to"), shown, strict=True)), "number": numbers[0]}
        return found

    def _numbers(self, row: Mapping[str, Any], untrained: Mapping[str, Any]) -> tuple[float | None, ...]:
        """A number with the ends of its 95 % interval; of differences Newcombe's (1998, method 10).

        That one is for two samples. Both accuracies are of the same one, where the difference varies less.
        """
        value, low, high = self._interval(row)
        if self.show == "value":
            return value, low, high
        start, least, most = self._interval(untrained)
        if value is None or start is None:
            return None, None, None
        change = value - start
        if low is None or high is None or least is None or most is None:
            return change, None, None
        return change, change - math.hypot(value - low, most - start), change + math.hypot(high - value, start - least)

    def _interval(self, row: Mapping[str, Any]) -> tuple[float | None, ...]:
        """A value and its interval, which is that of an accuracy."""
        ends = ("low", "high") if self.value == "accuracy" else ("", "")
        return tuple(_number(row.get(name)) for name in (self.value, *ends))

    @property
    def unit(self) -> str:
        """Of what is shown."""
        if self.show == "value":
            return self.look.unit
        what = self.value if self.value in SCORES else self.look.name
        return ", ".join(filter(None, [f"{what} minus untrained", self._short_unit]))

    @property
    def _short_unit(self) -> str:
        """What stands behind a number."""
        unit = self.look.unit.rpartition(", ")[2]
        return "percentage points" if (unit, self.show) == ("%", "difference") else unit

    def printed(self, number: float, converged: bool) -> str:
        """A number as it stands in a cell.

        Args:
            number: As in the table, or a difference of two.
            converged: Whether it is certified; else it has a ~.
        """
        text = self.look.shown(abs(number))[1]
        sign = MINUS if number < 0 else "+" if self.show == "difference" else ""
        return f"{sign * (float(text) != 0)}{text}{'' if converged else '~'}"

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
            cells[at] = None if number is None else (number, self.printed(row["number"], row["converged"]))
            hints[at] = self._hint(row)
        columns = [""] if self.epochs == [UNKNOWN] else self.epochs
        chance = self.probed.origin.chance if self.unit == ACCURACY else None
        return HeatMap(
            heading,
            self.unit,
            layers,
            columns,
            cells,
            self.look.least,
            self.look.log and self.show == "value",
            self.show == "difference",
            hints,
            None if chance is None else 100 * chance,
        )

    def _hint(self, row: dict[str, Any]) -> str:
        if row["shown"] is None:
            return f"failed: {row['failed']}" if row["failed"] else "no value"
        sign = "+" if self.show == "difference" else ""
        text = f"{row['shown']:{sign}.4g} {self._short_unit}".rstrip()
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
        value: accuracy or loss, or another value that there is of all networks.
        show: value or difference, from the untrained network.

    Raises:
        ValueError: If there are no such probes; it says what there is.
    """
    values = [name for name in probed[0].values if all(name in one.values for one in probed)]
    for option, given, known in (("value", value, values), ("show", show, ("value", "difference"))):
        if given not in known:
            raise ValueError(f"{option} must be {' or '.join(known)}, got {given!r}")
    found: list[Panel] = []
    scored: dict[tuple[str, str], None] = {}
    for one in probed:
        there = dict.fromkeys((row["labels"], row["split"]) for row in one.table.rows)
        scored |= there
        usual = [at for at in one.table.panels() if at in there] or [*there]  # measures may be of test sets alone
        chosen = usual if split is None else [at for at in there if at[1] == split]
        wanted = [at for at in chosen if labels in {None, at[0]}]
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


def headings(shown: Sequence[Panel]) -> tuple[str, list[str]]:
    """What all panels are of, and what each is of besides.

    Args:
        shown: The panels, all of one value.
    """
    what = "Linear probes" if shown[0].value in SCORES else shown[0].look.name
    told = [panel.probed.origin.told(panel.probed.table.epochs[-1]) for panel in shown]
    if shown[0].value not in SCORES and shown[0].look.unit != ACCURACY:
        told = [{**one, "chance": ""} for one in told]  # which is an accuracy
    common = {key: text for key, text in told[0].items() if all(one[key] == text for one in told)}
    parts = [[text for key, text in one.items() if text and key not in common] for one in told]
    networks = list(dict.fromkeys(id(panel.probed) for panel in shown))
    apart = {tuple(own): id(panel.probed) for own, panel in zip(parts, shown, strict=True)}
    if len(apart) < len(networks):  # such as seeds
        parts = [[panel.probed.origin.name, *own] for own, panel in zip(parts, shown, strict=True)]
    titles = []
    for own, panel in zip(parts, shown, strict=True):
        of = ", ".join(filter(None, [words(panel.labels), f"{panel.split} set" if panel.split else ""]))
        titles.append(": ".join(filter(None, [", ".join(filter(None, own)), of])))
    common_text = ", ".join(filter(None, common.values()))
    return f"{what}: {common_text}" if common_text else what, titles


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)
