"""Experiments that take seconds, written and run by tests; and results without runs."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from stratoscope.experiments.experiment import Experiment
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import PlannedRun, planned_runs
from stratoscope.experiments.quantities import Result
from stratoscope.files.table import COLUMNS, Table
from stratoscope.results.record import RunRecord

TINY = Path(__file__).parent / "stratoscope" / "experiments" / "tiny.yaml"
# perceptrons on 200 digits, without probes: a second for each run
OPTIONS: dict[str, Any] = {
    "data": "Digits",
    "data.corruption": [{"class_path": "RandomSubset", "init_args": {"n": 200}}],
    "data.batch_size": 50,
    "model": "MLP",
    "model.width": 4,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
}
SMALL: dict[str, Any] = {
    "title": "Small",
    "source": "Nobody",
    "options": OPTIONS,
    "axes": {"width": {"narrow": {}, "wide": {"model.width": 8}}, "seed": {0: {}, 1: {"seed_everything": 1}}},
    "runs": [{"width": "all", "seed": "all"}],
    "quantities": {"error": {"metric": "test/accuracy", "error": True}},
}


def content(base: Mapping[str, Any] = SMALL, **changes: Any) -> dict[str, Any]:
    """What is in an experiment's file, with other parts; a part that is None is left out."""
    whole = {**copy.deepcopy(dict(base)), **changes}
    return {key: value for key, value in whole.items() if value is not None}


def written(folder: Path, base: Mapping[str, Any] = SMALL, **changes: Any) -> Path:
    """The file of an experiment, `folder/small.yaml`.

    Args:
        folder: Where to write it.
        base: What is in it.
        **changes: Parts that are others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(content(base, **changes), sort_keys=False))
    return file


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """What is in tiny.yaml, with one value changed, added, or (None) taken away."""
    whole = content(yaml.safe_load(TINY.read_text()))
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return whole


def read(folder: Path, whole: Any) -> Experiment:
    """Write an experiment and read it, with its plans."""
    experiment = read_experiment(str(written(folder, {}, **whole)))
    for scale in ("full", *experiment.scales):
        planned_runs(experiment, scale, "runs")
    return experiment


def record(metrics: list[dict[str, Any]], probes: list[dict[str, Any]] | None = None) -> RunRecord:
    """A finished run with these rows in its tables, on 10,000 test samples."""
    about = {"samples": {"test": 10_000}}
    columns = {name: COLUMNS[name] for name in (probes or [{}])[0]}
    tables = {"probes": Table(columns, probes or [])}
    return RunRecord(Path("nowhere"), "nowhere", "finished", {}, about, metrics, tables)


def result(labels: dict[str, Any], *accuracies: float) -> Result:
    """A finished run with an accuracy, on training and test set alike, for every epoch, from epoch 0."""
    rows = [
        {"epoch": epoch, "step": epoch, "train/accuracy": value, "test/accuracy": value}
        for epoch, value in enumerate(accuracies)
    ]
    return Result(PlannedRun(labels, {}, Path("nowhere"), "-".join(map(str, labels.values()))), record(rows))
