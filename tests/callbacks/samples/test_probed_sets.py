"""Tests of callbacks/samples/probed_sets.py; which samples a loader gives is in test_loader_samples.py."""

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from stratoscope.callbacks.samples.probed_sets import (
    ProbedSet,
    SampleChoice,
    as_validated,
    labelled_batch,
    probed_sets,
)
from stratoscope.probes import HELD_OUT, UnreadableBatch

EVERY = list(range(100, 140))


def loader(size: int = 40, **options: Any) -> DataLoader[Any]:
    """Samples whose image and label are their index."""
    return DataLoader(TensorDataset(torch.arange(size, dtype=torch.float32)[:, None], torch.arange(size)), **options)


class Data(LightningModule):
    """Whose loaders a trainer has."""

    def __init__(self, train: Any, *tests: DataLoader[Any]) -> None:
        super().__init__()
        self.loaders = train, list(tests)

    def train_dataloader(self) -> Any:
        """The training set."""
        return self.loaders[0]


def sets(train: Any, *tests: DataLoader[Any], **choice: Any) -> dict[str, ProbedSet]:
    """What is read of some loaders, of a trainer that validates."""
    run = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    run.strategy._lightning_module = Data(train)
    if tests:
        run.validate_loop._combined_loader = CombinedLoader([*tests], "sequential")
    wanted = SampleChoice(**{"fitted": None, "held_out": 0, "seed": 0, **choice})
    run.state.fn = None
    run.validating = True
    return probed_sets(run, wanted, lambda part: labelled_batch(run, next(iter(part.blocks([part.indices[:2]])))))


def test_without_a_choice_all_samples_are_fitted() -> None:
    """In their order; none is held out."""
    assert SampleChoice(None, 0, 0)(EVERY) == (EVERY, [])
    assert SampleChoice(None, 0, 0).size(40) == 40


@pytest.mark.parametrize("fitted", [None, 25])
def test_parts_are_random_disjoint_and_in_order(fitted: int | None) -> None:
    """Of the sizes asked for, the same every time, others with another seed."""
    first, second = SampleChoice(fitted, 10, 3)(EVERY)
    assert (len(first), len(second)) == (fitted or 30, 10)
    assert first == sorted(first)
    assert second == sorted(second)
    assert not {*first} & {*second}
    assert {*first, *second} <= {*EVERY}
    assert SampleChoice(fitted, 10, 3)(EVERY) == (first, second)
    assert SampleChoice(fitted, 10, 4)(EVERY) != (first, second)
    assert second != EVERY[:10]


def test_samples_held_out_of_a_test_set_leave_the_training_set_whole() -> None:
    """And are those that no probe is scored on."""
    choice = SampleChoice(None, 10, 0, "test")
    assert choice(EVERY) == (EVERY, [])
    scored, left = choice.of_test(EVERY, "test")
    assert sorted([*scored, *left]) == EVERY
    assert len(left) == 10


@pytest.mark.parametrize(
    ("fitted", "held_out", "available", "message"),
    [
        (39, 2, 40, "cannot take 2 held-out and 39 training samples from 40"),
        (None, 39, 40, "cannot take 39 held-out samples from 40: two or more must be left to read"),
        (None, 0, 1, "cannot take 1 training samples from 1"),
    ],
)
def test_more_than_there_is_is_refused(fitted: int | None, held_out: int, available: int, message: str) -> None:
    """With what was asked for."""
    with pytest.raises(ValueError, match=message):
        SampleChoice(fitted, held_out, 0).size(available)


def test_some_of_a_test_set_must_be_left_to_score_on() -> None:
    """With its name."""
    with pytest.raises(ValueError, match="cannot hold 40 of 40 val samples out: some must be left"):
        SampleChoice(None, 40, 0, "test").of_test(EVERY, "val")


@pytest.mark.parametrize(
    "whole", [loader(batch_size=7), loader(batch_size=None, sampler=BatchSampler(SequentialSampler(EVERY), 7, False))]
)
def test_blocks_are_the_samples_asked_for(whole: DataLoader[Any]) -> None:
    """Also of a data set that takes lists of indices; nothing is drawn from the global generator."""
    before = torch.get_rng_state()
    found = [label.tolist() for _, label in ProbedSet(whole, EVERY).blocks([[3, 1], [2]])]
    assert found == [[3, 1], [2]]
    assert torch.equal(torch.get_rng_state(), before)


def test_every_set_has_its_name_and_its_samples() -> None:
    """Training samples first, held-out ones where there are any, then validation sets by number."""
    found = sets(loader(batch_size=4), loader(20), loader(30))
    assert {name: (len(part.indices), part.place) for name, part in found.items()} == {
        "train": (40, 0),
        "val": (20, 0),
        "val#2": (30, 1),
    }
    found = sets(loader(), loader(20), held_out=10)
    assert {name: len(part.indices) for name, part in found.items()} == {HELD_OUT: 10, "train": 30, "val": 20}
    assert not {*found[HELD_OUT].indices} & {*found["train"].indices}


def test_samples_held_out_of_the_first_validation_set_are_not_scored() -> None:
    """What is scored says so; without a validation set there are none."""
    found = sets(loader(), loader(20), loader(30), held_out=5, held_out_from="test")
    assert {name: len(part.indices) for name, part in found.items()} == {
        HELD_OUT: 5,
        "train": 40,
        "val": 15,
        "val#2": 30,
    }
    assert sorted([*found[HELD_OUT].indices, *found["val"].indices]) == list(range(20))
    assert found["val"].which == "15 of 20, as the others are held out to choose a ridge"
    with pytest.raises(ValueError, match="held_out_from: test needs a validation set"):
        sets(loader(), held_out=5, held_out_from="test")


def test_of_several_training_loaders_the_one_with_labels_is_read() -> None:
    """None, or two of them, are refused."""
    bare = DataLoader(TensorDataset(torch.zeros(9, 2)))
    assert len(sets([bare, loader(30)])["train"].indices) == 30
    for loaders, count in (([bare, bare], 0), ([loader(), loader()], 2)):
        with pytest.raises(ValueError, match=f"got 2 loaders, {count} of them with labels: give batch"):
            sets(loaders)


def test_samples_are_read_as_in_validation() -> None:
    """Within the block; afterwards, also when it raises, the trainer is where it was."""
    run = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    run.training = True

    def broken() -> None:
        with as_validated(run):
            assert run.validating
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        broken()
    assert run.state.stage is RunningStage.TRAINING


def test_a_batch_is_moved_and_read() -> None:
    """In the precision of the network's input; one that is not clear is refused."""
    run = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu", precision="64-true")
    run.strategy._lightning_module = Data(loader())
    batch = labelled_batch(run, [torch.ones(3, 2), torch.arange(3)])
    assert batch.image.dtype == torch.float64
    assert batch.given_label.tolist() == [0, 1, 2]
    with pytest.raises(UnreadableBatch, match="LinearProbes needs batches"):
        labelled_batch(run, [torch.ones(3, 2)])
