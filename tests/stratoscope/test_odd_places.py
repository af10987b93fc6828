"""Runs in odd places: folders with spaces and letters of other scripts, no home, no folder for temporary files."""

import csv
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stratoscope.commands.table import main
from tests.forked_runs import finish, forked, said

FIT = (
    "fit --model MLP --model.width 8 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 64 "
    "--data.test_size 20 --data.corruption RandomLabels "
    "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.callbacks LinearProbes "
    "--trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.01 --run r"
)
ODD = "Läufe  und Прогоны/第 1 回, 'β=½' & $HOME"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def assert_whole(run: Path) -> None:
    """A run left everything that it should."""
    for name in ("config.yaml", "run.json", "metrics.csv", "separability.png", "checkpoints/last.ckpt"):
        assert (run / name).is_file(), name
    with (run / "probes.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert {row["epoch"] for row in rows} == {"0", "1"}
    assert all(row["converged"] == "True" for row in rows)


def test_folders_may_have_spaces_and_letters_of_any_script() -> None:
    """The working directory and the folder of runs; such a run is finished, resumed and validated by its path."""
    Path(ODD).mkdir(parents=True)
    os.chdir(ODD)

    def child() -> None:
        main([*FIT.split(), "--runs", ODD])
        main(["resume", f"{ODD}/r"])
        stored = ["--ckpt_path", f"{ODD}/r/checkpoints/last.ckpt", "--runs", ODD]
        main(["validate", *FIT.replace("fit ", "").replace("--run r", "--run v").split(), *stored])

    assert finish(forked(child)) == 0, said()
    assert_whole(Path(ODD, "r"))
    assert f"run {ODD}/r is already finished" in said()
    assert f"done: {ODD}/v" in said()


def without_home() -> None:
    """As services start."""
    os.environ.pop("HOME")


def without_temporary_folder() -> None:
    """As after a job whose folder was cleaned up."""
    os.environ["TMPDIR"] = str(Path("nowhere").absolute())
    tempfile.tempdir = None  # it was looked up before


@pytest.mark.slow
@pytest.mark.parametrize("without", [without_home, without_temporary_folder])
def test_neither_a_home_nor_a_temporary_folder_is_needed(without: Callable[[], None]) -> None:
    """A run with probes, whose features are in files, is whole."""

    def child() -> None:
        without()
        main([*FIT.split(), "--trainer.callbacks.memory", "0.06"])

    assert finish(forked(child)) == 0, said()
    assert_whole(Path("runs/r"))
    assert not Path("nowhere").exists()
