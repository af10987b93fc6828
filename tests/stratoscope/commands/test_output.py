"""Tests of stratoscope/commands/output.py: commands whose words nobody reads end as they would have ended."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stratoscope import __main__ as command
from tests.forked_runs import finish, forked, said

FIT = (
    "fit --model MLP --model.width 8 --data Digits --data.corruption RandomSubset --data.corruption.n 100 "
    "--data.batch_size 50 --trainer.accelerator cpu "
    "--threads 1 --trainer.max_epochs 2"
)


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def unread(line: str, *numbers: int) -> Callable[[], None]:
    """What runs a command as the shell does, with some streams (1, 2) into a pipe that nobody reads."""

    def child() -> None:
        sys.argv = ["stratoscope", *line.split()]
        there, here = os.pipe()
        os.close(there)
        for number in numbers:
            os.dup2(here, number)
            name = {1: "stdout", 2: "stderr"}[number]
            setattr(sys, name, open(number, "w", closefd=False))
        command.main()

    return child


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("list", 0),
        ("--help", 0),
        ("--version", 0),
        ("fit --data.help CIFAR10", 0),
        (f"{FIT} --print_config", 0),
        ("reproduce", 0),
        ("ls --help", 0),
        ("--print_completion bash", 0),
        ("fit --model Nothing", 2),
    ],
)
def test_commands_that_print_are_quiet(line: str, code: int) -> None:
    """No traceback, and the usual exit code."""
    assert finish(forked(unread(line, 1))) == code, said()
    assert "Traceback" not in said()
    assert "BrokenPipe" not in said()


@pytest.mark.parametrize("numbers", [(1,), (1, 2)])
def test_a_run_goes_on(numbers: tuple[int, ...]) -> None:
    """`fit ... | head`, also with `2>&1`, trains to its end; and `ls`, `show` and `best` of it are quiet."""
    assert finish(forked(unread(f"{FIT} --run r", *numbers))) == 0, said()
    assert json.loads(Path("runs/r/run.json").read_text())["status"] == "finished"
    for line in ("ls", "show r", "best test/accuracy"):
        assert finish(forked(unread(line, 1))) == 0, said()
    assert "Traceback" not in said()


def test_closed_streams_are_no_streams() -> None:
    """`>&- 2>&-`, as of a service without a terminal."""

    def child() -> None:
        sys.argv = ["stratoscope", *f"{FIT} --run r".split()]
        sys.stdout = sys.stderr = None
        command.main()

    assert finish(forked(child)) == 0
    assert json.loads(Path("runs/r/run.json").read_text())["status"] == "finished"


def test_folders_that_are_not_in_utf_8_can_be_said(capfd: pytest.CaptureFixture[str]) -> None:
    """A folder of runs with a byte of Latin-1: the run is whole, and its name is printed with the byte escaped."""
    folder = os.fsdecode(b"l\xe4ufe")
    assert finish(forked(unread_nothing(f"{FIT} --run r", "--runs", folder))) == 0, said()
    assert json.loads(Path(folder, "r", "run.json").read_text())["status"] == "finished"
    assert "done: l\\udce4ufe/r" in said()


def unread_nothing(line: str, *more: str) -> Callable[[], None]:
    """What runs a command as the shell does."""

    def child() -> None:
        sys.argv = ["stratoscope", *line.split(), *more]
        command.main()

    return child
