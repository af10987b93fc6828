"""The data module all image sets share: corrupted once, held in memory, served in exact batches."""

import os
from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.order import SequentialBatches, ShuffledBatches
from stratoscope.datamodules.whitening import per_image_whitening

EVALUATION_BATCH = 500  # samples per batch where no gradient is needed


class ImageSet(Dataset[Batch]):
    """A set held as one tensor; a batch is one gather and one whitening.

    Args:
        data: The whole set, pixels on the scale [0, 255].
    """

    def __init__(self, data: Batch) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.index)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return the batch of these samples, images whitened."""
        chosen = torch.tensor(indices)
        image, *labels = (part[chosen] for part in self.data)
        return Batch(per_image_whitening(image), *labels)

    def __getitem__(self, index: int) -> Batch:
        """Return one sample, as a batch of one without its first axis."""
        return Batch(*(part[0] for part in self.__getitems__([index])))


class ImageDataModule(LightningDataModule, ABC):
    """Images with true and given labels; subclasses say where they come from.

    The validation set is the test set: it is used to watch training, never to choose anything.

    Args:
        corruption: What is done to the data, drawn once; None leaves them as they are.
        batch_size: Training samples per step, over all devices together.
        seed: Decides the order of the training samples in every epoch; None takes the run's `seed_everything`.
    """

    classes: int = 10

    def __init__(self, corruption: Corruption | None = None, batch_size: int = 128, seed: int | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        super().__init__()
        self.corruption, self.batch_size, self.seed = corruption, batch_size, seed
        self._clean: tuple[Batch, Batch] | None = None
        self._sets: dict[str, ImageSet] = {}

    @abstractmethod
    def load(self) -> tuple[Batch, Batch]:
        """Return the original training and test sets, as uint8 images of the size the network sees."""

    def prepare_data(self) -> None:
        """Find, verify and decode the data; on one process per machine."""
        if not self._sets:
            self._clean = self.load()

    def setup(self, stage: str | None = None) -> None:
        """Apply the corruption; on every process.

        Args:
            stage: Unused: every stage sees the same sets.
        """
        if not self._sets:
            train, test = self._clean or self.load()
            if self.corruption is not None:
                train, test = self.corruption(train, test, self.classes)
            self._sets = {"train": ImageSet(train), "test": ImageSet(test)}
            self._clean = None

    def summary(self) -> str:
        """One line: how many samples, and how much of them the corruption really changed."""
        train, test = self._sets["train"].data, self._sets["test"].data
        changed = int((train.given_label != train.true_label).sum())
        name = "no corruption" if self.corruption is None else type(self.corruption).__name__
        return (
            f"{type(self).__name__}, {name}: {len(train.index):,} training and {len(test.index):,} test images, "
            f"{changed:,} training labels changed ({changed / len(train.index):.1%})"
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches in the order of (seed, epoch)."""
        data, (rank, ranks) = self._sets["train"], self._place()
        seed = self.seed if self.seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))
        return _loader(data, ShuffledBatches(len(data), self.batch_size, seed, rank, ranks))

    def val_dataloader(self) -> DataLoader[Batch]:
        """The test set, to watch it during training."""
        return self.test_dataloader()

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test set in its original order."""
        data, (rank, ranks) = self._sets["test"], self._place()
        return _loader(data, SequentialBatches(len(data), EVALUATION_BATCH, rank, ranks))

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test set in its original order."""
        return self.test_dataloader()

    def _place(self) -> tuple[int, int]:
        """This process and the number of processes.

        Raises:
            ValueError: If Lightning would deal out the samples a second time.
        """
        if self.trainer is None or self.trainer.world_size == 1:
            return 0, 1
        if self.trainer._accelerator_connector.use_distributed_sampler:
            raise ValueError(
                "on several devices use Trainer(use_distributed_sampler=False): these batches are dealt out already"
            )
        return self.trainer.global_rank, self.trainer.world_size


def _loader(data: ImageSet, batches: ShuffledBatches | SequentialBatches) -> DataLoader[Batch]:
    # A generator of its own, because every DataLoader iterator draws a number: training must not see validation.
    return DataLoader(data, batch_sampler=batches, collate_fn=_as_it_is, generator=torch.Generator())


def _as_it_is(batch: Any) -> Any:
    return batch


def labelled(image: Tensor, label: Tensor) -> Batch:
    """A clean set: the given labels are the true ones.

    Args:
        image: (n, channels, height, width), uint8.
        label: (n), integers.
    """
    return Batch(image, label.long(), label.long(), torch.arange(len(label)))
