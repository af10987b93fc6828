"""Tests of stratoscope/fit/wandb_setup.py, without W&B; with it they are in tests/stratoscope/test_wandb.py."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonargparse import Namespace, dict_to_namespace

from stratoscope.fit.wandb_setup import group_of, has_key, prepare_wandb, tags_of, wandb_finished
from stratoscope.run.directory import RunDirectory

NOBODY = "http://127.0.0.1:9"
GIVEN = {"save_dir": ".", "id": None, "name": None, "project": None, "offline": False, "log_model": False}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, no server, and what is put into the environment is gone after the test."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ |= {"WANDB_BASE_URL": NOBODY, "NETRC": str(tmp_path / "netrc")}
    yield
    os.environ.clear()
    os.environ.update(before)


def logger(**given: Any) -> Namespace:
    """A W&B logger as it is parsed."""
    whole = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {**GIVEN, **given}}
    parsed: Namespace = dict_to_namespace(whole)
    return parsed


def prepared(*tags: str, **given: Any) -> tuple[Namespace, list[str]]:
    """What a logger of the run `one` is given, and what the user is told."""
    one = logger(**given)
    notes = prepare_wandb([one], RunDirectory("runs", "one"), tags)
    return one.init_args, notes


def test_a_run_there_is_the_run_here() -> None:
    """Its name, its directory, and an id that no other has."""
    (one, _), (two, _) = prepared("MLP"), prepared()
    assert (one.name, one.project, one.tags) == ("one", "stratoscope", ["MLP"])
    assert one.save_dir == str(Path("runs/one").resolve())
    assert re.fullmatch("[0-9a-f]{8}", one.id)
    assert one.id != two.id


def test_without_a_key_or_a_server_a_run_is_written_offline() -> None:
    """And the user is told why, and how to send it later."""
    later = "and writes offline; later: wandb sync runs/one/wandb/offline-run-*"
    for key, reason in (("", "W&B has no API key on this machine"), ("0" * 40, f"W&B cannot reach {NOBODY}")):
        os.environ["WANDB_API_KEY"] = key
        given, notes = prepared(log_model="all")
        assert notes == [f"{reason} {later}"]
        assert (given.offline, given.mode, given.log_model) == (True, "offline", False)


@pytest.mark.parametrize(("given", "mode"), [({"offline": True}, "online"), ({}, "offline"), ({}, "disabled")])
def test_who_wants_it_offline_is_told_nothing(given: dict[str, Any], mode: str) -> None:
    """By the option or by W&B's own variable."""
    os.environ["WANDB_MODE"] = mode
    found, notes = prepared(**given)
    assert notes == []
    assert found.offline == given.get("offline", False)


def test_what_the_user_gave_stays() -> None:
    """As options, or in W&B's variables."""
    os.environ |= {"WANDB_RUN_ID": "abc", "WANDB_PROJECT": "ours", "WANDB_FINISH_TIMEOUT": "99"}
    given, _ = prepared("MLP", name="mine", tags=["own"], save_dir="/elsewhere", project="lightning_logs")
    assert (given.id, given.name, given.tags) == ("abc", "mine", ["own"])
    assert (given.save_dir, given.project) == ("/elsewhere", "ours")
    assert os.environ["WANDB_FINISH_TIMEOUT"] == "99"
    assert prepared(project="theirs")[0].project == "theirs"


@pytest.mark.parametrize(("log_model", "seconds"), [(False, "6"), ("all", "600")])
def test_a_run_waits_for_its_server_for_a_while(log_model: Any, seconds: str) -> None:
    """Checkpoints take longer than numbers."""
    prepared(log_model=log_model)
    assert os.environ["WANDB_FINISH_TIMEOUT"] == seconds
    assert os.environ["WANDB_INIT_TIMEOUT"] == "5"


def test_a_run_that_goes_on_has_its_id() -> None:
    """The last part of it has the id of those before."""
    run = RunDirectory("runs", "one")
    run.claim({}, {"command": "fit"})
    for folder in ("offline-run-20260101_000000-aaaa", "run-20260102_000000-bbbb"):
        (run.path / "wandb" / folder).mkdir(parents=True)
    assert prepared()[0].id == "bbbb"


def test_other_loggers_are_left_alone() -> None:
    """Nothing is put into the environment for them either."""
    other = dict_to_namespace({"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}})
    before = other.clone()
    assert prepare_wandb([other, True], RunDirectory("runs", "one")) == []
    assert other == before
    assert "WANDB_FINISH_TIMEOUT" not in os.environ


def test_tags_are_as_long_as_they_may_be() -> None:
    """W&B refuses those of more than 64 characters."""
    assert prepared("MLP", "X" * 70)[0].tags == ["MLP", "X" * 64]


@pytest.mark.parametrize(
    ("corruption", "tags"),
    [
        (None, ["MLP", "uncorrupted"]),
        ({"class_path": "a.PartialLabels"}, ["MLP", "PartialLabels"]),
        ([{"class_path": "a.RandomSubset"}, {"class_path": "a.RandomSubset"}], ["MLP", "RandomSubset"]),
        ([], ["MLP", "uncorrupted"]),
    ],
)
def test_tags_name_network_and_corruptions(corruption: Any, tags: list[str]) -> None:
    """Each once."""
    data = {"class_path": "stratoscope.datamodules.Digits", "init_args": {"corruption": corruption}}
    parsed = dict_to_namespace({"model": {"class_path": "stratoscope.models.MLP"}, "data": data})
    assert tags_of(parsed) == tags


def test_a_run_of_other_peoples_data_has_the_tag_of_its_network() -> None:
    """Whatever their data take, or if the module has its own."""
    assert tags_of(dict_to_namespace({"model": {"class_path": "x.Net"}})) == ["Net", "uncorrupted"]
    named = {"model": {"class_path": "x.Net"}, "data": {"class_path": "x.Data", "init_args": {}}}
    assert tags_of(dict_to_namespace(named)) == ["Net", "uncorrupted"]


def test_a_group_is_an_experiment_at_a_scale() -> None:
    """By their names."""
    assert group_of("zhang2017/figure1", "small") == "zhang2017/figure1/small"


@pytest.mark.parametrize(
    ("lines", "there"),
    [
        ("machine 127.0.0.1 login user password 0123", True),
        ("machine other.org login user password 0123", False),
        ("machine", False),
        (None, False),
    ],
)
def test_a_key_may_be_in_netrc(lines: str | None, there: bool) -> None:
    """For the server's machine; a damaged file, or none, has no key."""
    if lines is not None:
        Path(os.environ["NETRC"]).write_text(lines)
    assert has_key() == there
    os.environ["WANDB_API_KEY"] = "0123"
    assert has_key()


class Begun:
    """Stands for W&B's run of this process.

    Args:
        fails: Whether its end cannot be told.
    """

    def __init__(self, fails: bool = False) -> None:
        self.dir = "runs/one/wandb/run-1-x/files"
        self.fails = fails
        self.codes: list[Any] = []

    def finish(self, exit_code: Any) -> None:
        """End it."""
        self.codes.append(exit_code)
        if self.fails:
            raise BrokenPipeError


@pytest.mark.parametrize(("error", "code"), [(None, 0), (SystemExit(143), 143), (ValueError("x"), 1)])
def test_a_run_there_ends_as_the_run_here(
    error: BaseException | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Well, with the code of a signal, or failed."""
    run = Begun()
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    if error is None:
        with wandb_finished():
            pass
    else:
        with pytest.raises(type(error)), wandb_finished():
            raise error
    assert run.codes == [code]


def test_a_mirror_that_breaks_leaves_the_run_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user is told what was not sent."""
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=Begun(fails=True)))
    with wandb_finished():
        pass
    assert capsys.readouterr().out == "W&B has not taken everything; later: wandb sync runs/one/wandb/run-1-x\n"


def test_without_wandb_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not even imported."""
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with wandb_finished():
        pass
    assert "wandb" not in sys.modules
