"""Tests of stratoscope/results/record.py: what a run left, as plain values."""

import csv
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope import load_runs
from stratoscope.files.table import COLUMNS, Table, columns_of
from stratoscope.results.record import DamagedRun, RunRecord, falls, find_runs, load_run
from stratoscope.run.lock import RunLock


def test_a_record_has_numbers_for_texts(runs: Path) -> None:
    """Whole ones where they are, None for empty cells, NaN for no number; a layer's name stays text."""
    file = runs / "random" / "metrics.csv"
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    rows[-1] |= {"test/loss": "", "train/loss": "nan"}
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    probes = runs / "random" / "probes.csv"
    probes.write_text(probes.read_text().replace("network.relu1", "0"))
    run = load_run(runs / "random")
    assert [(row["epoch"], type(row["epoch"])) for row in run.metrics] == [(0, int), (1, int), (2, int)]
    assert run.metrics[-1]["test/loss"] is None
    assert math.isnan(run.metrics[-1]["train/loss"])
    assert {row["layer"] for row in run.tables["probes"].rows} == {"0"}
    assert {type(row["correct"]) for row in run.tables["probes"].rows} == {int}
    assert [epoch for epoch, _ in run.values("test/loss")] == [1]
    frame = load_runs(runs)
    last = frame[(frame.run == "random") & (frame.epoch == 2) & (frame.source == "metrics")].set_index("name").value
    assert "test/loss" not in last
    assert math.isnan(last["train/loss"])


def test_a_killed_run_is_told_from_one_at_work(
    runs: Path, said: Callable[[str], str], record: Callable[..., None]
) -> None:
    """By its lock, which is looked at and never taken; both are in the table."""
    run = runs / "random"
    record(run, status="running")
    assert load_run(run).status == "stopped"
    assert f"to go on stratoscope resume {run}" in " ".join(said("show random").split())
    lock = RunLock(run)
    before = lock.file.stat().st_mtime_ns
    assert load_run(run).status == "running"
    assert f"process {os.getpid()} on {socket.gethostname()}" in said("show random")
    assert "random        running " in said("ls")
    assert set(load_runs(runs).status) == {"running", "finished"}
    assert lock.file.stat().st_mtime_ns == before
    lock.release()


def test_runs_are_found_at_any_depth_and_once(runs: Path) -> None:
    """Links are not followed, so that a loop of them ends; nothing below a run is another; a run finds itself."""
    (runs / "loop").symlink_to(runs.absolute(), target_is_directory=True)
    (runs / "random" / "wandb").mkdir()
    (runs / "random" / "wandb" / "run.json").write_text("{}")
    assert [run.name for run in find_runs(runs)] == ["checked", "true", "random"]
    assert set(load_runs(runs / "random").run) == {"random"}


def made_up(*losses: float | None) -> RunRecord:
    """A run with a loss for every epoch, from epoch 0."""
    rows = [{"epoch": epoch, "step": epoch, "test/loss": loss, "never": None} for epoch, loss in enumerate(losses)]
    return RunRecord(Path("nowhere"), "nowhere", "finished", {}, {}, rows)


def test_the_best_value_is_the_first_of_its_kind() -> None:
    """By the name small ones are good or large ones; what is no number is passed over."""
    run = made_up(0.5, math.nan, 0.25, None, 0.25, 0.75)
    assert run.values("test/loss") == [(0, 0.5), (2, 0.25), (4, 0.25), (5, 0.75)]
    assert (run.last("test/loss"), run.best("test/loss")) == (0.75, (2, 0.25))
    assert run.best("test/loss", smallest=False) == (5, 0.75)
    assert (run.last("never"), run.best("never"), run.metric_names) == (None, None, ["test/loss"])
    assert run.epochs == 5
    assert made_up().epochs == 0
    assert [falls(name) for name in ("test/loss", "error", "test/accuracy", "loss/x")] == [True, True, False, False]


def test_tables_are_told_by_their_columns_and_names() -> None:
    """Those of named instruments belong together; what is not there is empty."""
    row: dict[str, Any] = {"epoch": 0, "layer": "fc", "labels": "true_label", "split": "test", "accuracy": 0.5}
    probes, measures = (Table({name: COLUMNS[name] for name in names}, [row]) for names in (row, ["epoch", "layer"]))
    tables = {"probes": probes, "probes_deep": probes, "measures_deep": measures}
    run = RunRecord(Path("nowhere"), "nowhere", "finished", {}, {}, [], tables)
    assert set(run.probed()) == {"probes", "probes_deep"}
    assert run.probed("ridge") == {}
    assert run.named == {"deep": ([row], [row])}
    assert (run.probes, run.measures) == ([row], [])


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    """In one line, with nothing that would steer a terminal."""
    with pytest.raises(DamagedRun, match=r"nothing is no run, or damaged: No such file or directory: run\.json$"):
        load_run(tmp_path / "nothing")
    assert str(DamagedRun("a\nb\x1b")) == "a b\\x1b"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_runs(tmp_path / "nothing")


def test_hidden_folders_hold_no_runs(tmp_path: Path) -> None:
    """Such as those of editors and of version control."""
    for name in ("b", ".hidden/c", "a/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").touch()
    assert find_runs(str(tmp_path)) == [tmp_path / "a" / "d", tmp_path / "b"]


def test_metrics_that_a_table_has_are_not_a_runs_own() -> None:
    """Those of probes, also of one with a name, where there is their table; else they are all there is."""
    names = ("train/loss", "probe/true_label/test/fc1", "online_probe/x", "human/kl", "probes")
    rows = [{"epoch": 1, "step": 1, **dict.fromkeys(names, 0.5)}]
    of_layers = Table(columns_of("epoch", "layer"), [])
    run = RunRecord(Path("one"), "one", "finished", {}, {}, rows, {})
    assert run.own_metrics == [*names]
    for table, left in (("probes_deep", names[2]), ("online_probes", names[1])):
        told = RunRecord(run.path, "one", "finished", {}, {}, rows, {table: of_layers, "human": Table({}, [])})
        assert told.own_metrics == [name for name in names if name in {"train/loss", left, "human/kl", "probes"}]
