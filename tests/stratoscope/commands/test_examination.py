"""Tests of stratoscope/commands/examination.py: what is found on a machine."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import pytest

from stratoscope.commands import examination
from stratoscope.commands.examination import examined


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


@pytest.mark.realdata
def test_data_are_compared_with_their_digests() -> None:
    """The real CIFAR-10 is named, with the hashes that run.json holds."""
    folder = os.environ.get("STRATOSCOPE_TEST_CIFAR10", "")
    if not Path(folder).is_dir() or not folder:
        pytest.skip("STRATOSCOPE_TEST_CIFAR10 names no folder")
    text, healthy = examined(folder)
    assert healthy
    assert f"CIFAR10 in {folder}, SHA-256 train " in text


def test_data_with_the_published_digests_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the beginnings of their hashes; it is enough that the folder holds one of the data sets."""

    class Whole:
        """Stands for data whose files are the published ones."""

        def __init__(self, root: str) -> None:
            self.root = root

        def prepare_data(self) -> None:
            """The files are there."""

        setup = prepare_data

        def content_hashes(self) -> dict[str, str]:
            """Of each set."""
            return {"train": "0123456789abcdef" * 4, "test": "f" * 64}

    monkeypatch.setattr(examination, "CIFAR100", Whole)
    text, healthy = examined(str(tmp_path))
    assert healthy
    assert f"Whole in {tmp_path}, SHA-256 train 0123456789abcdef, test {'f' * 16}\n" in text


def test_a_missing_package_is_wrong_unless_it_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B is needed by the runs that log to it only."""

    def without(name: str) -> str:
        if name in {"wandb", "torchmetrics"}:
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(examination, "version", without)
    text, healthy = examined()
    assert not healthy
    assert "!!  torchmetrics: it is not installed" in text
    (line,) = [line for line in text.splitlines() if line.startswith("ok  wandb")]
    assert line.endswith("not installed, which only runs that log to it need")


def test_a_full_disk_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the folder of runs, or of the nearest folder above it that there is."""
    looked: list[Path] = []

    def nearly_full(place: Path) -> SimpleNamespace:
        looked.append(place)
        return SimpleNamespace(free=2**30)

    monkeypatch.setattr("shutil.disk_usage", nearly_full)
    text, healthy = examined(runs=str(tmp_path / "some" / "runs"))
    assert looked == [tmp_path]
    assert not healthy
    assert f"!!  disk: 1.0 GiB are left in {tmp_path}" in text
