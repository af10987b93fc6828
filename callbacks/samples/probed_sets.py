"""Which samples an instrument reads, and from where: the trainer's own loaders, read by index and out of turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from stratoscope.callbacks.samples.loader_samples import given_samples
from stratoscope.datamodules.set_names import named_sets
from stratoscope.probes import HELD_OUT, LabelledBatch, UnreadableBatch, read_batch
from stratoscope.probes.reading.batches import BatchReading

TRAIN, TRUE, GIVEN = "train", "true_label", "given_label"
QUICK = 100  # samples of a set that --trainer.fast_dev_run reads


@dataclass(frozen=True)
class ProbedSet:
    """Samples of a loader's data set.

    Attributes:
        loader: Whose data set, collate function and workers are used.
        indices: The samples, in order.
        which: What part of the data set they are, in words; empty if they are all.
        place: Of the loader among the validation loaders.
    """

    loader: DataLoader[Any]
    indices: list[int]
    which: str = ""
    place: int = 0

    def blocks(self, blocks: list[list[int]]) -> DataLoader[Any]:
        """Batches of the samples in the given blocks, without a draw from any global generator."""
        form: dict[str, Any] = {"batch_sampler": blocks}
        if self.loader.batch_sampler is None:  # its data set takes lists of indices
            form = {"sampler": blocks, "batch_size": None}
        return DataLoader(
            self.loader.dataset,
            **form,
            collate_fn=self.loader.collate_fn,
            num_workers=self.loader.num_workers,
            worker_init_fn=self.loader.worker_init_fn,
            multiprocessing_context=self.loader.multiprocessing_context,
            generator=torch.Generator(),
        )


@dataclass(frozen=True)
class SampleChoice:
    """Which training samples probes are fitted on, and which samples are held out.

    Attributes:
        fitted: Size of the random part to fit on; None takes all that are not held out.
        held_out: Samples that no probe is fitted on, nor scored on.
        seed: Decides the random parts.
        held_out_from: The set they are of: `train`, or `test`, which is the first validation set.
        reader: Who reads them, for messages.
    """

    fitted: int | None
    held_out: int
    seed: int
    held_out_from: str = TRAIN
    reader: str = "LinearProbes"

    def size(self, available: int) -> int:
        """How many training samples the probes are fitted on.

        Args:
            available: Size of the training set.

        Raises:
            ValueError: If there are not enough for them and the held-out ones.
        """
        held_out = self.held_out if self.held_out_from == TRAIN else 0
        size = available - held_out if self.fitted is None else self.fitted
        if size < 2 or size + held_out > available:
            wanted = [f"{held_out} held-out"] * bool(held_out) + [f"{size} training"] * bool(
                self.fitted or not held_out
            )
            raise ValueError(
                f"{self.reader} cannot take {' and '.join(wanted)} samples from {available}: "
                "two or more must be left to read"
            )
        return size

    def __call__(self, indices: list[int]) -> tuple[list[int], list[int]]:
        """Samples to fit on and held-out ones, of the training samples there are, each in ascending order."""
        held_out = self.held_out if self.held_out_from == TRAIN else 0
        if self.fitted is None and not held_out:
            return indices, []
        return self._parts(indices, self.size(len(indices)), held_out)

    def of_test(self, indices: list[int], split: str) -> tuple[list[int], list[int]]:
        """Samples to score on and held-out ones, of a test set, each in ascending order.

        Args:
            indices: The samples of the set.
            split: Its name.

        Raises:
            ValueError: If none would be left to score on.
        """
        if self.held_out >= len(indices):
            raise ValueError(
                f"{self.reader} cannot hold {self.held_out} of {len(indices)} {split} samples out: some must be left "
                "to score on"
            )
        return self._parts(indices, len(indices) - self.held_out, self.held_out)

    def _parts(self, indices: list[int], first: int, second: int) -> tuple[list[int], list[int]]:
        order = np.argsort(np.random.PCG64(self.seed).random_raw(len(indices)), kind="stable")
        parts = order[:first], order[first : first + second]
        one, other = (sorted(indices[place] for place in part) for part in parts)
        return one, other


def probed_sets(
    trainer: Trainer, choice: SampleChoice, readable: Callable[[ProbedSet], object], limit_tests: float | None = None
) -> dict[str, ProbedSet]:
    """The sets to read, by name: training samples, held-out ones if any, and every validation set.

    Args:
        trainer: Whose loaders.
        choice: Of the training samples.
        readable: Reads some samples of a set and raises an error if there are no labels: of several training loaders
            the one is taken that has them.
        limit_tests: How much is read of validation sets, as Lightning's limits say (see `given_samples`); None reads
            all.

    Raises:
        ValueError: If there is no training set, or too few samples in it.
        TypeError: If a set cannot be read by index.
    """
    quick = QUICK if trainer.fast_dev_run else None  # type: ignore[attr-defined]
    limit = None if quick else trainer.limit_train_batches
    sets: dict[str, ProbedSet] = {}
    found = [
        ProbedSet(loader, *given_samples(loader, TRAIN, limit, choice.reader))
        for loader in _training_loaders(trainer, choice.reader)
    ]
    train = found[0] if len(found) == 1 else _the_labelled(found, readable, choice.reader)
    if choice.fitted and train.which:  # there are as many as are trained on, not as many as the set has
        choice = replace(choice, fitted=max(1, min(choice.fitted, len(train.indices) - choice.held_out)))
    fitted, left = choice(train.indices)
    if left:
        sets[HELD_OUT] = replace(train, indices=left)
    sets[TRAIN] = replace(train, indices=fitted[:quick])
    for place, (split, loader) in enumerate(_held_out_loaders(trainer).items()):
        indices, which = given_samples(loader, split, limit_tests, choice.reader)
        sets[split] = ProbedSet(loader, indices[:quick], which, place)
    tests = [split for split in sets if split not in {TRAIN, HELD_OUT}]
    if choice.held_out and choice.held_out_from != TRAIN:
        if not tests:
            raise ValueError("held_out_from: test needs a validation set, to hold samples of it out")
        whole = sets[tests[0]]
        scored, left = choice.of_test(whole.indices, tests[0])
        which = f"{len(scored):,} of {len(whole.indices):,}, as the others are held out to choose a ridge"
        sets[tests[0]] = replace(whole, indices=scored, which="; ".join(filter(None, [whole.which, which])))
        sets = {HELD_OUT: replace(whole, indices=left), **sets}
    return sets


def _the_labelled(found: list[ProbedSet], readable: Callable[[ProbedSet], object], reader: str) -> ProbedSet:
    """The training set that has labels, of several.

    Raises:
        ValueError: If not exactly one has.
    """
    labelled: list[ProbedSet] = []
    for part in found:
        try:
            readable(part)
        except UnreadableBatch:
            continue
        labelled.append(part)
    if len(labelled) == 1:
        return labelled[0]
    raise ValueError(
        f"{reader} needs one training loader whose batches have labels, got {len(found)} loaders, {len(labelled)} "
        "of them with labels: give batch, which says where image and label are, so that it fits exactly one of them"
    )


def _training_loaders(trainer: Trainer, reader: str) -> list[Any]:
    """The training loaders, also where there is no training.

    Raises:
        ValueError: If there are none.
    """
    if trainer.state.fn == TrainerFn.FITTING:
        return CombinedLoader(trainer.train_dataloader).flattened
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if datamodule is not None:
        datamodule.setup("fit")
    source = datamodule or trainer.lightning_module
    if not is_overridden("train_dataloader", source):
        raise ValueError(f"{reader} needs the training set: validate with a data module that has one")
    return CombinedLoader(source.train_dataloader()).flattened


def _held_out_loaders(trainer: Trainer) -> dict[str, Any]:
    """The validation loaders by name, which Lightning may not have asked for yet."""
    loaders = trainer.val_dataloaders
    if loaders is None and trainer.state.fn == TrainerFn.FITTING:
        source = trainer.fit_loop.epoch_loop.val_loop._data_source
        loaders = source.dataloader() if source.is_defined() else None
    return {} if loaders is None else named_sets(loaders)


@contextmanager
def as_validated(trainer: Trainer) -> Iterator[None]:
    """Within the block the trainer says that it validates, so that batches are moved and changed as in validation.

    What people do to batches in `on_after_batch_transfer` depends on it: training batches are augmented there, and
    samples are to be read as they are.

    Args:
        trainer: The trainer.

    Yields:
        Nothing; read inside the block.
    """
    stage = trainer.state.stage
    trainer.state.stage = RunningStage.VALIDATING
    try:
        yield
    finally:
        trainer.state.stage = stage


def labelled_batch(
    trainer: Trainer, batch: Any, place: int = 0, reading: BatchReading | None = None, reader: str = "LinearProbes"
) -> LabelledBatch:
    """Images and labels of a batch, on the network's device and in its input precision.

    Args:
        trainer: The trainer.
        batch: As the loader gives it.
        place: Of the loader among those of its kind.
        reading: What it consists of, see `read_batch`.
        reader: Who reads, for the message.

    Raises:
        UnreadableBatch: If it is not clear what is what.
    """
    moved = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch), dataloader_idx=place)
    return read_batch(moved, reading, reader)
