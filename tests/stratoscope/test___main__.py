"""Tests of stratoscope/__main__.py: `stratoscope` and `python -m stratoscope`."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import stratoscope
from stratoscope import __main__ as command
from stratoscope.commands.table import main

VERSION = f"stratoscope {stratoscope.__version__}\n"


def test_what_is_printed_stays_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the same streams, and these are put back."""
    before = sys.stdout
    main(["reproduce"])
    whole = capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["stratoscope", "reproduce"])
    command.main()
    assert capsys.readouterr().out == whole
    assert sys.stdout is before


def test_the_exit_code_is_the_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And the streams are put back then, too."""
    before = sys.stderr
    monkeypatch.setattr("sys.argv", ["stratoscope", "nothing"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("stratoscope: no command nothing")
    assert sys.stderr is before


def test_a_module_that_is_run_is_the_command() -> None:
    """`python -m stratoscope`, whose words are those of the process."""
    own = os.environ | {"PYTHONPATH": str(Path(stratoscope.__file__).parents[1])}
    words = [sys.executable, "-m", "stratoscope"]
    done = [
        subprocess.run([*words, word], env=own, capture_output=True, text=True, check=False)
        for word in ("--version", "nothing")
    ]
    assert [one.returncode for one in done] == [0, 2]
    assert done[0].stdout == VERSION
    assert done[1].stderr.startswith("stratoscope: no command nothing")


def test_the_command_is_installed() -> None:
    """Under its name, where the package is."""
    scripts = [one for one in entry_points(group="console_scripts") if one.name == "stratoscope"]
    if not scripts:
        pytest.skip("stratoscope is not installed, but on the path")
    assert {one.load() for one in scripts} == {command.main}
