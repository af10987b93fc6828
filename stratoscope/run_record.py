"""What a run left, read back: config, record and tables as plain values, without torch, Lightning or pandas."""

import csv
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stratoscope.bounded_files import open_plain, read_json, read_yaml
from stratoscope.printable import one_printable_line
from stratoscope.run_lock import holder
from stratoscope.short_config import short_config

Row = dict[str, Any]
TEXT = {"layer", "labels", "split", "measure", "failed", "reduced"}  # a layer's name may well be a number
WHOLE = {"epoch", "step", "width", "correct", "count", "features", "iterations"}
YES_OR_NO = {"chosen", "converged"}
METRICS = {"epoch", "step"}
PROBES = {"epoch", "layer", "labels", "split", "accuracy", "low", "high", "loss", "gap", "chosen"}
MEASURES = {"epoch", "layer", "measure", "labels", "split", "value"}
NEVER_EMPTY = {"probes": ("epoch", "layer", "labels", "split", "chosen"), "measures": ("epoch", "layer", "measure")}
LARGEST = 2**53  # whole number that a float holds too
# what `run.json` holds, as far as anything is read off it; null counts as not there
RECORD: dict[str, type | tuple[type, type]] = {
    "status": str,
    "started": str,
    "ended": str,
    "asked": dict,
    "data": (dict, str),
    "samples": (dict, int),
    "versions": (dict, str),
    "code": dict,
    "commands": (list, str),
}


class DamagedRun(ValueError):
    """A folder whose files are not those of a run; the text names it and says why.

    Args:
        text: Which, and why; names in it may be anybody's.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_printable_line(text))


@dataclass(frozen=True)
class RunRecord:
    """One run, as it was when it was read.

    Attributes:
        path: The run directory.
        name: Its name.
        status: finished, running, interrupted (it was asked to end), failed, or stopped (its max_time was over; or it
            says it is running, but no process is at work in it any more: it was killed).
        config: All of `config.yaml`.
        record: All of `run.json`.
        metrics: Rows of `metrics.csv`; an empty cell is None.
        probes: Rows of `probes.csv`, those of every ridge.
        measures: Rows of `measures.csv`; what could not be measured has the reason as its value.
        named: By its name, for every LinearProbes that has one, the rows of its probes and of its measures.
    """

    path: Path
    name: str
    status: str
    config: dict[str, Any]
    record: dict[str, Any]
    metrics: list[Row]
    probes: list[Row]
    measures: list[Row]
    named: dict[str, tuple[list[Row], list[Row]]] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config under its short keys: `model`, `model.depth`, `data.corruption`, ..."""
        return short_config(self.config, self.record.get("asked"))

    @property
    def command(self) -> str:
        """fit, validate, test or predict."""
        return str(self.settings.get("command", "fit"))

    @property
    def epochs(self) -> int:
        """Epochs that have left metrics."""
        return max((row["epoch"] for row in self.metrics if row["epoch"] is not None), default=0)

    @property
    def metric_names(self) -> list[str]:
        """Names of all metrics with at least one value, those of probes among them."""
        return list(
            dict.fromkeys(k for row in self.metrics for k, v in row.items() if v is not None and k not in METRICS)
        )

    def values(self, metric: str) -> list[tuple[int, float]]:
        """Epochs and values of a metric, in order; where it is no number is left out."""
        found = ((row["epoch"], row.get(metric)) for row in self.metrics)
        return [(epoch or 0, value) for epoch, value in found if value is not None and not math.isnan(value)]

    def last(self, metric: str) -> float | None:
        """The last value of a metric."""
        return next((value for _, value in reversed(self.values(metric))), None)

    def best(self, metric: str, smallest: bool | None = None) -> tuple[int, float] | None:
        """The first epoch with the best value of a metric, and the value.

        Args:
            metric: Its name.
            smallest: Whether small values are good; None goes by the name.
        """
        sign = -1 if (falls(metric) if smallest is None else smallest) else 1
        return max(self.values(metric), key=lambda pair: sign * pair[1], default=None)


def falls(metric: str) -> bool:
    """Whether small values of a metric are good, by its name."""
    return metric.endswith(("loss", "error"))


def find_runs(folder: str | Path = "runs/") -> list[Path]:
    """Directories of all runs below a folder, at any depth, in alphabetical order; symbolic links are not followed.

    Args:
        folder: Where to look; a run's own directory is found too.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise FileNotFoundError(f"there is no folder {top}")
    return sorted(_runs(top))


def _runs(top: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(top):
        if "run.json" in files:
            yield Path(place)
            folders.clear()  # nothing below a run is another
        folders[:] = [name for name in folders if not name.startswith(".")]


def load_run(path: str | Path, layers: bool = True) -> RunRecord:
    """Read a run, whether it is finished or not.

    Args:
        path: The run directory.
        layers: Whether to read what is known of its layers too: probes and measures.

    Raises:
        DamagedRun: If a file is missing, cut off, or no run's.
    """
    folder = Path(path).expanduser()
    try:
        record, config = read_record(folder)
        status = record.get("status") or "unknown"
        if status == "running" and holder(folder) is None:
            status = "stopped"
        run = RunRecord(
            folder,
            folder.resolve().name,
            status,
            config,
            record,
            _rows(folder / "metrics.csv", METRICS, _metric),
            _rows(folder / "probes.csv", PROBES, _cell) if layers else [],
            _rows(folder / "measures.csv", MEASURES, _cell) if layers else [],
            _named(folder) if layers else {},
        )
        _ = run.settings  # read now, as it may be damaged too
    except OSError as error:
        raise DamagedRun(f"{folder} is no run, or damaged: {error.strerror}: {Path(error.filename).name}") from error
    except (ValueError, csv.Error) as error:
        raise DamagedRun(f"{folder} is no run, or damaged: {error}") from error
    return run


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`run.json` and `config.yaml` of a run.

    Args:
        folder: The run directory.

    Raises:
        OSError: If one cannot be read.
        ValueError: If one is damaged.
    """
    record = _mapping("run.json", read_json(folder / "run.json"))
    for name, wanted in RECORD.items():
        kind, inside = wanted if isinstance(wanted, tuple) else (wanted, None)
        found = record.get(name)
        parts = found.values() if isinstance(found, dict) else found or ()
        if not (found is None or isinstance(found, kind)) or (
            found and inside and not all(isinstance(part, inside) for part in parts)
        ):
            raise ValueError(f"{name} in run.json is not what it should be: {str(found)[:60]}")
    asked = record.get("asked") or {}
    if not all(value is None or isinstance(value, str) for value in asked.values()):
        raise ValueError("asked in run.json is not what it should be")
    code = record.get("code") or {}
    if not isinstance(code.get("commit", ""), str):
        raise ValueError("code in run.json is not what it should be")
    if not all(0 <= size <= LARGEST for size in (record.get("samples") or {}).values()):
        raise ValueError("samples in run.json is not what it should be")
    return record, _mapping("config.yaml", read_yaml(folder / "config.yaml"))


def _named(folder: Path) -> dict[str, tuple[list[Row], list[Row]]]:
    """The tables of instruments with names."""
    names = sorted(file.stem.removeprefix("probes_") for file in folder.glob("probes_*.csv"))
    return {
        name: (
            _rows(folder / f"probes_{name}.csv", PROBES, _cell),
            _rows(folder / f"measures_{name}.csv", MEASURES, _cell),
        )
        for name in names
    }


def _mapping(what: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{what} holds no mapping")
    return found


def _rows(file: Path, columns: set[str], parse: Callable[[str, str], Any]) -> list[Row]:
    """A table's rows with numbers for texts; none if there is no such file.

    A last line without an end is left out of tables that grow: it is being written, or a kill has cut it off.

    Raises:
        ValueError: If it is no such table, or cut off.
    """
    if not file.exists():
        return []
    needed = NEVER_EMPTY.get(file.stem.partition("_")[0], ())
    with open_plain(file, newline="") as text:
        whole = file.stem == "metrics"  # never seen half
        reader = csv.DictReader(line for line in text if whole or line.endswith("\n"))
        if missing := columns - set(reader.fieldnames or []):
            raise ValueError(f"{file.name} has no column {', '.join(sorted(missing))}")
        rows: list[Row] = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"line {reader.line_num} of {file.name} has too few or too many cells")
            if empty := [name for name in needed if not row[name]]:
                raise ValueError(f"line {reader.line_num} of {file.name} has an empty cell: {', '.join(empty)}")
            try:
                rows.append({name: parse(name, cell) for name, cell in row.items()})
            except ValueError as error:
                raise ValueError(f"line {reader.line_num} of {file.name}: {error}") from error
    return rows


def _metric(name: str, cell: str) -> float | int | None:
    if not cell:
        return None
    number = float(cell)
    if name not in WHOLE:
        return number
    if not (number.is_integer() and 0 <= number <= LARGEST):  # which neither NaN nor infinity is
        raise ValueError(f"{name} must be a whole number from 0, got {cell[:40]}")
    return int(number)


def _cell(name: str, cell: str) -> Any:
    if name in TEXT:
        return cell
    if name in YES_OR_NO and cell:
        if cell not in {"True", "False"}:
            raise ValueError(f"{name} must be True or False, got {cell[:40]}")
        return cell == "True"
    if name == "value":
        try:
            return float(cell)
        except ValueError:  # the reason why there is none
            return cell
    return _metric(name, cell)
