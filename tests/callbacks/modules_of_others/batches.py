"""What data sets give, and what a forward takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SubsetRandomSampler

from tests.callbacks.modules_of_others.case import BATCH, Case, vectors
from tests.callbacks.modules_of_others.self_supervised import huggingface, two_views
from tests.callbacks.modules_of_others.weights import Layers, Two


class Named(NamedTuple):
    """A sample with names, in an order of its own."""

    label: Tensor
    image: Tensor


@dataclass
class Packed:
    """A batch of somebody's class."""

    images: Tensor
    targets: Tensor

    @classmethod
    def of(cls, samples: list[Any]) -> "Packed":
        """Of pairs."""
        return cls(torch.stack([x for x, _ in samples]), torch.stack([label for _, label in samples]))

    def to(self, device: Any) -> "Packed":
        """Lightning moves what has this."""
        return Packed(self.images.to(device), self.targets.to(device))


class Reads(Two):
    """Takes image and label from its batches by a function."""

    def __init__(self, read: Callable[[Any], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.read = read

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Cross-entropy."""
        x, label = self.read(batch)
        return functional.cross_entropy(self(x), label.long().flatten(), ignore_index=-1)


class TakesBatch(Layers):
    """Its forward takes the batch as the loader gives it."""

    def forward(self, batch: Any) -> Any:
        """Logits."""
        return self.last(torch.relu(self.first(batch["image"])))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Cross-entropy."""
        return functional.cross_entropy(self(batch), batch["label"])


class Keywords(Layers):
    """Its forward takes keywords only."""

    def forward(self, *, image: Tensor) -> Any:
        """Logits."""
        return self.last(torch.relu(self.first(image)))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Cross-entropy."""
        return functional.cross_entropy(self(image=batch["image"]), batch["label"])


class Film(Layers):
    """A second input scales the layer of the first."""

    def forward(self, image: Tensor, condition: Tensor) -> Any:
        """Logits."""
        return self.last(torch.relu(self.first(image) * condition))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Cross-entropy."""
        image, condition, label = batch
        return functional.cross_entropy(self(image, condition), label)

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The condition is the image's mean."""
        hidden = self.first(x)
        return {"first": hidden, "last": self.last((hidden * x.mean(1, keepdim=True)).relu())}


class Augments(Two):
    """Augments on the device, in training only, as kornia's and torchgeo's documentation do."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn the images around."""
        return [-batch[0], batch[1]] if self.trainer.training else batch


class Stream(IterableDataset[Any]):
    """Samples that have no index."""

    def __init__(self, data: Dataset[Any]) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        """All of them."""
        return (self.data[at] for at in range(len(self.data)))  # type: ignore[arg-type]


def subset(data: Dataset[Any]) -> DataLoader[Any]:
    """Batches of the first 64."""
    return DataLoader(data, batch_sampler=BatchSampler(SubsetRandomSampler(range(64)), BATCH, False))


def as_labels(change: Callable[[Tensor], Tensor]) -> Callable[[int, int], tuple[Tensor, Tensor]]:
    """Rows whose labels are changed."""

    def made(samples: int, seed: int) -> tuple[Tensor, Tensor]:
        x, label = vectors(samples, seed)
        return x, change(label)

    return made


def of_kind(kind: torch.dtype, label: Tensor) -> Tensor:
    """Labels as other numbers; of truth values there are two."""
    return (label % 2 if kind == torch.bool else label).to(kind)


def unlabelled(label: Tensor) -> Tensor:
    """Every fifth sample has no label."""
    return torch.where(torch.arange(len(label)) % 5 == 0, -1, label)


def dictionary(index: int, x: Tensor, label: Tensor) -> Any:
    """By name."""
    return {"image": x, "label": label}


def triple(index: int, x: Tensor, label: Tensor) -> Any:
    """The sample's number comes first."""
    return index, x, label


def conditioned(index: int, x: Tensor, label: Tensor) -> Any:
    """Two inputs."""
    return x, x.mean(0, keepdim=True), label


def both_inputs(batch: Any) -> Any:
    """Both inputs by the names that forward has for them, and the label."""
    return {"image": batch[0], "condition": batch[1]}, batch[2]


def with_mean(module: Any, image: Tensor) -> Any:
    """Run it on an image alone."""
    return module(image, image.mean(1, keepdim=True))


def first(batch: Any) -> Any:
    """Image and label of a pair."""
    return batch[0], batch[1]


def last(batch: Any) -> Any:
    """Image and label that come after something else."""
    return batch[1], batch[2]


def keys(image: str, label: str) -> Callable[[Any], Any]:
    """Image and label by key."""
    return lambda batch: (batch[image], batch[label])


THIRD = {"image": 0, "label": 2}
pairs = partial(Reads, first)
kinds = [torch.int8, torch.int16, torch.int32, torch.uint8, torch.bool]
CASES = [
    Case("dict of image and label", partial(Reads, keys("image", "label")), data=vectors, pack=dictionary),
    Case("dict of hugging face's", partial(Reads, keys("pixel_values", "labels")), data=vectors, pack=huggingface),
    Case(
        "index, image, label",
        partial(Reads, last),
        data=vectors,
        pack=triple,
        options={"batch": {"image": 1, "label": 2}},
    ),
    Case("two views", partial(Reads, lambda batch: (batch[0][0], batch[1])), data=vectors, pack=two_views),
    Case("named tuple", partial(Reads, lambda b: (b.image, b.label)), data=vectors, pack=lambda i, x, y: Named(y, x)),
    Case(
        "dataclass",
        partial(Reads, lambda b: (b.images, b.targets)),
        data=vectors,
        collate=Packed.of,
        options={"batch": lambda batch: {"image": batch.images, "label": batch.targets}},
    ),
    Case("forward takes the batch", TakesBatch, data=vectors, pack=dictionary),
    Case("forward takes keywords only", Keywords, data=vectors, pack=dictionary),
    Case("two inputs, which is the label", Film, data=vectors, pack=conditioned, answer="batch"),
    Case("two inputs, one given", Film, data=vectors, pack=conditioned, options={"batch": THIRD}, answer="forward"),
    Case("two inputs, by name", Film, data=vectors, pack=conditioned, options={"batch": both_inputs}),
    Case(
        "two inputs, by a function",
        Film,
        data=vectors,
        pack=conditioned,
        options={"batch": THIRD, "forward": with_mean},
    ),
    *(Case(f"labels {kind}", pairs, data=as_labels(partial(of_kind, kind))) for kind in kinds),
    Case("labels (n, 1)", pairs, data=as_labels(lambda y: y[:, None])),
    Case("labels -1 among them", pairs, data=as_labels(unlabelled)),
    Case("labels of a regression", pairs, data=as_labels(lambda y: y + 0.5), answer="label"),
    Case("several labels for each", pairs, data=as_labels(lambda y: functional.one_hot(y, 3)), answer="label"),
    Case("labels of every pixel", pairs, data=as_labels(lambda y: y[:, None, None].expand(-1, 8, 8)), answer="label"),
    Case("no labels", pairs, data=vectors, pack=lambda index, x, label: x, answer="label"),
    Case("augments after transfer", Augments, data=vectors),
    Case(
        "a stream",
        pairs,
        data=vectors,
        loader=lambda data: DataLoader(Stream(data), BATCH),
        answer="indexed",
        alone=True,
    ),
    Case(
        "two training loaders",
        pairs,
        data=vectors,
        loader=lambda data: [DataLoader(data, BATCH)] * 2,
        answer="one training loader",
        alone=True,
    ),
    Case("a batch sampler over a subset", pairs, data=vectors, loader=subset, read=range(64)),
]
