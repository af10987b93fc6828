"""Tests of callbacks/guards/exact_resume.py in a plain Trainer; whole runs are in test_trajectories.py."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from stratoscope.callbacks import ExactResume
from tests.callbacks.guards.plain_trainer import STEPS, Logging, data, stopped, trainer


def ended(callbacks: list[Callback], file: Path | None = None, **settings: Any) -> tuple[Logging, Trainer]:
    """A training from seed 0, or one that goes on."""
    torch.manual_seed(0)
    module, run = Logging(), trainer(callbacks, **settings)
    run.fit(module, datamodule=data(), ckpt_path=file, weights_only=False)
    return module, run


class Drawing(Callback):
    """Draws from all global generators between steps."""

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """As an instrument that is not careful."""
        torch.rand(3)
        np.random.random()
        random.random()


class Noting(Callback):
    """Notes what the global generators give in every step."""

    def __init__(self) -> None:
        self.numbers: list[tuple[float, float]] = []

    def on_before_zero_grad(self, *_: Any, **__: Any) -> None:
        """In the step, behind the seeding."""
        self.numbers.append((float(np.random.random()), float(torch.rand(()))))


def test_random_numbers_of_a_step_depend_on_nothing_but_seed_and_place() -> None:
    """Whatever was drawn before; every step and every seed has its own."""
    found: list[list[tuple[float, ...]]] = []
    for guards in ([ExactResume(1)], [ExactResume(1), Drawing()], [ExactResume(2)]):
        noting = Noting()
        module, _ = ended([*guards, noting], limit_val_batches=len(found))
        found.append([*noting.numbers, *module.drawn])
    assert found[0] == found[1]
    assert not {*found[0]} & {*found[2]}
    assert len({*found[0]}) == len(found[0]) == 2 * 2 * STEPS


@pytest.fixture(scope="module")
def whole() -> tuple[Logging, Trainer]:
    """The uninterrupted training."""
    return ended([ExactResume(1)])


@pytest.mark.parametrize(
    ("hook", "epoch", "step"),
    [
        ("on_train_batch_end", 0, 1),
        ("on_train_batch_end", 1, STEPS - 1),
        ("on_validation_end", 1, 0),
        ("on_train_epoch_start", 1, 0),
        ("on_train_end", 2, 0),
    ],
)
@pytest.mark.parametrize("bound", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 2 * STEPS}])
def test_an_interrupted_training_ends_as_the_uninterrupted_one(
    hook: str, epoch: int, step: int, bound: dict[str, int], whole: tuple[Logging, Trainer], tmp_path: Path
) -> None:
    """Weights, optimiser, schedule, metrics, counters and random numbers, wherever it was stopped."""
    file = stopped(tmp_path / "file", hook, epoch, step, [ExactResume(1)], **bound)
    module, run = ended([ExactResume(1)], file, **bound)
    (expected, alone), states = whole, [one.optimizers[0].state_dict() for one in (whole[1], run)]
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in expected.state_dict().items())
    assert str(states[0]) == str(states[1])
    assert run.lr_scheduler_configs[0].scheduler.state_dict() == alone.lr_scheduler_configs[0].scheduler.state_dict()
    assert run.callback_metrics == alone.callback_metrics
    assert {"mean", "most", "accuracy", "val"} == alone.callback_metrics.keys()
    assert (run.global_step, run.current_epoch) == (alone.global_step, alone.current_epoch) == (2 * STEPS, 2)
    assert module.drawn == expected.drawn[len(expected.drawn) - len(module.drawn) :]


def test_that_a_callback_has_asked_to_stop_is_kept(tmp_path: Path) -> None:
    """Training that goes on in its own folder ends with that epoch; one that starts from it elsewhere does not."""

    def stops() -> list[Callback]:
        return [ExactResume(1), EarlyStopping("val", patience=1, min_delta=100.0)]

    own, other = ({"max_epochs": 5, "default_root_dir": tmp_path / name} for name in ("own", "other"))
    (tmp_path / "own").mkdir()
    file = stopped(tmp_path / "own" / "file", "on_train_end", 2, 0, stops(), **own)
    assert ended(stops(), file, **own)[1].current_epoch == 2
    assert ended(stops(), file, **other)[1].current_epoch == 3  # where it stops again


def test_a_checkpoint_without_its_part_is_gone_on_from(tmp_path: Path) -> None:
    """One that Lightning has written alone: to the same number of steps, with the random numbers of their places."""
    file = stopped(tmp_path / "file", "on_train_batch_end", 0, 1)
    assert "exact_resume" not in torch.load(file, weights_only=False)
    module, run = ended([ExactResume(1)], file)
    assert (run.global_step, run.current_epoch) == (2 * STEPS, 2)
    assert [place[:2] for place in module.drawn] == [(0, 2), (0, 3), *((1, step) for step in range(STEPS))]
