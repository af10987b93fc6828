"""Tests of stratoscope/results/tables.py: the tables of `ls` and `best`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope.results.record import RunRecord, find_runs, load_run
from stratoscope.results.tables import epochs, number, percent, told_apart, what


def test_ls_sorts_by_a_metric(runs: Path, said: Callable[[str], str], record: Callable[..., None]) -> None:
    """By its last value, best first, runs without it last; else the oldest first."""
    last = {run.name: load_run(run).last("test/loss") for run in find_runs(runs)}
    for second, name in enumerate(("random", "größe/δ/true", "checked")):
        record(runs / name, started=f"2026-01-02T03:04:0{second}+00:00")
    lines = said("ls").splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["random", "größe/δ/true", "checked"]
    assert lines[0] == "3 runs, all Digits"
    assert lines[3].endswith("depth 2, true labels")
    assert f"{100 * (load_run(runs / 'random').last('train/accuracy') or 0):.1f}" in lines[2].split()
    lines = said("ls --sort test/loss").splitlines()
    order = [line.split()[0].rpartition("/")[2] for line in lines[2:]]
    assert [last[name] for name in order] == sorted(last.values(), key=lambda value: value or 0)
    assert said("ls runs --sort train/accuracy").splitlines()[-1].startswith("checked")


def test_best_ranks_by_the_best_epoch(runs: Path, said: Callable[[str], str]) -> None:
    """Large is good, but for losses and with --min; a metric of a probe is one too."""
    for line, smallest in (("best test/loss", True), ("best test/accuracy", False), ("best test/accuracy --min", True)):
        lines = said(line).splitlines()
        metric = line.split()[1]
        best = {run.name: load_run(run).best(metric, smallest) or (0, 0.0) for run in find_runs(runs)}
        rows = [row.split() for row in lines[3:]]
        assert [float(row[2]) for row in rows] == sorted((float(row[2]) for row in rows), reverse=not smallest)
        for row in rows:
            epoch, value = best[row[1].rpartition("/")[2]]
            assert row[2:4] == [f"{value:.4f}", str(epoch)]
    assert len(said("best test/loss --n 1").splitlines()) == 4
    assert "random" in said("best probe/true_label/test/network.relu1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (-0.5, "-0.5000"),
        (99999.0, "99999.0000"),
        (1e5, "1.000e+05"),
        (0.0009, "9.000e-04"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_four_decimals_where_these_say_something(value: float | None, text: str) -> None:
    """Or four digits."""
    assert number(value) == text


def test_shares_are_in_per_cent() -> None:
    """With one decimal."""
    assert [percent(value) for value in (None, 0.0, 0.12345, 1.0)] == ["", "0.0", "12.3", "100.0"]


def run(command: str = "fit", **parts: Any) -> RunRecord:
    """A run of a command, with a config and a record."""
    config = {"model": {"class_path": "m.Net", "init_args": {"width": 4}}, "data": {"class_path": "Digits"}}
    given = {**config, **parts.get("config", {})}
    about = {"asked": {"command": command}, "data": {"train": "aa"}, **parts.get("record", {})}
    return RunRecord(Path("nowhere"), "nowhere", "finished", given, about, [])


def test_what_a_run_is() -> None:
    """Command, network, data, corruptions with what they were given, and whether the labels are known to be true."""
    noise = {"class_path": "c.Noise", "init_args": {"share": 0.5, "seed": 3, "none": None}}
    subset = {"class_path": "c.Subset", "init_args": {"n": 90}}
    corrupted = {"data": {"class_path": "Digits", "init_args": {"corruption": noise}}}
    both = {"data": {"class_path": "Digits", "init_args": {"corruption": [subset, noise]}}}
    assert what(run()) == ("Net", "Digits", "true labels")
    assert what(run("test", config=corrupted)) == ("test Net", "Digits", "Noise share 0.5")
    assert what(run(config=both)) == ("Net", "Digits", "Subset n 90 + Noise share 0.5")
    assert what(run(record={"data": None})) == ("Net", "Digits", "labels unknown")
    assert what(run(config={"data": None})) == ("Net", "", "true labels")


def test_runs_are_told_apart_by_what_not_all_of_them_are() -> None:
    """What all are is said once."""
    wide = {"model": {"class_path": "m.Net", "init_args": {"width": 8}}}
    common, apart = told_apart({"a": run(), "b": run(config=wide), "c": run(config={**wide, "seed_everything": 1})})
    assert [line.plain for line in common] == ["3 runs, all Net, Digits, true labels"]
    assert apart == {"a": "width 4", "b": "width 8", "c": "width 8"}
    common, apart = told_apart({"a": run()})
    assert ([line.plain for line in common], apart) == (["Net, Digits, true labels"], {"a": ""})


def test_epochs_are_those_done_of_those_asked_for() -> None:
    """Of a command that trains."""
    assert epochs(run(config={"trainer": {"max_epochs": 7}})) == "0/7"
    assert epochs(run(config={"trainer": {"max_epochs": -1}})) == "0"
    assert epochs(run("validate")) == ""
