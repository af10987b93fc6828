"""Tests of stratoscope/fit/quiet.py."""

import os
import warnings
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from stratoscope.commands.table import main

FIT = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.max_steps 1"
HINT = "srun` command is available"


@pytest.fixture
def _srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and a cluster's srun on PATH as on the machine where people log in."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME", "STRATOSCOPE_RUN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def trainer() -> Trainer:
    """A Trainer, which looks for srun."""
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


@pytest.mark.usefixtures("_srun")
def test_lightning_speaks_of_srun() -> None:
    """Else the tests below could not fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=HINT):
            trainer()


@pytest.mark.usefixtures("_srun")
def test_these_tests_pass_where_srun_is() -> None:
    """Under the filters of pyproject.toml, by which every other warning fails a test."""
    trainer()


@pytest.mark.usefixtures("_srun")
def test_no_run_speaks_of_srun() -> None:
    """Under the filters a process begins with instead of the tests' own."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        main(FIT.split())
    assert [str(one.message) for one in said if HINT in str(one.message)] == []
