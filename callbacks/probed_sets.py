"""Which samples an instrument reads, and from where: the trainer's own loaders, read by index and out of turn."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from stratoscope.callbacks.set_names import set_names
from stratoscope.probes import HELD_OUT

TRAIN, TRUE, GIVEN = "train", "true_label", "given_label"
QUICK = 100  # samples of a set that --trainer.fast_dev_run reads


@dataclass(frozen=True)
class ProbedSet:
    """Samples of a loader's data set.

    Attributes:
        loader: Whose data set, collate function and workers are used.
        indices: The samples, in order.
    """

    loader: DataLoader[Any]
    indices: list[int]

    def blocks(self, blocks: list[list[int]]) -> DataLoader[Any]:
        """Batches of the samples in the given blocks, without a draw from any global generator."""
        return DataLoader(
            self.loader.dataset,
            batch_sampler=blocks,
            collate_fn=self.loader.collate_fn,
            num_workers=self.loader.num_workers,
            worker_init_fn=self.loader.worker_init_fn,
            multiprocessing_context=self.loader.multiprocessing_context,
            generator=torch.Generator(),
        )


@dataclass(frozen=True)
class SampleChoice:
    """Which training samples probes are fitted on, and which are held out.

    Attributes:
        fitted: Size of the random part to fit on; None takes all that are not held out.
        held_out: Samples that no probe is fitted on.
        seed: Decides the random parts.
    """

    fitted: int | None
    held_out: int
    seed: int

    def size(self, available: int) -> int:
        """How many training samples the probes are fitted on.

        Args:
            available: Size of the training set.

        Raises:
            ValueError: If there are not enough for them and the held-out ones.
        """
        size = available - self.held_out if self.fitted is None else self.fitted
        if size < 1 or size + self.held_out > available:
            wanted = f"{self.held_out} held-out" + (f" and {size} training" if self.fitted else "")
            raise ValueError(f"LinearProbes cannot take {wanted} samples from {available}: some must be left to fit on")
        return size

    def __call__(self, indices: list[int]) -> tuple[list[int], list[int]]:
        """Samples to fit on and held-out ones, of those there are, each in ascending order."""
        if self.fitted is None and not self.held_out:
            return indices, []
        order = np.argsort(np.random.PCG64(self.seed).random_raw(len(indices)), kind="stable")
        size = self.size(len(indices))
        fitted, held_out = order[:size], order[size : size + self.held_out]
        return sorted(indices[place] for place in fitted), sorted(indices[place] for place in held_out)


def probed_sets(trainer: Trainer, choice: SampleChoice) -> dict[str, ProbedSet]:
    """The sets to read, by name: training samples, held-out ones if any, and every validation set.

    Raises:
        ValueError: If there is no training set, or too few samples in it.
        TypeError: If a set cannot be read by index.
    """
    loaders = {TRAIN: _training_loader(trainer)}
    held_out = _held_out_loaders(trainer)
    loaders |= dict(zip(set_names(held_out), held_out, strict=True))
    sets = {}
    for split, loader in loaders.items():
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            raise TypeError(f"LinearProbes needs a DataLoader over an indexed data set for {split}, got {loader!r}")
        indices = _samples(loader)
        if split == TRAIN:
            indices, left = choice(indices)
            if left:
                sets[HELD_OUT] = ProbedSet(loader, left)
        quick = trainer.fast_dev_run  # type: ignore[attr-defined]
        sets[split] = ProbedSet(loader, indices[:QUICK] if quick else indices)
    return sets


def _training_loader(trainer: Trainer) -> Any:
    """The training loader, also where there is no training.

    Raises:
        ValueError: If there is none.
    """
    if trainer.state.fn == TrainerFn.FITTING:
        loaders = CombinedLoader(trainer.train_dataloader).flattened
        if len(loaders) == 1:
            return loaders[0]
        raise ValueError(f"LinearProbes needs one training loader, got {len(loaders)}")
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if datamodule is not None:
        datamodule.setup("fit")
    source = datamodule or trainer.lightning_module
    if not is_overridden("train_dataloader", source):
        raise ValueError("LinearProbes needs the training set to fit on: validate with a data module that has one")
    return source.train_dataloader()


def _held_out_loaders(trainer: Trainer) -> list[Any]:
    """The validation loaders, which Lightning may not have asked for yet."""
    loaders = trainer.val_dataloaders
    if loaders is None and trainer.state.fn == TrainerFn.FITTING:
        source = trainer.fit_loop.epoch_loop.val_loop._data_source
        loaders = source.dataloader() if source.is_defined() else None
    return [] if loaders is None else CombinedLoader(loaders).flattened


def _samples(loader: DataLoader[Any]) -> list[int]:
    """Which samples of its data set a loader gives, without asking its sampler, which may draw.

    Raises:
        TypeError: If that cannot be known.
    """
    sampler, size = loader.sampler, len(loader.dataset)  # type: ignore[arg-type]
    sampler = getattr(getattr(sampler, "dataset", None), "_sampler", sampler)  # as Lightning wraps it
    if isinstance(indices := getattr(sampler, "indices", None), Sequence):
        return sorted(int(index) for index in indices)
    if isinstance(sampler, DistributedSampler) or not isinstance(sampler, Sized) or len(sampler) == size:
        return list(range(size))
    raise TypeError(f"LinearProbes cannot tell which {len(sampler)} of {size} samples {type(sampler).__name__} takes")


def labelled_batch(trainer: Trainer, batch: Any) -> dict[str, Tensor]:
    """Image, true and given labels of a batch, on the network's device and in its input precision.

    Raises:
        TypeError: If it is not clear what is what.
    """
    return batch_fields(trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch)), "LinearProbes")


def batch_fields(batch: Any, reader: str) -> dict[str, Tensor]:
    """Image, true and given labels of a batch; of a pair (image, label) both kinds of labels are the same tensor.

    Args:
        batch: As the loader gives it.
        reader: Who reads it, for the message.

    Raises:
        TypeError: If it is not clear what is what.
    """
    found: list[Any] = []
    if hasattr(batch, "true_label"):
        found = [batch.image, batch.true_label, batch.given_label]
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        found = [batch[0], batch[1], batch[1]]
    parts = {name: part for name, part in zip(("image", TRUE, GIVEN), found, strict=False) if isinstance(part, Tensor)}
    if len(parts) < 3 or any(parts[kind].ndim != 1 or parts[kind].is_floating_point() for kind in (TRUE, GIVEN)):
        raise TypeError(
            f"{reader} needs batches (image, label), or with the fields image, given_label and true_label, with a "
            f"whole number as label of each image; got {type(batch).__name__}"
        )
    return parts
