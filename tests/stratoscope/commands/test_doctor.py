"""Tests of stratoscope/commands/doctor.py."""

import os
import socket
from http.server import HTTPServer, SimpleHTTPRequestHandler
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import pytest

from stratoscope.commands.examination import examined
from stratoscope.commands.table import main
from stratoscope.fit.wandb_setup import reachable


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there


def test_a_healthy_machine_is_well(tmp_path: Path) -> None:
    """Every subject has its line, and the last one says so."""
    text, healthy = examined(runs=str(tmp_path / "runs"))
    assert healthy
    assert text.splitlines()[-1] == "nothing is wrong"
    subjects = [line.split()[1] for line in text.splitlines() if line.startswith("ok")]
    assert subjects[:4] == ["stratoscope", "lightning", "torch", "torchvision"]
    assert {"processor", "disk", "W&B", "data"} <= set(subjects)
    assert "http://127.0.0.1:9 is not reachable" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("package", "number", "reason"),
    [
        ("lightning", "2.6.2", "lightning: version 2.6.2 carried malware"),
        ("torchmetrics", "1.2.0", "torchmetrics: version 1.2.0 does not satisfy >=1.8"),
        ("torchvision", "0.26.1", "torchvision: version 0.26.1 was built for another torch"),
    ],
)
def test_bad_versions_are_named(package: str, number: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Malware, versions that are too old, and a torchvision of another torch."""
    monkeypatch.setattr(
        "stratoscope.commands.examination.version", lambda name: number if name == package else version(name)
    )
    text, healthy = examined()
    assert not healthy
    assert any(line.startswith(f"!!  {reason}") for line in text.splitlines())


def test_a_folder_without_data_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what is expected there; the exit code is 1."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", str(tmp_path)])
    assert ended.value.code == 1
    assert f"!!  data: no CIFAR-10 in {tmp_path}" in capsys.readouterr().out


@pytest.mark.realdata
def test_data_are_compared_with_their_digests() -> None:
    """The real CIFAR-10 is named, with the hashes that run.json holds."""
    folder = os.environ.get("STRATOSCOPE_TEST_CIFAR10", "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip("STRATOSCOPE_TEST_CIFAR10 names no folder")
    text, healthy = examined(folder)
    assert healthy
    assert f"CIFAR10 in {folder}, SHA-256 train " in text


def test_too_many_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "a", "b"])
    assert ended.value.code == 2
    assert "doctor: too many words: b" in capsys.readouterr().err


def test_a_server_that_answers_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none that is silent, at a port where nobody listens, or an address that is none."""
    assert not reachable()
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as answering:
        Thread(target=answering.handle_request, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{answering.server_port}")
        assert reachable()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not reachable()
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:no")
    assert not reachable()
