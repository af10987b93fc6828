"""What people do in a forward pass: work in place, log, hook, count, run parts again, return anything."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.callbacks.modules_of_others.case import Case, Theirs, vectors
from tests.callbacks.modules_of_others.weights import Two


class InPlace(Two):
    """Normalises the image in the memory it was given."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return super().forward(x.sub_(0.5).mul_(2))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """In memory of its own."""
        return {"input": x, **super().by_hand((x - 0.5) * 2)}


class Hooked(Two):
    """Has hooks of its user's: one changes what a layer gives, one keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.first.register_forward_hook(lambda module, inputs, output: 3 * output)
        self.kept: dict[str, Tensor] = {}
        self.last.register_forward_hook(lambda module, inputs, output: self.kept.update(last=output.detach()))
        self.last.register_full_backward_hook(lambda module, grads, outputs: (grads[0],))


class Logging(Two):
    """Logs from within forward, as Lightning allows in a step."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        self.log("brightness", x.mean(), on_step=True, on_epoch=True)
        return super().forward(x)


class Checkpointed(Two):
    """Runs a part again in the backward pass in place of remembering it."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        hidden = checkpoint(self.first, x, use_reentrant=False)
        return self.last(torch.relu(hidden))


class Fourier(nn.Module):
    """Complex numbers."""

    def forward(self, x: Tensor) -> Tensor:
        """A spectrum."""
        spectrum: Tensor = torch.fft.rfft(x)
        return spectrum


class Magnitude(nn.Module):
    """Real numbers again."""

    def forward(self, x: Tensor) -> Tensor:
        """Absolute values."""
        return torch.abs(x)


class Complex(Theirs):
    """A spectrum between two layers; a complex activation is no features."""

    def __init__(self) -> None:
        super().__init__()
        self.fourier, self.magnitude, self.head = Fourier(), Magnitude(), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        return self.head(self.magnitude(self.fourier(x)))

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """By another transform."""
        spectrum = torch.fft.fft(x)[:, :7].abs()
        return {"magnitude": spectrum, "head": self.head(spectrum)}


class Warmup(Two):
    """Counts its passes in a plain attribute, and scales by the count."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        self.passes += self.training
        return super().forward(x) * min(1.0, self.passes / 8)

    def by_hand(self, x: Tensor) -> dict[str, Tensor]:
        """The first layer is not scaled."""
        return {"first": self.first(x)}


class CountsAll(Warmup):
    """Counts the passes in evaluation too: to look at it moves it on."""

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        self.passes += 1
        return Two.forward(self, x) * min(1.0, self.passes / 8)


class Pieces(Two):
    """Yields what it has found, layer by layer."""

    def forward(self, x: Tensor) -> Any:
        """Activations, one after the other."""
        hidden = self.first(x)
        yield hidden
        yield self.last(torch.relu(hidden))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Of the last piece."""
        *_, logits = self(batch[0])
        return functional.cross_entropy(logits, batch[1])


class Outputs(Two):
    """Returns a tuple of a dictionary and more."""

    def forward(self, x: Tensor) -> Any:
        """Logits among others."""
        return {"logits": super().forward(x), "shape": x.shape}, None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Of the logits."""
        return functional.cross_entropy(self(batch[0])[0]["logits"], batch[1])


def after_hook(module: Any, x: Tensor) -> dict[str, Tensor]:
    """What the user's hook makes of the first layer."""
    hidden = 3 * functional.linear(x, module.first.weight, module.first.bias)
    return {"first": hidden, "last": functional.linear(hidden.relu(), module.last.weight, module.last.bias)}


CASES = [
    Case("in place", InPlace, data=vectors),
    Case("hooks of the user's", Hooked, after_hook, data=vectors),
    Case("logs in forward", Logging, data=vectors),
    Case("gradient checkpointing", Checkpointed, data=vectors),
    Case("complex numbers between", Complex, data=vectors),
    Case("counts its passes", Warmup, data=vectors),
    Case("counts every pass", CountsAll, data=vectors),
    Case("forward yields", Pieces, data=vectors),
    Case("returns a tuple of a dictionary", Outputs, data=vectors),
]
