"""Tests of stratoscope/commands/doctor.py; what is examined is tested in test_examination.py."""

from pathlib import Path

import pytest

from stratoscope.commands import examination
from stratoscope.commands.table import main


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there


def test_a_folder_without_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is expected there; the exit code is 1."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", str(tmp_path)])
    assert ended.value.code == 1
    assert f"!!  data: no CIFAR-10 in {tmp_path}" in capsys.readouterr().out


def test_a_healthy_machine_ends_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found is printed, and the exit code is 0; without a folder no data are looked at."""
    asked: list[str | None] = []

    def examined(data: str | None) -> tuple[str, bool]:
        asked.append(data)
        return "nothing is wrong", True

    monkeypatch.setattr(examination, "examined", examined)
    main(["doctor"])
    assert asked == [None]
    assert capsys.readouterr().out == "nothing is wrong\n"


def test_too_many_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "a", "b"])
    assert ended.value.code == 2
    assert "doctor: too many words: b" in capsys.readouterr().err
