"""Which panels show what was measured in a run, and what is in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stratoscope.callbacks.heat_map import Cell, HeatMap, span
from stratoscope.callbacks.probe_table import ProbeTable
from stratoscope.callbacks.separability_figure import probe_panel

Row = dict[str, Any]  # of a MeasureTable
Cells = dict[tuple[int, int], Cell]
Group = list[HeatMap]  # panels that belong side by side
CKA, EPOCH = "cka with ", "epoch "


def percent(share: float) -> tuple[float, str]:
    """A share as it is shown: 0.934 as 93."""
    return 100 * share, str(round(100 * share))


def plain(number: float) -> tuple[float, str]:
    """A number as it is shown: 1234, 12, 1.2, 0.12, 0.001."""
    size = abs(number)
    places = 0 if size >= 9.95 else 1 if size >= 0.995 else 2
    return number, f"{number:.{places}f}" if size >= 0.0095 or size == 0 else f"{number:.0g}"


@dataclass(frozen=True)
class Look:
    """How a measure is shown.

    Attributes:
        name: In words.
        unit: Of the numbers shown.
        instrument: What the table has in its place where it failed.
        shown: From a value in the table to the number that is coloured and the one that is printed.
        least: Least span of the colour bar.
        log: Whether colours are logarithmic.
        everywhere: Whether all layers have it.
    """

    name: str
    unit: str = ""
    instrument: str = ""
    shown: Callable[[float], tuple[float, str]] = plain
    least: float = 0.01
    log: bool = False
    everywhere: bool = True


LOOKS = {
    "neighbour_accuracy": Look("Nearest-neighbour accuracy", "accuracy, %", "neighbours", percent, least=1.0),
    "selectivity": Look("Selectivity: accuracy beyond control labels", "difference, %", "control", percent, least=1.0),
    "effective_rank": Look("Effective rank", "directions", "rank", log=True),
    "participation_ratio": Look("Participation ratio", "directions", "rank", log=True),
    "nc1": Look("NC1: variability within classes", "tr($S_W S_B^+$) / C", "collapse", log=True),
    "nc2_norms": Look("NC2: spread of the class means' norms", "deviation / mean", "collapse"),
    "nc2_angles": Look("NC2: class means' distance from equal angles", "mean |cos + 1/(C−1)|", "collapse"),
    "nc3": Look("NC3: classifier's distance from class means", "distance", "collapse", everywhere=False),
    "nc4": Look("NC4: answers unlike the nearest class mean", "samples, %", "collapse", percent, least=1.0),
}


def measure_panels(rows: Sequence[Row], table: ProbeTable) -> list[Group]:
    """Sort rows into panels, the probes' own first.

    Args:
        rows: Of a `MeasureTable`.
        table: The probes of the same layers and epochs.

    Returns:
        Groups of panels: those of one measure for several label kinds and sets, which have the same colours, and those
        of similarity. Only what was measured, or failed, has a panel.
    """
    layers, epochs = table.unique("layer"), table.unique("epoch")
    probes = [probe_panel(table, kind, split, _heading("Linear probe accuracy", kind, split)) for kind, split in table.panels()]
    similar = [row for row in rows if row["measure"].startswith(CKA)]
    found: dict[str, dict[tuple[str, str], dict[tuple[int, int], Any]]] = {}
    for row in rows:
        if not row["measure"].startswith(CKA):
            at = layers.index(row["layer"]), epochs.index(row["epoch"])
            found.setdefault(row["measure"], {}).setdefault((row["labels"], row["split"]), {})[at] = row["value"]
    groups = [_group(measure, found, layers, epochs) for measure in _in_order(found)]
    return [group for group in (probes, *groups, _similarity(similar, layers, epochs)) if group]
