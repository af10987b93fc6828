"""Tests of stratoscope/files/own_folder.py: nothing is written through a link that leads out of a folder."""

import contextlib
import os
from pathlib import Path

import pytest

from stratoscope.errors import Refused
from stratoscope.files.own_folder import check_links


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with files and folders in it."""
    run = tmp_path / "runs" / "one"
    (run / "checkpoints").mkdir(parents=True)
    (run / "metrics.csv").touch()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    return run


@pytest.mark.parametrize("name", ["lock", "checkpoints/last.ckpt", "wandb", ".hidden", "deep/er/est"])
@pytest.mark.parametrize("to", ["precious", "precious/file", "nowhere", "runs/one2"])
def test_a_link_that_leads_out_is_refused(name: str, to: str, run: Path, tmp_path: Path) -> None:
    """To a file, a folder, or what is not there yet; wherever it lies, and however it is written."""
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    for target in (tmp_path / to, os.path.relpath(tmp_path / to, (run / name).parent)):
        (run / name).symlink_to(target)
        with pytest.raises(Refused, match=f"{run / name} is a link that leads out of {run}, to {tmp_path / to}: "):
            check_links(run)
        (run / name).unlink()
    check_links(run)


@pytest.mark.parametrize("to", ["loop", "other"])
def test_a_loop_of_links_is_no_error_of_its_own(to: str, run: Path) -> None:
    """It ends nowhere: refused at most."""
    (run / "loop").symlink_to(to)
    (run / "other").symlink_to("loop")
    with contextlib.suppress(Refused):
        check_links(run)


def test_only_the_part_that_is_written_into_is_looked_at(run: Path, tmp_path: Path) -> None:
    """And that part itself."""
    (run / "out").symlink_to(tmp_path / "precious")
    check_links(run, "checkpoints")
    check_links(run, "not there")
    for part in ("", "out"):
        with pytest.raises(Refused, match="out is a link"):
            check_links(run, part)


def test_links_above_a_folder_and_within_it_are_followed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of runs on another disk, a run's own folder there, and links from a run into itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk").mkdir()
    run.rename(tmp_path / "disk" / "one")
    run.symlink_to(tmp_path / "disk" / "one")
    (run / "latest.csv").symlink_to("metrics.csv")
    run.parent.rename(tmp_path / "disk" / "runs")
    Path("runs").symlink_to("disk/runs")
    check_links(Path("runs/one"))


def test_ended_runs_of_wandb_may_lead_to_its_log(run: Path) -> None:
    """They hold a link that W&B makes itself, and are not written again; other folders of it are looked at."""
    for name, fine in (("offline-run-20261128_011705-22505a87", True), ("run-20261128_1-a", True), ("latest", False)):
        logs = run / "wandb" / name / "logs"
        logs.mkdir(parents=True)
        (logs / "debug-core.log").symlink_to("/somewhere/else.log")
        if fine:
            check_links(run)
        else:
            with pytest.raises(Refused, match=r"latest/logs/debug-core\.log is a link"):
                check_links(run)
