"""What people do to the weights of a network: merged, tied, normalised, made late, frozen, in other precisions."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm

from tests.callbacks.modules_of_others.case import SAMPLES, Case, Theirs, vectors


class Layers(Theirs):
    """Two layers, of which others make theirs."""

    def __init__(self, first: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.first: Any = first or nn.Linear(12, 8)
        self.last: Any = last or nn.Linear(8, 3)

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The layers called one by one."""
        hidden = self.first(x)
        return {"first": hidden, "last": self.last(hidden.relu())}


class Two(Layers):
    """One after the other."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.last(torch.relu(self.first(x)))


class Lora(nn.Linear):
    """A low-rank update that is merged into the weight for evaluation and taken out again for training."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Parameter(torch.randn(2, inputs) / 3), nn.Parameter(torch.randn(outputs, 2) / 3)
        self.merged = False

    def train(self, mode: bool = True) -> "Lora":
        """Merge or take out."""
        if mode is self.merged:
            self.weight.data += (-1 if mode else 1) * self.b @ self.a
            self.merged = not mode
        return super().train(mode)

    def forward(self, input: Tensor) -> Tensor:
        """With the update, once."""
        out = super().forward(input)
        return out if self.merged else out + input @ self.a.T @ self.b.T


class Tied(Theirs):
    """A decoder that is the encoder's weight, turned; one parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.middle, self.decoder = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.middle.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.decoder(self.middle(self.encoder(x)).tanh())

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The one weight twice."""
        encoded = functional.linear(x, self.encoder.weight, self.encoder.bias)
        middle = functional.linear(encoded, self.encoder.weight, self.middle.bias)
        return {"encoder": encoded, "middle": middle, "decoder": self.decoder(middle.tanh())}


class FrozenNorm(Theirs):
    """A pretrained part that does not train; its batch normalisation stays in evaluation mode by an own `train`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU()).requires_grad_(False)
        self.norm, self.head = nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3)

    def train(self, mode: bool = True) -> "FrozenNorm":
        """All but the backbone."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(self.norm(self.backbone(x)))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The average over all batches there were."""
        hidden = self.backbone(x)
        mean, variance = self.norm.running_mean, self.norm.running_var
        normal = functional.batch_norm(hidden, mean, variance, self.norm.weight, self.norm.bias, False)
        return {"backbone.2": hidden, "norm": normal, "head": self.head(normal)}


class Parameterless(LightningModule):
    """As an estimator of scikit-learn: nothing that a gradient could move."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Tanh()
        self.automatic_optimization = False

    def forward(self, x: Tensor) -> Any:
        """Scores."""
        return self.scale(x)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing to train."""
        self(batch[0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing to measure."""

    def configure_optimizers(self) -> None:
        """None."""

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The input and its tanh."""
        return {"input": x, "scale": x.tanh()}


def lazy(tried: bool) -> Two:
    """Layers that take their sizes from the first batch; tried on one, as torch asks, or not."""
    module = Two(nn.LazyLinear(8), nn.LazyLinear(3))
    if tried:
        module(torch.zeros(1, 12))
    return module


def compiled() -> Two:
    """With the tracer of torch.compile and without its code generator."""
    module = Two()
    module.first = torch.compile(module.first, backend="eager")
    return module


def inside(module: Any, x: Tensor) -> dict[str, Tensor]:
    """The layer has torch's name for what is compiled."""
    found = module.by_hand(x)
    return {"first._orig_mod": found["first"], "last": found["last"]}


def merged(module: Any, x: Tensor) -> dict[str, Tensor]:
    """The update is in the weight once, in whichever state the layer was left."""
    first = module.first
    weight = first.weight if first.merged else first.weight + first.b @ first.a
    hidden = functional.linear(x, weight, first.bias)
    return {"first": hidden, "last": module.last(hidden.relu())}


def exact(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows in float64."""
    x, label = vectors(samples, seed)
    return x.double(), label


def wide_norm() -> Two:
    """A parametrised weight with as many rows as there are samples: it is no activation."""
    rows = SAMPLES["train"]
    return Two(parametrizations.weight_norm(nn.Linear(12, rows)), nn.Linear(rows, 3))


CASES = [
    Case("lora", lambda: Two(Lora(12, 8)), merged, data=vectors),
    Case("compiled", compiled, inside, data=vectors, online="torch.compile hides the layers"),
    Case("tied weights", Tied, data=vectors),
    Case("spectral norm", lambda: Two(parametrizations.spectral_norm(nn.Linear(12, 8))), data=vectors),
    Case("spectral norm of old", lambda: Two(spectral_norm(nn.Linear(12, 8))), data=vectors),
    Case("weight norm", wide_norm, data=vectors),
    Case("lazy, tried", lambda: lazy(True), data=vectors),
    Case("lazy, not tried", lambda: lazy(False), data=vectors, answer="azy|initiali"),
    Case("frozen backbone, norm without momentum", FrozenNorm, data=vectors),
    Case("float64", Two, data=exact, trainer={"precision": "64-true"}),
    Case("bf16-mixed", Two, data=vectors, trainer={"precision": "bf16-mixed"}),
    Case("no parameters", Parameterless, data=vectors),
]
