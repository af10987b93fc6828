"""Tests of callbacks/guards/exact_loops.py; runs that are stopped and go on are in test_exact_resume.py."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loops.fit_loop import _FitLoop

from stratoscope.callbacks.guards.exact_loops import (
    ExactEpochLoop,
    ExactFitLoop,
    exact,
    finished_epochs,
    settle,
    within_epoch,
)
from tests.callbacks.guards.plain_trainer import STEPS, Logging, data, stopped, trainer


def progress(file: Path) -> dict[str, Any]:
    """The counters of a checkpoint."""
    found: dict[str, Any] = torch.load(file, weights_only=False)["loops"]["fit_loop"]
    return found


def test_the_loops_of_a_plain_trainer_become_exact_and_others_stay() -> None:
    """Once; loops that somebody has put in place are left alone."""
    run = trainer([])
    loop = exact(run)
    assert isinstance(loop, ExactEpochLoop)
    assert isinstance(run.fit_loop, ExactFitLoop)
    assert exact(run) is loop

    class Somebodys(_FitLoop):
        """A loop of their own."""

    other = trainer([])
    other.fit_loop.__class__ = Somebodys
    assert exact(other) is None
    assert type(other.fit_loop) is Somebodys


def test_training_with_exact_loops_is_lightnings_own() -> None:
    """Weights and counters, of a run that nothing interrupts."""
    ends = []
    for change in (False, True):
        torch.manual_seed(0)
        module, run = Logging(), trainer([])
        if change:
            exact(run)
        run.fit(module, datamodule=data())
        ends.append((module.state_dict(), module.drawn, run.global_step, run.current_epoch))
    assert all(torch.equal(value, ends[1][0][name]) for name, value in ends[0][0].items())
    assert ends[0][1:] == ends[1][1:]


@pytest.mark.parametrize("bound", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 2 * STEPS}])
def test_checkpoints_of_one_place_have_one_set_of_counters(bound: dict[str, Any], tmp_path: Path) -> None:
    """Behind the last step of an epoch, in whichever hook they were written; but for whether it was validated."""
    found = {}
    for hook in ("on_train_batch_end", "on_validation_start", "on_validation_end"):
        counters = progress(stopped(tmp_path / hook, hook, 0, **bound))
        assert within_epoch(counters)
        found[hook] = (settle(counters), counters)
        again = copy.deepcopy(counters)
        settle(again)
        assert again == counters
    keys = ("epoch_progress", "epoch_loop.batch_progress")
    first, *others = ({key: counters[key] for key in keys} for _, counters in found.values())
    assert all(other == first for other in others)
    assert first["epoch_progress"]["current"] == {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    assert set(first["epoch_loop.batch_progress"]["current"].values()) == {STEPS}
    assert not found["on_train_batch_end"][0]
    assert found["on_validation_end"][0]


def test_a_checkpoint_behind_an_epoch_is_not_within_one(tmp_path: Path) -> None:
    """Its next batch is the first of an epoch, so what the loader has taken is forgotten."""
    counters = progress(stopped(tmp_path / "file", "on_train_epoch_start", 1))
    assert not within_epoch(counters)
    assert not settle(counters)
    assert counters["epoch_progress"]["current"] == dict.fromkeys(("ready", "started", "processed", "completed"), 1)
    assert "combined_loader" not in counters.get("state_dict", {})


def test_in_the_middle_of_an_epoch_the_place_in_the_loader_stays(tmp_path: Path) -> None:
    """Two of four batches are taken."""
    counters = progress(stopped(tmp_path / "file", "on_train_batch_end", 1, step=1))
    settle(counters)
    assert within_epoch(counters)
    assert counters["epoch_progress"]["current"] == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
    assert set(counters["epoch_loop.batch_progress"]["current"].values()) == {2}
    assert counters["state_dict"]["combined_loader"] == [{"taken": 2}]


def test_finished_epochs_are_counted(tmp_path: Path) -> None:
    """None in the first one, nor for weights without a history."""
    file = stopped(tmp_path / "file", "on_train_batch_end", 1, step=0)
    assert finished_epochs(torch.load(file, weights_only=False)) == 1
    file = stopped(tmp_path / "file", "on_train_batch_end", 0)
    assert finished_epochs(torch.load(file, weights_only=False)) == 0
    assert finished_epochs({"state_dict": {}}) == 0


def test_what_follows_a_step_is_known_before_it_comes() -> None:
    """The end of the epoch, and validations within it; a step in between is followed by a step."""
    seen: dict[int, bool] = {}
    run = trainer([], max_epochs=1, val_check_interval=2)
    loop = exact(run)
    assert loop is not None
    loop.after_step = lambda: seen.update({loop.batch_idx: loop.follows()})
    run.fit(Logging(), datamodule=data())
    assert seen == {0: False, 1: True, 2: False, 3: True}
