"""Tests of stratoscope/commands/report.py; what is in a report is tested in experiments/report."""

import json
from pathlib import Path

import pytest

from stratoscope.commands.report import report
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from tests.small_experiments import written


def planned(folder: Path, name: str) -> Path:
    """A folder in which an experiment was begun, without any run yet."""
    file = written(folder / name, title=f"About \x1b[31m{name}")
    runs = folder / f"{name}_small" / "full"
    runs.mkdir(parents=True)
    (runs / "experiment.json").write_text(json.dumps({"experiment": str(file), "scale": "full"}))
    return runs


def test_reports_of_several_folders_are_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other; their titles, which may be anybody's, steer no terminal."""
    folders = [planned(tmp_path, name) for name in ("one", "two")]
    assert report(["report", *map(str, folders)]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("About")] == [
        rf"About \x1b[31m{name}: 0 of 4 runs finished" for name in ("one", "two")
    ]
    assert all((folder / "report.html").is_file() for folder in folders)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """The others before it are written."""
    folder = planned(tmp_path, "one")
    with pytest.raises(Refused, match="has no runs of an experiment"):
        report(["report", str(folder), str(tmp_path)])
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("words", [["report"], ["report", "--all"], ["report", "nowhere"]])
def test_report_without_a_folder_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
