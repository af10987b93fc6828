"""Tests of stratoscope/run/directory.py."""

import json
from pathlib import Path

import pytest

from stratoscope.errors import Refused
from stratoscope.run.directory import RunDirectory, different


def test_a_run_without_a_name_never_takes_an_earlier_ones_directory(tmp_path: Path) -> None:
    """Should the name that was made be there after all, it is refused and left as it is; names differ."""
    run, other = RunDirectory(str(tmp_path), None, ["fit"]), RunDirectory(str(tmp_path), None, ["fit"])
    assert run.path != other.path
    run.path.mkdir()
    (run.path / "config.yaml").write_text("earlier: run")
    with pytest.raises(Refused, match="cannot write the run directory"):
        run.claim({"seed": 0}, {"command": "fit"})
    assert [(file.name, file.read_text()) for file in run.path.iterdir()] == [("config.yaml", "earlier: run")]


def test_a_named_run_is_found_again(tmp_path: Path) -> None:
    """Its config and what was asked for are compared; finishing is recorded."""
    run = RunDirectory(str(tmp_path), "one")
    assert not run.begun
    run.claim({"seed": 0}, {"command": "fit"})
    again = RunDirectory(str(tmp_path), "one")
    assert again.begun
    assert not again.finished
    assert again.differences({"seed": 0}, {"command": "fit"}) == []
    assert again.differences({"seed": 1}, {"command": "test"}) == [
        'command: "fit" before, "test" now',
        "seed: 0 before, 1 now",
    ]
    run.end("finished")
    assert RunDirectory(str(tmp_path), "one").finished
    assert json.loads((tmp_path / "one" / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "-x", "a b"])
def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """Only plain names are taken."""
    with pytest.raises(Refused, match="--run must be letters"):
        RunDirectory(str(tmp_path), name)


def test_differences_are_dotted_keys() -> None:
    """Nested values are compared key by key, missing ones as null."""
    assert different({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}) == [
        "a.c: 2 before, null now",
        "a.d: null before, 3 now",
    ]


def test_a_run_goes_on_with_its_own_data_only(tmp_path: Path) -> None:
    """The hashes a run began with are kept; other data are refused with the set named, the same ones are not."""
    RunDirectory(str(tmp_path), "one").claim({"seed": 0}, {"command": "fit"}, {"train": "aa", "test": "bb"})
    again = RunDirectory(str(tmp_path), "one")
    again.check_data({"train": "aa", "test": "bb"})
    with pytest.raises(Refused, match=r"run one was begun with other data: data\.train"):
        again.check_data({"train": "cc", "test": "bb"})
    RunDirectory(str(tmp_path), "new").check_data({"train": "aa"})


def test_a_run_that_changed_while_a_command_started_is_refused(tmp_path: Path) -> None:
    """The second command has seen an older state; nothing of the first one's is overwritten."""
    first, second = (RunDirectory(str(tmp_path), "one") for _ in range(2))
    first.claim({"seed": 0}, {"command": "fit"})
    first.end("finished")
    before = (tmp_path / "one" / "run.json").read_text()
    with pytest.raises(Refused, match="run one has changed while this command started; give it again"):
        second.claim({"seed": 0}, {"command": "fit"})
    assert (tmp_path / "one" / "run.json").read_text() == before
    assert not (tmp_path / "one" / "lock").exists()


def test_a_run_killed_before_its_record_begins_anew(tmp_path: Path) -> None:
    """Its folder holds no more than a lock and a config."""
    folder = tmp_path / "early"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "config.yaml").write_text("half: ")
    run = RunDirectory(str(tmp_path), "early")
    assert not run.begun
    run.claim({"seed": 0}, {"command": "fit"})
    run.end("finished")
    assert RunDirectory(str(tmp_path), "early").config == {"seed": 0}


def test_links_above_a_run_and_within_it_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of runs and a run's own on another disk, and links from a run into itself: it is claimed as any."""
    monkeypatch.chdir(tmp_path)
    for folder in ("disk/one", "disk/runs"):
        Path(folder).mkdir(parents=True)
    Path("runs").symlink_to("disk/runs")
    Path("runs/one").symlink_to(tmp_path / "disk" / "one")
    for name in ("lock", "config.yaml"):  # of a run that was killed before it had a record
        Path("disk/one", name).touch()
    Path("disk/one/latest.part").symlink_to("config.yaml")
    run = RunDirectory("runs", "one")
    run.claim({"seed": 0}, {"command": "fit"})
    run.end("finished")
    assert RunDirectory("disk", "one").finished
