"""Tests of stratoscope/experiments/launcher.py: runs end well, badly, or not, and the others go on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.reproduce import reproduce
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.launcher import Launcher
from stratoscope.fit.quiet import NOISE
from stratoscope.run.checkpoint import load_checkpoint
from tests.forked_runs import forked
from tests.small_experiments import OPTIONS, written

# runs of a second, and one of some seconds, in this order: one has finished while another is at work
LONG = 40  # epochs, not to be over before it is killed
AXES: dict[str, Any] = {"length": {"short": {}, "long": {"trainer.max_epochs": LONG}, "other": {"model.width": 5}}}
NAMES = ["short", "long", "other"]


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def lengths(folder: Path) -> str:
    """The file of an experiment with a short run, a long one and another."""
    return str(written(folder / "my", axes=AXES, runs=[{"length": "all"}]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of that experiment, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert reproduce(["reproduce", lengths(folder), "--runs", str(folder), "--jobs", "2"]) == 0
    return folder / "my_small" / "full"


def status(run: Path) -> str:
    """What a run's record says of it."""
    try:
        return str(json.loads((run / "run.json").read_text())["status"])
    except (OSError, ValueError):
        return ""


def files(run: Path) -> dict[str, tuple[int, bytes]]:
    """Content and last change of all files of a run."""
    found = sorted(file for file in run.rglob("*") if file.is_file())
    return {str(file.relative_to(run)): (file.stat().st_mtime_ns, file.read_bytes()) for file in found}


def wait_for_the_long_run(folder: Path) -> None:
    """Until the short run has finished and the long one has some epochs behind it."""
    until = time.monotonic() + 120
    while status(folder / "short") != "finished" or status(folder / "long") != "running" or epochs(folder / "long") < 2:
        assert time.monotonic() < until, "it does not begin"
        time.sleep(0.02)


def epochs(run: Path) -> int:
    """How many lines of metrics a run has written."""
    try:
        return len((run / "metrics.csv").read_text().splitlines()) - 1
    except OSError:
        return 0


def launch(words: list[str]) -> None:
    """`reproduce` in a process forked from this one, whose server of processes is not its own."""
    forkserver._forkserver.__init__()  # type: ignore[misc]
    reproduce(["reproduce", *words])


def assert_same_results(folder: Path, whole: Path) -> None:
    """All runs have finished, with the metrics and weights of uninterrupted ones."""
    for name in NAMES:
        assert status(folder / name) == "finished"
        assert (folder / name / "metrics.csv").read_text() == (whole / name / "metrics.csv").read_text()
        ends = [load_checkpoint(str(run / name / "checkpoints" / "last.ckpt"))["state_dict"] for run in (folder, whole)]
        assert all(bool((ends[0][key] == ends[1][key]).all()) for key in ends[1])


def test_a_killed_launcher_goes_on(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`kill -9` of the launcher: the run at work is saved and ends; the same command finishes what is left."""
    words = [lengths(tmp_path), "--runs", str(tmp_path), "--jobs", "2"]
    folder = tmp_path / "my_small" / "full"
    launcher = forked(lambda: launch(words))
    try:
        wait_for_the_long_run(folder)
        assert status(folder / "long") == "running"
    finally:
        launcher.kill()
        launcher.join()
    before = files(folder / "short")
    assert reproduce(["reproduce", *words]) == 0, capsys.readouterr()
    assert files(folder / "short") == before
    assert_same_results(folder, whole)
    assert "the run is saved" in (folder / "long.log").read_text()
    assert "is already finished" in (folder / "short.log").read_text()
    logs = "".join((folder / f"{name}.log").read_text() for name in NAMES)
    assert not any(line.startswith(NOISE) for line in logs.splitlines())
    assert "3 of 3 runs finished" in capsys.readouterr().out


@pytest.mark.slow
def test_launchers_share_the_runs(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second one leaves alone what the first is at work on, does the rest, and waits for the end."""
    words = [lengths(tmp_path), "--runs", str(tmp_path), "--jobs", "1"]
    folder = tmp_path / "my_small" / "full"
    with Path("launcher.log").open("w") as log:
        command = [sys.executable, "-m", "stratoscope", "reproduce", *words]
        with subprocess.Popen(command, stdout=log, stderr=log) as first:
            wait_for_the_long_run(folder)
            assert reproduce(["reproduce", *words]) == 0, capsys.readouterr()
    assert first.returncode == 0, Path("launcher.log").read_text()
    out = capsys.readouterr().out
    assert "long: another process is at work on it" in out
    assert out.index("other: finished") < out.index("long: finished")
    assert_same_results(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_the_runs(number: int, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The runs at work are saved, none is begun, the exit code is 143, and the same command goes on."""
    words = [lengths(tmp_path), "--runs", str(tmp_path), "--jobs", "1"]
    folder = tmp_path / "my_small" / "full"

    def ask_to_end() -> None:
        wait_for_the_long_run(folder)
        os.kill(os.getpid(), number)

    threading.Thread(target=ask_to_end, daemon=True).start()
    assert reproduce(["reproduce", *words]) == 143
    out, err = capsys.readouterr()
    assert "stratoscope: interrupted; the same command goes on" in err
    assert "long: interrupted" in out
    assert "1 of 3 runs finished" in out
    assert status(folder / "long") == "interrupted"
    assert 2 <= epochs(folder / "long") < LONG
    assert not (folder / "other").exists()
    assert (folder / "report.html").is_file()
    before = files(folder / "short")
    assert reproduce(["reproduce", *words]) == 0
    assert files(folder / "short") == before
    assert_same_results(folder, whole)


def test_a_run_that_fails_leaves_the_others_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named at the end with its reason, what starts from it is held back, and the exit code is 1."""
    start = {"class_path": "Pretrained", "init_args": {"checkpoint": "{run:stage=first}/checkpoints/last.ckpt"}}
    axes = {
        "rate": {"mad": {"model.optimizer.lr": 1e30}, "good": {"model.optimizer.lr": 0.01}},
        "stage": {"first": {}, "second": {"trainer.callbacks": [start]}},
    }
    options = {**OPTIONS, "model.optimizer": "SGD", "trainer.max_epochs": 1}
    file = written(tmp_path / "my", axes=axes, runs=[{"rate": "all", "stage": "all"}], options=options)
    assert reproduce(["reproduce", str(file), "--runs", str(tmp_path), "--jobs", "2"]) == 1
    out, err = capsys.readouterr()
    folder = tmp_path / "my_small" / "full"
    (line,) = [line for line in out.splitlines() if line.startswith("mad__first: failed")]
    assert "loss" in line
    assert str(folder / "mad__first.log") in line
    assert "Traceback" not in line
    assert "2 of 4 runs have not finished: mad__first (failed), mad__second (held back)" in err
    states = {name: status(folder / name) for name in ("mad__first", "mad__second", "good__first", "good__second")}
    assert states == {"mad__first": "failed", "mad__second": "", "good__first": "finished", "good__second": "finished"}
    assert not (folder / "mad__second").exists()
    assert "2 of 4 runs finished" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_no_more_runs_than_asked_for_at_a_time(tmp_path: Path) -> None:
    """With two at a time there is never a third at work, and with enough runs there are two."""
    file = written(tmp_path / "my")
    runs = planned_runs(read_experiment(str(file)), "full", str(tmp_path))
    at_work, most = 0, 0

    def say(line: str) -> None:
        nonlocal at_work, most
        at_work += 1 if "begins" in line else -1
        most = max(most, at_work)

    assert set(Launcher(2, ["--threads", "1"], say).run(runs).values()) == {"finished"}
    assert (at_work, most) == (0, 2)


def test_a_launcher_in_another_thread_runs_alike(tmp_path: Path) -> None:
    """A notebook's or a server's: Python lets only the main thread handle signals."""
    ended: list[dict[str, str]] = []
    runs = planned_runs(read_experiment(lengths(tmp_path)), "full", str(tmp_path))[:1]
    thread = threading.Thread(target=lambda: ended.append(Launcher(1, ["--threads", "1"], print).run(runs)))
    thread.start()
    thread.join(120)
    assert ended == [{runs[0].name: "finished"}]
