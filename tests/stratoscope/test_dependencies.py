"""Tests of stratoscope/dependencies.py: what is missing is named at once, and W&B is missed by nobody."""

from importlib.metadata import PackageNotFoundError, version

import pytest

from stratoscope import __main__ as command
from stratoscope.commands.examination import examined
from stratoscope.dependencies import missing, requirements
from stratoscope.run.directory import _versions


def without(*names: str) -> object:
    """`version` on a machine that lacks some packages."""

    def found(name: str) -> str:
        if name in names:
            raise PackageNotFoundError(name)
        return version(name)

    return found


def test_nothing_is_missing_here() -> None:
    """Not even in a clone that was never installed, whose needs are in pyproject.toml."""
    assert missing() == []


def test_needs_are_known_without_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the installed package."""

    def unknown(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("stratoscope.dependencies.requires", unknown)
    assert any(line.startswith("torch>=") for line in requirements())


def test_what_is_missing_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is imported."""
    monkeypatch.setattr("stratoscope.dependencies.distribution", without("shtab", "jsonargparse", "wandb"))
    monkeypatch.setattr("sys.argv", ["stratoscope", "fit"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("stratoscope: not installed: jsonargparse, shtab; python -m pip install")
    assert said.count("\n") == 1


def test_a_machine_without_wandb_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not log to it begins, and doctor says so."""
    monkeypatch.setattr("stratoscope.run.directory.version", without("wandb"))
    assert "wandb" not in _versions()
    assert "torch" in _versions()
    monkeypatch.setattr("stratoscope.commands.examination.version", without("wandb"))
    text, healthy = examined()
    assert healthy
    assert "not installed, which only runs that log to it need" in text
