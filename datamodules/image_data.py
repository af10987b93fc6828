"""The data module all image sets share: corrupted once, held on the device, served in exact batches."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stratoscope.datamodules.augmentation import Augmentation, draws
from stratoscope.datamodules.batch import Batch, Sets
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.draws import run_seed
from stratoscope.datamodules.normalisation import Name, channel_statistics, normalisation, per_image_whitening
from stratoscope.datamodules.order import SequentialBatches, ShuffledBatches

EVALUATION_BATCH = 500  # samples per batch where no gradient is needed


class ImageSet(Dataset[Batch]):
    """A set held as one tensor; a batch is one gather and one normalisation.

    Args:
        data: The whole set, pixels on the scale [0, 255].
        name: What it is called in metrics.
        normalise: Turns pixels into network inputs.
        augmentations: What happens to images in training; None trains without augmentation.
    """

    def __init__(
        self,
        data: Batch,
        name: str = "train",
        normalise: Callable[[Tensor], Tensor] = per_image_whitening,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self.data, self.name, self.normalise, self.augmentations = data, name, normalise, list(augmentations)

    def __len__(self) -> int:
        return len(self.data.index)

    def to(self, device: torch.device) -> None:
        """Move the whole set."""
        if self.data.image.device != device:
            self.data = Batch(*(part.to(device) for part in self.data))

    def read(self, index: Tensor, draw: Sequence[Tensor] | None = None) -> Batch:
        """Return the batch of these samples.

        Args:
            index: Positions in the set, on its device.
            draw: Random numbers of the whole set for each augmentation; None leaves them without augmentation.
        """
        image, *labels = (part.index_select(0, index) for part in self.data)
        for place, augmentation in enumerate(self.augmentations):
            image = augmentation.at_rest(image) if draw is None else augmentation(image, draw[place][index])
        return Batch(self.normalise(image), *labels)

    def __getitems__(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the batch of these samples, without augmentation."""
        return self.read(torch.as_tensor(indices, device=self.data.index.device))

    def __getitem__(self, index: int) -> Batch:
        """Return one sample, without augmentation, as a batch of one without its first axis."""
        return Batch(*(part[0] for part in self.__getitems__([index])))


class ImageLoader(DataLoader[Batch]):
    """A DataLoader whose batches are gathers on the device: no workers, no collating, no random draw.

    Args:
        dataset: The set; the first iteration moves it to the device.
        device: Of the batches.
        seed: Of the augmentations; None leaves images without augmentation.
        **settings: Of DataLoader; what makes up a batch is in `batch_sampler`, whose `epoch` decides the augmentations.
    """

    def __init__(self, dataset: ImageSet, device: torch.device, seed: int | None, **settings: Any) -> None:
        # the generator is for those who make a plain loader of this one: its draws must not disturb training
        super().__init__(dataset, **{"collate_fn": _as_it_is, "generator": torch.Generator(), **settings})
        self.data, self.device, self.seed = dataset, device, seed
        self.taken = 0

    def state_dict(self) -> dict[str, int]:
        """The place in the epoch: batches taken; 0 at its end."""
        return {"taken": self.taken % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration, of training batches, begin behind those taken."""
        if isinstance(self.batch_sampler, ShuffledBatches):
            self.batch_sampler.skip = self.taken = state["taken"]

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator is all that is needed
        data, epoch = self.data, getattr(self.batch_sampler, "epoch", None)
        data.to(self.device)
        draw = None
        if self.seed is not None and epoch is not None:
            draw = [words.to(self.device) for words in draws(data.augmentations, self.seed, epoch, len(data))]
        self.taken = getattr(self.batch_sampler, "skip", 0)
        for index in self.batch_sampler or ():
            self.taken += 1
            yield data.read(torch.as_tensor(index, device=self.device), draw)


class ImageDataModule(LightningDataModule, ABC):
    """Images with true and given labels; subclasses say where they come from.

    The validation sets are the test sets: they are used to watch training, never to choose anything.

    Args:
        corruption: What is done to the data, drawn once: one or several, in their order; None leaves them as they are.
        batch_size: Training samples per step, over all devices together.
        seed: Decides order and augmentation of the training samples in every epoch; None takes the run's
            `seed_everything`.
        augmentation: Random changes of training images, new in every epoch: one or several, in their order.
        normalisation: What the network sees: per_image (whitened: Zhang et al. 2017), per_channel (standardised), unit
            (0 to 1) or centred (-1/2 to 1/2).
    """

    classes: int = 10

    def __init__(
        self,
        corruption: Corruption | list[Corruption] | None = None,
        batch_size: int = 128,
        seed: int | None = None,
        augmentation: Augmentation | list[Augmentation] | None = None,
        normalisation: Name = "per_image",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        if normalisation not in get_args(Name):
            raise ValueError(f"normalisation must be one of {', '.join(get_args(Name))}, got {normalisation}")
        super().__init__()
        self.corruptions, self.augmentations = _listed(corruption), _listed(augmentation)
        self.batch_size, self.seed = batch_size, seed
        self.normalisation: Name = normalisation
        self._check_corruptions()
        self._clean: Sets = {}
        self._sets: dict[str, ImageSet] = {}
        self._changed: dict[str, tuple[int, float]] = {}  # labels, and share of the pixels, by set

    def _check_corruptions(self) -> None:
        """Refuse corruptions that do not fit the data, or each other.

        Raises:
            ValueError: If there are such.
        """
        kinds = {kind.__name__ for kind in type(self).__mro__}
        drawn: set[Any] = set()
        for corruption in self.corruptions:
            name = type(corruption).__name__
            if corruption.only_for and corruption.only_for not in kinds:
                raise ValueError(f"{name} is for {corruption.only_for}, not for {type(self).__name__}")
            # a subclass that only chooses arguments has the method, and so the random numbers, of its base
            source = (type(corruption).__call__, getattr(type(corruption), "measure", None), corruption.seed)
            if source in drawn:
                raise ValueError(f"{name} would draw the numbers of a corruption before it: give it another seed")
            drawn.add(source)

    @abstractmethod
    def load(self) -> Sets:
        """Return the original sets `train` and `test`, and further test sets by name, as uint8 images."""

    def prepare_data(self) -> None:
        """Find, verify and decode the data; on one process per machine."""
        if not self._sets:
            self._clean = self.load()

    def setup(self, stage: str | None = None) -> None:
        """Apply the corruptions; on every process.

        Args:
            stage: Unused: every stage sees the same sets.
        """
        if self._sets:
            return
        self._check_corruptions()  # again: those without a seed of their own have the run's, which may be another now
        clean = self._clean or self.load()
        sets = clean
        for corruption in self.corruptions:
            sets = corruption(sets, self.classes)
        normalise = normalisation(self.normalisation, sets["train"].image)
        for augmentation in self.augmentations:
            augmentation.fill = channel_statistics(sets["train"].image)[0]
        self._sets = {name: ImageSet(data, name, normalise, self.augmentations) for name, data in sets.items()}
        self._changed = {name: _changes(clean[name], data) for name, data in sets.items()}
        self._clean = {}

    @property
    def sets(self) -> dict[str, ImageSet]:
        """The sets by name, `train` and `test` first; after `setup`."""
        return self._sets

    def summary(self) -> str:
        """One line: how many samples, and how much of them the corruptions really changed."""
        names = ", ".join(type(corruption).__name__ for corruption in self.corruptions) or "no corruption"
        sizes = ", ".join(f"{len(data):,} {_said(name)}" for name, data in self._sets.items())
        changes = []
        for name, (labels, pixels) in self._changed.items():
            if labels or name == "train":
                changes.append(f"{labels:,} {_said(name)} labels ({labels / len(self._sets[name]):.1%})")
            if pixels:
                changes.append(f"{pixels:.1%} of the {_said(name)} pixels")
        seen = f"; normalised {self.normalisation}" if self.normalisation != "per_image" else ""
        if self.augmentations:
            seen += f"; augmented by {', '.join(type(one).__name__ for one in self.augmentations)}"
        return f"{type(self).__name__}, {names}: {sizes} images; changed: {', '.join(changes)}{seen}"

    def content_hashes(self) -> dict[str, str]:
        """SHA-256 of images, given and true labels of every set, as corrupted and before normalisation."""
        return {name: _content_hash(data.data) for name, data in self._sets.items()}

    def train_dataloader(self) -> ImageLoader:
        """Batches in the order, and with the augmentation, of (seed, epoch); overfit_batches: of the first epoch."""
        data, device = self._sets["train"], self._device()
        seed = run_seed() if self.seed is None else self.seed
        same = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        place = self._place() if self._trains() else (0, 1)  # who only looks takes no share of a batch
        batches = ShuffledBatches(len(data), self.batch_size, seed, *place, device, same)
        return ImageLoader(data, device, seed, batch_sampler=batches)

    def val_dataloader(self) -> ImageLoader | list[ImageLoader]:
        """The test sets, to watch them during training."""
        return self.test_dataloader()

    def test_dataloader(self) -> ImageLoader | list[ImageLoader]:
        """The test set in its original order; with further test sets all of them, in a list."""
        loaders = [self._evaluation_loader(name) for name in self._sets if name != "train"]
        return loaders[0] if len(loaders) == 1 else loaders

    def predict_dataloader(self) -> ImageLoader:
        """The original test set in its order; not the further ones."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, name: str) -> ImageLoader:
        data, device = self._sets[name], self._device()
        batches = SequentialBatches(len(data), EVALUATION_BATCH, *self._place(), device)
        return ImageLoader(data, device, None, batch_sampler=batches)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _trains(self) -> bool:
        """Whether the training set is read to train on, as far as is known yet."""
        return self.trainer is None or self.trainer.state.fn in {None, TrainerFn.FITTING}

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


def _as_it_is(batch: Any) -> Any:
    return batch


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _said(name: str) -> str:
    return "training" if name == "train" else name


def _changes(clean: Batch, data: Batch) -> tuple[int, float]:
    """Labels that differ from the true ones, and the share of pixels that differ from the original's."""
    labels = int((data.given_label != data.true_label).sum())
    if data.image is clean.image:
        return labels, 0.0
    pairs = zip(data.image.split(1000), data.index.split(1000), strict=True)
    pixels = sum(int((image != clean.image[index]).any(1).sum()) for image, index in pairs)
    return labels, pixels / (data.image[:, 0].numel() or 1)


def _content_hash(data: Batch) -> str:
    content = hashlib.sha256(f"{data.image.dtype} {tuple(data.image.shape)}".encode())
    for part in (data.image, data.given_label, data.true_label):
        content.update(part.cpu().contiguous().numpy().data)
    return content.hexdigest()
