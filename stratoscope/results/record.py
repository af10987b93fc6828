"""What a run left, read back: config, record and tables as plain values, without torch, Lightning or pandas."""

import csv
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from stratoscope.files.table import Row, Table, converted, read_cells, read_table, whole
from stratoscope.printable import one_printable_line
from stratoscope.results.flat_config import short_config
from stratoscope.run.lock import holder
from stratoscope.run.record_file import read_record

METRICS_FILE = "metrics.csv"
METRICS = ("epoch", "step")  # its columns that are no metrics
OURS = ("probes", "online_probes", "measures", "path", "distances")  # what else lies in the directory may be anybody's


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
            says it is running, but no process runs it any more: it was killed).
        config: All of `config.yaml`.
        record: All of `run.json`.
        metrics: Rows of `metrics.csv`; an empty cell is None.
        tables: What instruments have left, by name: `probes` for `probes.csv`, with the rows of every ridge,
            `online_probes`, `measures`, `probes_deep` of a LinearProbes called deep, and so on.
    """

    path: Path
    name: str
    status: str
    config: dict[str, Any]
    record: dict[str, Any]
    metrics: list[Row]
    tables: dict[str, Table] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config under its short keys: `model`, `model.depth`, `data.corruption`, ..."""
        return short_config(self.config, self.record.get("asked"))

    @property
    def probes(self) -> list[Row]:
        """Rows of `probes.csv`, those of every ridge."""
        return self._rows("probes")

    @property
    def measures(self) -> list[Row]:
        """Rows of `measures.csv`; what could not be measured has the reason as its value."""
        return self._rows("measures")

    @property
    def named(self) -> dict[str, tuple[list[Row], list[Row]]]:
        """By its name, for every LinearProbes that has one, the rows of its probes and of its measures."""
        names = [name.removeprefix("probes_") for name in self.tables if name.startswith("probes_")]
        return {name: (self._rows(f"probes_{name}"), self._rows(f"measures_{name}")) for name in names}

    def _rows(self, name: str) -> list[Row]:
        return self.tables[name].rows if name in self.tables else []

    def probed(self, *columns: str) -> dict[str, Table]:
        """The tables that have accuracies of layers, and these columns too, by name.

        Args:
            *columns: Names of columns.
        """
        wanted = ("layer", "labels", "split", "accuracy", *columns)
        return {name: table for name, table in self.tables.items() if table.has(*wanted)}

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

    @property
    def own_metrics(self) -> list[str]:
        """Names of the metrics that are in none of the tables, as probe/true_label/test/fc1 is in probes."""
        of_layers = [f"{name}_" for name, table in self.tables.items() if table.has("layer")]

        def inside(metric: str) -> bool:
            kind, slash, _ = metric.partition("/")
            return bool(slash) and any(name.startswith((f"{kind}_", f"{kind}s_")) for name in of_layers)

        return [metric for metric in self.metric_names if not inside(metric)]

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
        layers: Whether to read what is known of its layers too: the tables of instruments.

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
            _metrics(folder / "metrics.csv"),
            _tables(folder) if layers else {},
        )
        _ = run.settings  # read now, as it may be damaged too
    except OSError as error:
        raise DamagedRun(f"{folder} is no run, or damaged: {error.strerror}: {Path(error.filename).name}") from error
    except (ValueError, csv.Error) as error:
        raise DamagedRun(f"{folder} is no run, or damaged: {error}") from error
    return run


def _tables(folder: Path) -> dict[str, Table]:
    """All tables of a run; of files that may be anybody's, those that can be read.

    Raises:
        OSError: If one of ours cannot be read.
        ValueError: If one of ours is damaged.
        Error: Likewise, from the csv module.
    """
    found: dict[str, Table] = {}
    for file in sorted(folder.glob("*.csv")):
        if file.name == METRICS_FILE:
            continue
        ours = file.stem.startswith(OURS)
        try:
            table = read_table(file)
        except (ValueError, csv.Error, OSError):
            if ours:
                raise
            continue
        if table is not None:
            found[file.stem] = table
        elif ours:
            raise ValueError(f"{file.name} has no column epoch")
    return found


def _metrics(file: Path) -> list[Row]:
    """The rows of `metrics.csv` with numbers for texts; none if there is no such file.

    Raises:
        ValueError: If it is no such table, or cut off: it is never seen half.
    """
    if not file.exists():
        return []
    names, cells, ends = read_cells(file, grows=False)
    if missing := {*METRICS} - {*names}:
        raise ValueError(f"{file.name} has no column {', '.join(sorted(missing))}")
    read = [
        converted(file, name, column, partial(_metric, whole if name in METRICS else float), ends)
        for name, column in zip(names, cells, strict=True)
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*read, strict=True)]


def _metric(number: Callable[[str], float], cell: str) -> float | None:
    return number(cell) if cell else None
