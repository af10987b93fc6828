"""What a module of other people's is tried with: its data, how they are packed into batches, and what is expected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

SAMPLES = {"train": 96, "test": 48}
BATCH = 16
CLASSES = 3


class Theirs(LightningModule):
    """What most people's modules share: cross-entropy on pairs, SGD with momentum, no idea of probes."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Nothing to measure."""

    def configure_optimizers(self) -> Any:
        """An optimiser with state."""
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Features (n, d) by layer, from the parts of the network called one by one; in evaluation mode."""
        raise NotImplementedError


def drawn(shape: tuple[int, ...], samples: int, seed: int, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Inputs (n, *shape) around one point per class, and labels (n)."""
    points = torch.randn(classes, *shape, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (samples,), generator=generator)
    return 0.5 * points[label] + torch.randn(samples, *shape, generator=generator), label


def images(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, 8, 8)."""
    return drawn((3, 8, 8), samples, seed)


def pictures(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Larger pictures (n, 3, 16, 16)."""
    return drawn((3, 16, 16), samples, seed)


def vectors(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows (n, 12)."""
    return drawn((12,), samples, seed)


def pair(index: int, x: Tensor, label: Tensor) -> Any:
    """A sample as most data sets give it."""
    return x, label


class Samples(Dataset[Any]):
    """A data set that packs its samples as asked."""

    def __init__(self, x: Tensor, label: Tensor, pack: Callable[[int, Tensor, Tensor], Any]) -> None:
        self.x, self.label, self.pack = x, label, pack

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        """A sample."""
        return self.pack(index, self.x[index], self.label[index])


@dataclass(frozen=True)
class Case:
    """A module of somebody's, and what comes of probing it.

    Attributes:
        name: What it is.
        module: Makes it.
        by_hand: Features by layer that are expected; None asks the module's own `by_hand`.
        answer: The line (a regular expression) that refuses it before the first step; empty if it works.
        data: Makes inputs and labels, of (samples, seed).
        pack: Makes of index, input and label what the data set gives.
        collate: Makes batches of these; None is torch's.
        loader: Makes another loader of the training set.
        read: Which training samples the probes are to read; None reads all.
        options: Of `LinearProbes`.
        trainer: Options of the Trainer.
        online: The line with which `OnlineProbes` alone refuses it.
        alone: Whether the answer is that of the callback alone: `probe()` takes any iterable of batches.
    """

    name: str
    module: Callable[[], LightningModule]
    by_hand: Callable[[Any, Tensor], dict[str, Tensor]] | None = None
    answer: str = ""
    data: Callable[[int, int], tuple[Tensor, Tensor]] = images
    pack: Callable[[int, Tensor, Tensor], Any] = pair
    collate: Callable[[list[Any]], Any] | None = None
    loader: Callable[[Dataset[Any]], Any] | None = None
    read: range | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    online: str = ""
    alone: bool = False

    def tensors(self, split: str) -> tuple[Tensor, Tensor]:
        """Inputs and labels of a set, as they are before anybody packs them."""
        return self.data(SAMPLES[split], 1 + list(SAMPLES).index(split))

    def batches(self, split: str) -> Any:
        """The loader of a set."""
        data = Samples(*self.tensors(split), self.pack)
        if self.loader is not None and split == "train":
            return self.loader(data)
        return DataLoader(data, batch_size=BATCH, shuffle=split == "train", collate_fn=self.collate)
