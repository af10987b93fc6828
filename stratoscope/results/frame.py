"""All numbers of all runs as one table for notebooks: `from stratoscope import load_runs`."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratoscope.files.table import Row
from stratoscope.results.flat_config import differing
from stratoscope.results.record import DamagedRun, RunRecord, find_runs, load_run

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["DamagedRun", "RunRecord", "find_runs", "load_run", "load_runs"]

COLUMNS = [
    "run",
    "status",
    "source",
    "epoch",
    "step",
    "name",
    "layer",
    "labels",
    "split",
    "value",
    "low",
    "high",
    "gap",
]

ALWAYS = ("model", "data", "data.corruption")  # options with a column in every table


def load_runs(folder: str | Path = "runs/") -> "DataFrame":
    """Read all runs below a folder, at any depth, into one tidy table: a row per number.

    Columns: `run` (path below the folder), `status` (finished, running, interrupted, failed, stopped), `source`
    (metrics, or the table of an instrument: probes, online_probes, measures; of a LinearProbes named deep:
    probes_deep, measures_deep), `epoch`, `step`, `name` (train/accuracy, test/loss, ...; accuracy and loss of probes;
    the measure), `layer`, `labels`, `split`, `value`; `low` and `high`, the 95 % interval of an accuracy of a table;
    `gap`, how far a probe may be from its optimum; what else the rows of a table are about; `model`, `data` and
    `data.corruption` ("none" where there is none), also of a single run; and one for every other entry of the config
    that differs between runs, named as its option (`model.depth`, `seed_everything`), so that grouping by it is one
    word:

        runs = load_runs()
        test = runs[runs.name == "test/accuracy"]
        test.pivot_table(index="epoch", columns="data.corruption", values="value").plot()

    Of several ridges the rows of the chosen one are here (`load_run` has all), and the probes' accuracies once, as
    probes. What was not measured or failed has no row; what was measured and is no number has NaN.

    Args:
        folder: Where to look, or one run's own directory.

    Returns:
        The table. Damaged runs and those without any number yet are left out, with a warning that names them.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    from pandas import DataFrame

    top = Path(folder).expanduser()
    runs: dict[str, RunRecord] = {}
    rows: list[Row] = []
    with _nothing_collected():
        for path in find_runs(top):
            try:
                run = load_run(path)
            except DamagedRun as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                continue
            name = run.name if path == top else path.relative_to(top).as_posix()
            if found := list(numbers(run, name)):
                runs[name] = run
                rows += found
            elif run.command != "predict":  # which leaves none
                warnings.warn(f"left out: {path} has no metrics yet", stacklevel=2)
    tables = (table for run in runs.values() for table in run.tables.values())
    what = {column: None for table in tables for column in table.that("what") if column != "measure"}
    frame = DataFrame.from_records(rows, columns=[*dict.fromkeys([*COLUMNS, *what])])
    for column in ("epoch", "step"):
        frame[column] = frame[column].astype("Int64" if frame[column].hasnans else "int64")
    for column in ("value", "low", "high", "gap"):
        frame[column] = frame[column].astype("float64")
    settings = {name: run.settings for name, run in runs.items()}
    keys = dict.fromkeys([*ALWAYS, *differing(list(settings.values()))])
    return frame.assign(**{key: _column(frame["run"], settings, key) for key in keys})


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Garbage collection waits: so many rows would set it off again and again, and none of them is garbage."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def numbers(run: RunRecord, name: str) -> Iterator[Row]:
    """The rows of one run in `load_runs`, without its config.

    Args:
        run: As `load_run` gives it.
        name: What it is called there.
    """
    of_run = {"run": name, "status": run.status}
    steps = {row["epoch"]: row["step"] for row in run.metrics}
    metrics = {metric: metric.rpartition("/")[0] or None for metric in run.own_metrics}
    for row in run.metrics:
        at = {**of_run, "source": "metrics", "epoch": row["epoch"], "step": row["step"]}
        for metric, split in metrics.items():
            if (value := row[metric]) is not None:
                yield {**at, "name": metric, "split": split, "value": value}
    for source, table in run.tables.items():
        values = table.that("value")
        what = [column for column in table.that("what") if column not in {"measure", "step"}]
        ends = [end for end in ("low", "high") if end in table.columns]
        for row in table.rows:
            if row.get("chosen") is False:
                continue
            at = {column: None if row[column] == "" else row[column] for column in what} | of_run
            at |= {"source": source, "epoch": row["epoch"], "step": steps.get(row["epoch"]), "gap": row.get("gap")}
            for column in values:
                if isinstance(value := row[column], float):
                    at["name"] = row.get("measure", column) if column == "value" else column
                    at["value"] = value
                    yield at | {end: row[end] for end in ends} if column == values[0] else at.copy()


def _column(runs: Any, settings: dict[str, dict[str, Any]], key: str) -> Any:
    """A config entry as a column; null beside names is "none", as grouping drops what is missing."""
    values = {run: config.get(key) for run, config in settings.items()}
    given = [value for value in values.values() if value is not None]
    if all(isinstance(value, str) for value in given):
        values = {run: "none" if key in settings[run] and value is None else value for run, value in values.items()}
    column = runs.map(values)
    if 0 < len(given) < len(values) and all(type(value) is int for value in given):
        return column.astype("Int64")
    return column
