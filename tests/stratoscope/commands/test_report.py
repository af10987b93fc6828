"""Tests of stratoscope/commands/report.py; what is in a page is tested in pages and experiments/report."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stratoscope.commands import report as module
from stratoscope.commands.report import report
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.run.lock import RunLock
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


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that says it is running, as it does if it was killed."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "deep" / "one"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 0}))
    (folder / "run.json").write_text(json.dumps({"status": "running"}))
    return folder


@pytest.mark.parametrize("name", ["one", "deep/one", "runs/deep/one", "on"])
def test_a_run_is_found_as_show_finds_it(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name, a part of it, or its path; beside the report of an experiment."""
    folder = planned(run.parents[2], "two")
    main(["report", name, str(folder)])
    assert capsys.readouterr().out.splitlines()[0].endswith("deep/one/report.html")
    text = (run / "report.html").read_text()
    assert '<span class="status">stopped</span>' in text
    assert "http-equiv" not in text
    assert (folder / "report.html").is_file()


def test_what_is_damaged_or_not_there_is_told_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command's name; a page that loads itself again needs one run that goes on."""
    for words, said in (
        (["report", "two"], "report: there is no run 'two' in runs; there are deep/one"),
        (["report", "--follow", "one", "one"], "report: --follow follows one run, got 2"),
        (["report", "--follow", str(run.parent)], "report: --follow follows a run, and"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    (run / "metrics.csv").write_text("epoch\n")
    with pytest.raises(Refused, match=r"report: .*one is no run, or damaged: metrics\.csv has no column step"):
        report(["report", "one"])
    assert not (run / "report.html").exists()


def test_a_run_is_followed_until_it_ends(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its page is written when there is something new, loads itself again meanwhile, and never after the end."""
    pages: list[str] = []
    steps: list[Callable[[], object]] = [
        lambda: (run / "metrics.csv").write_text("epoch,step,train/loss\n1,1,0.5\n2,2,0.25\n"),
        lambda: None,
        lambda: (run / "run.json").write_text(json.dumps({"status": "finished"})),
    ]

    def sleep(seconds: float) -> None:
        pages.append((run / "report.html").read_text())
        (run / "report.html").write_text("as it was")
        assert seconds >= module.PAUSE
        steps.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)
    lock = RunLock(run)
    try:
        assert report(["report", "one", "--follow"]) == 0
    finally:
        lock.release()
    first, second, third = pages
    assert '<meta http-equiv="refresh" content="4">' in first
    assert "Learning curves" not in first
    assert "Learning curves" in second
    assert third == "as it was"
    last = (run / "report.html").read_text()
    assert '<span class="status">finished</span>' in last
    assert "http-equiv" not in last


def test_following_that_is_interrupted_leaves_a_page_that_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As nobody writes it again."""

    def sleep(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    lock = RunLock(run)
    try:
        with pytest.raises(KeyboardInterrupt):
            report(["report", "one", "--follow"])
    finally:
        lock.release()
    text = (run / "report.html").read_text()
    assert '<span class="status">running</span>' in text
    assert "http-equiv" not in text
