"""All numbers of all runs as one table for notebooks: `from stratoscope import load_runs`."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratoscope.run_record import DamagedRun, Row, RunRecord, find_runs, load_run
from stratoscope.short_config import differing

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


def load_runs(folder: str | Path = "runs/") -> "DataFrame":
    """Read all runs below a folder, at any depth, into one tidy table: a row per number.

    Columns: `run` (path below the folder), `status` (finished, running, interrupted, failed, stopped), `source`
    (metrics, probes, measures; of a LinearProbes named deep: probes_deep, measures_deep), `epoch`, `step`, `name`
    (train/accuracy, test/loss, ...; accuracy and loss of probes; the measure), `layer`, `labels`, `split`, `value`;
    `low` and `high`, the 95 % interval of a probe's accuracy; `gap`,
    how far a probe may be from its optimum; and one for every entry of the config that differs between runs, named as
    its option (`model.depth`, `data.corruption`, `seed_everything`), so that grouping by it is one word:

        runs = load_runs()
        test = runs[runs.name == "test/accuracy"]
        test.pivot_table(index="epoch", columns="model.depth", values="value").plot()

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
    for path in find_runs(top):
        try:
            run = load_run(path)
        except DamagedRun as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        name = run.name if path == top else path.relative_to(top).as_posix()
        found = [{"run": name, "status": run.status, **row} for row in numbers(run)]
        if found:
            runs[name] = run
            rows += found
        elif run.command != "predict":  # which leaves none
            warnings.warn(f"left out: {path} has no metrics yet", stacklevel=2)
    frame = DataFrame.from_records(rows, columns=COLUMNS)
    for column in ("epoch", "step"):
        frame[column] = frame[column].astype("Int64" if frame[column].hasnans else "int64")
    for column in ("value", "low", "high", "gap"):
        frame[column] = frame[column].astype("float64")
    settings = {name: run.settings for name, run in runs.items()}
    return frame.assign(**{key: _column(frame["run"], settings, key) for key in differing(list(settings.values()))})


def numbers(run: RunRecord) -> Iterator[Row]:
    """The rows of one run in `load_runs`, without its name, status and config.

    Args:
        run: As `load_run` gives it.
    """
    steps = {row["epoch"]: row["step"] for row in run.metrics}
    probed = run.probes or run.named
    for row in run.metrics:
        at = {"source": "metrics", "epoch": row["epoch"], "step": row["step"]}
        for name, value in row.items():
            if value is not None and name not in at and not (probed and name.startswith("probe/")):
                yield {**at, "name": name, "split": name.rpartition("/")[0] or None, "value": value}
    tables = {"": (run.probes, run.measures), **{f"_{name}": rows for name, rows in run.named.items()}}
    for ending, (probes, measures) in tables.items():
        for row in probes:
            at = {"source": f"probes{ending}", **_place(row, steps), "gap": row["gap"]}
            if row["chosen"] and row["accuracy"] is not None:
                yield {**at, "name": "accuracy", "value": row["accuracy"], "low": row["low"], "high": row["high"]}
                yield {**at, "name": "loss", "value": row["loss"]}
        for row in measures:
            if isinstance(row["value"], float):
                place = _place(row, steps)
                yield {"source": f"measures{ending}", **place, "name": row["measure"], "value": row["value"]}


def _place(row: Row, steps: dict[int, int]) -> Row:
    epoch = row["epoch"]
    return {"epoch": epoch, "step": steps.get(epoch), **{key: row[key] or None for key in ("layer", "labels", "split")}}


def _column(runs: Any, settings: dict[str, dict[str, Any]], key: str) -> Any:
    """A config entry as a column; null beside names is "none", as grouping drops what is missing."""
    values = {run: config.get(key) for run, config in settings.items()}
    given = [value for value in values.values() if value is not None]
    if all(isinstance(value, str) for value in given):
        values = {run: "none" if key in settings[run] and value is None else value for run, value in values.items()}
    column = runs.map(values)
    if len(given) < len(values) and all(type(value) is int for value in given):
        return column.astype("Int64")
    return column
