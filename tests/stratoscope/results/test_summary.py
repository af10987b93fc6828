"""Tests of stratoscope/results/summary.py: everything about one run on one screen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope.files.table import COLUMNS, Table
from stratoscope.results.record import RunRecord
from stratoscope.results.summary import _size, summary
from stratoscope.results.terminal import put


def test_show_has_everything_about_a_run(runs: Path, said: Callable[[str], str]) -> None:
    """Found by its name, a part of it, its path below the folder, or its path."""
    text = said("show random")
    for part in ("finished, 2/2 epochs", "MLP: depth 1, width 8", "RandomLabels", "test/accuracy", "best layer for"):
        assert part in text
    for part in ("true, test", "given, train", "checkpoints/last.ckpt", "torch 2.", "seed_everything 0"):
        assert part in text
    for part in ("0: weights and dropout, order and augmentation of the samples, RandomLabels",):
        assert part in text
    for name in ("rand", "runs/random", str(runs.absolute() / "random") + "/"):
        assert said(f"show {name}").split("files")[0].split("folder")[0] == text.split("folder")[0]
    for name in ("true", "δ", "größe/δ/true"):
        assert said(f"show {name}").startswith("true\n")


def shown(capsys: pytest.CaptureFixture[str], **parts: Any) -> str:
    """What is said of a run."""
    run = {"path": Path("nowhere"), "name": "one", "status": "finished", "config": {}, "record": {}, "metrics": []}
    capsys.readouterr()
    put(*summary(RunRecord(**{**run, **parts})))
    return capsys.readouterr().out


def test_a_run_of_which_nothing_is_known_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """With its name and status; metrics and tables that are empty are left out."""
    empty = Table({name: COLUMNS[name] for name in ("epoch", "layer", "labels", "split", "accuracy")}, [])
    text = shown(capsys, metrics=[{"epoch": 1, "step": 1, "test/loss": None}], tables={"probes": empty})
    assert text.startswith("one\nstatus   finished, 1 epochs\n")
    for part in ("metric", "best layer", "to go on", "commit"):
        assert part not in text


@pytest.mark.parametrize("status", ["interrupted", "stopped", "failed"])
def test_how_to_go_on_is_said(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a shell takes it."""
    assert "stratoscope resume 'a b/$x'" in shown(capsys, status=status, path=Path("a b/$x"))


def test_the_smallest_and_largest_value_of_a_measure_are_shown_with_their_layers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the last epoch; reasons in place of values are passed over."""
    rows = [
        {"epoch": epoch, "layer": layer, "measure": "rank", "value": value}
        for epoch, layer, value in ((0, "fc1", 9.0), (1, "fc1", 2.0), (1, "fc2", 3.0), (1, "fc3", "too few samples"))
    ]
    columns = {name: COLUMNS[name] for name in ("epoch", "layer", "measure", "value")}
    (line,) = [
        line.split() for line in shown(capsys, tables={"measures": Table(columns, rows)}).splitlines() if "rank" in line
    ]
    assert line == ["rank", "2.0000", "fc1", "3.0000", "fc2"]


def test_the_best_layer_now_and_ever(capsys: pytest.CaptureFixture[str]) -> None:
    """For each kind of label and set; fits that were not chosen do not count."""
    names = ("epoch", "layer", "labels", "split", "accuracy", "chosen")
    cells = [(0, "fc1", 0.9, True), (1, "fc1", 0.25, True), (1, "fc2", 0.5, True), (1, "fc2", 1.0, False)]
    rows: list[dict[str, Any]] = [
        dict(zip(names, (epoch, layer, "true_label", "test", accuracy, chosen), strict=True))
        for epoch, layer, accuracy, chosen in cells
    ]
    tables = {"probes_deep": Table({name: COLUMNS[name] for name in names}, rows)}
    lines = shown(capsys, tables=tables).splitlines()
    (place,) = [place for place, line in enumerate(lines) if line.startswith("deep: best layer for")]
    assert lines[place + 1].split() == ["true,", "test", "fc2", "50.0", "fc1", "90.0", "0"]


def test_sizes_of_files_are_short() -> None:
    """With two digits at least."""
    assert [_size(size) for size in (0, 999, 1000, 12_345, 5e6, 3e9, 4e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "12 kB",
        "5.0 MB",
        "3.0 GB",
        "4000.0 GB",
    ]
