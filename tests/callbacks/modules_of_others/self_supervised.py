"""Networks that are not trained on labels, or not by one optimiser: generators, two views, encoders, teachers."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.callbacks.modules_of_others.case import Case, Theirs, vectors


@dataclass
class Output(OrderedDict[str, Any]):
    """What Hugging Face's models return: a dictionary with attributes, without the entries that are None."""

    loss: Tensor | None = None
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            if getattr(self, entry.name) is not None:
                self[entry.name] = getattr(self, entry.name)


class Pretrained(Theirs):
    """A model of Hugging Face's manner: keywords in, an output object out, the loss among it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, pixel_values: Tensor | None = None, labels: Tensor | None = None) -> Output:
        """Loss and logits."""
        assert pixel_values is not None
        logits = self.head(self.encoder(pixel_values).tanh())
        return Output(None if labels is None else functional.cross_entropy(logits, labels), logits)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The model's own loss."""
        return self(**batch).loss

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Both layers."""
        return {"encoder": self.encoder(x), "head": self.head(self.encoder(x).tanh())}


class Adversaries(Theirs):
    """A GAN: two optimisers, stepped by hand; `forward` makes images of noise."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 12))
        self.discriminator = nn.Sequential(nn.Linear(12, 8), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, noise: Tensor) -> Any:
        """Images."""
        return self.generator(noise)

    def discriminate(self, image: Tensor) -> Any:
        """How real an image is."""
        return self.discriminator(image)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A step of each."""
        optimisers: Any = self.optimizers()
        of_generator, of_discriminator = optimisers
        made = self(torch.randn(len(batch[0]), 5))
        for optimiser, image in ((of_discriminator, made.detach()), (of_generator, made)):
            made_up, real = self.discriminate(image).tanh().mean(), self.discriminate(batch[0]).tanh().mean()
            optimiser.zero_grad()
            self.manual_backward(made_up - real if optimiser is of_discriminator else -made_up)
            optimiser.step()

    def configure_optimizers(self) -> Any:
        """Two."""
        return [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.generator, self.discriminator)]

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The discriminator on real images."""
        first = self.discriminator[0](x)
        return {"discriminator.0": first, "discriminator.1": torch.where(first > 0, first, 0.2 * first)}


class Views(Theirs):
    """Two views of every image are to have similar embeddings; there is no classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.projector = nn.Linear(8, 4)

    def forward(self, view: Tensor) -> Any:
        """An embedding."""
        return functional.normalize(self.projector(self.backbone(view)), dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """InfoNCE."""
        (one, other), _ = batch
        similar = self(one) @ self(other).T / 0.5
        return functional.cross_entropy(similar, torch.arange(len(one)))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """Of the first view."""
        hidden = self.backbone(x)
        return {"backbone.0": self.backbone[0](x), "backbone.2": hidden, "projector": self.projector(hidden)}


class Teacher(Views):
    """A student, and a teacher that follows it as a moving average and is no part of the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = deepcopy(self.backbone).requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The student's features are to be the teacher's."""
        (one, other), _ = batch
        return functional.mse_loss(self.backbone(one), self.teacher(other)) + self(one).sum() * 0

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Follow."""
        with torch.no_grad():
            for own, theirs in zip(self.teacher.parameters(), self.backbone.parameters(), strict=True):
                own.lerp_(theirs, 0.1)


class Queue(Views):
    """Momentum contrast: embeddings of earlier batches wait in a buffer that every forward pass moves on."""

    queue: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.randn(32, 4))
        self.at = torch.zeros(1, dtype=torch.long)  # an attribute, no buffer

    def forward(self, view: Tensor) -> Any:
        """An embedding, which is put into the queue."""
        embedding = super().forward(view)
        places = (self.at + torch.arange(len(view))) % len(self.queue)
        self.queue[places] = embedding.detach()
        self.at = (self.at + len(view)) % len(self.queue)
        return embedding

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Far from what waits."""
        queue = self.queue.clone()
        return (self(batch[0][0]) @ queue.T).logsumexp(1).mean()


class Autoencoder(Theirs):
    """Its `forward` is not written; people call `encode`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(12, 4), nn.Linear(4, 12)

    def encode(self, image: Tensor) -> Any:
        """The code."""
        return self.encoder(image).tanh()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Reconstruction."""
        return functional.mse_loss(self.decoder(self.encode(batch[0])), batch[0])

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The encoder alone."""
        return {"encoder": self.encoder(x)}


def huggingface(index: int, x: Tensor, label: Tensor) -> Any:
    """The keys of an image processor."""
    return {"pixel_values": x, "labels": label}


def two_views(index: int, x: Tensor, label: Tensor) -> Any:
    """The image, and it backwards."""
    return [x, x.flip(0)], label


CASES = [
    Case("hugging face's output object", Pretrained, data=vectors, pack=huggingface),
    Case("gan, its forward makes images", Adversaries, data=vectors, answer="forward"),
    Case("gan, its discriminator", Adversaries, data=vectors, options={"forward": "discriminate"}),
    Case("two views, no classifier", Views, data=vectors, pack=two_views),
    Case("student and teacher", Teacher, data=vectors, pack=two_views),
    Case("a queue of embeddings", Queue, data=vectors, pack=two_views),
    Case("autoencoder, encode", Autoencoder, data=vectors, options={"forward": "encode"}),
    Case("autoencoder without a forward", Autoencoder, data=vectors, answer="forward"),
]
