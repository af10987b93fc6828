"""Tests of stratoscope/commands/resume.py: the command line that goes on with a run. Such runs are in tests of run/."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.commands.resume import resume, resumed
from stratoscope.errors import Refused
from stratoscope.run.directory import RunDirectory
from stratoscope.run.masking import MASK

CONFIG: dict[str, Any] = {
    "seed_everything": 3,
    "trainer": {"max_epochs": 2},
    "model": {"class_path": "stratoscope.models.MLP", "init_args": {"width": 4}},
    "data": {"class_path": "stratoscope.datamodules.Digits", "init_args": {}},
}


def begun(folder: Path, config: dict[str, Any] = CONFIG, **asked: str | None) -> Path:
    """A run as it is when it has just begun."""
    run = RunDirectory(str(folder), "one")
    run.claim(config, {"command": "fit", "ckpt_path": None, **asked})
    run.end("interrupted")
    return run.path


def test_a_run_goes_on_with_its_own_config(tmp_path: Path) -> None:
    """From its file, in its place."""
    run = begun(tmp_path)
    assert resumed(run) == ["fit", "--config", str(run / "config.yaml"), "--runs", str(tmp_path), "--run", "one"]
    assert yaml.safe_load((run / "config.yaml").read_text()) == CONFIG


def test_what_was_asked_for_is_asked_for_again(tmp_path: Path) -> None:
    """The command, and the checkpoint that it began from."""
    words = resumed(begun(tmp_path, command="validate", ckpt_path="a/last.ckpt"))
    assert (words[0], words[-2:]) == ("validate", ["--ckpt_path", "a/last.ckpt"])


def test_a_masked_key_is_left_to_its_default(tmp_path: Path) -> None:
    """As nobody knows it any more: it comes from the environment; all else is given."""
    logger = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"name": "x", "api_key": MASK}}
    trainer = {**CONFIG["trainer"], "logger": [logger]}
    words = resumed(begun(tmp_path, {**CONFIG, "trainer": trainer}), trusted=True)
    given = yaml.safe_load(words[words.index("--config") + 1])
    assert given["trainer"]["logger"] == [{**logger, "init_args": {"name": "x"}}]
    assert {**given, "trainer": 0} == {**CONFIG, "trainer": 0}


def test_classes_of_other_packages_need_trust(tmp_path: Path) -> None:
    """A config can do what a script can, and this one may be anybody's."""
    run = begun(tmp_path, {**CONFIG, "model": {"class_path": "theirs.Network"}})
    with pytest.raises(Refused, match="--trust"):
        resumed(run)
    assert resumed(run, trusted=True)[0] == "fit"


@pytest.mark.parametrize("home", ["~/runs", "{}/runs"])
def test_a_run_may_be_below_the_home_folder(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written as a shell leaves it in quotes; the command trains as if it had been asked to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    run = begun(tmp_path / "runs")
    trained: list[tuple[list[str], bool]] = []

    def trains(words: list[str], complete: bool) -> int:
        trained.append((words, complete))
        return 143

    monkeypatch.setattr("stratoscope.fit.command.run_command", trains)
    assert resume(["resume", f"{home.format(tmp_path)}/one"]) == 143
    assert trained == [(resumed(run), True)]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """And nothing is made."""
    with pytest.raises(Refused, match=r"^resume: there is no run .*/none$"):
        resumed(tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_a_record_of_another_command_is_damaged(tmp_path: Path) -> None:
    """None but the four that train or evaluate can be gone on with."""
    run = begun(tmp_path)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "asked": {"command": "rm"}}))
    with pytest.raises(Refused, match="is damaged: its command is rm, not one of fit, validate, test, predict"):
        resumed(run)
