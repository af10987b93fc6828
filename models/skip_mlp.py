"""The pathological skip connection of Alain & Bengio 2016 (figure 6): 128 layers, half of them bypassed."""

from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.widths import check_depth


class SkipNetwork(nn.Module):
    """Fully connected layers with leaky ReLU, one of which also sees the pixels: `fc1, relu1, ..., logits`.

    Args:
        depth: Number of hidden layers.
        width: Units per hidden layer.
        skip: The hidden layer, from 2 to `depth`, whose input is the layer before it and the pixels, concatenated; None
            for a plain network.
        inputs: Entries per image.
        classes: Number of classes.

    Raises:
        ValueError: If a size or the place of the skip connection is out of range.
    """

    natural_taps = ("relu*", "logits")

    def __init__(
        self, depth: int = 128, width: int = 128, skip: int | None = 64, inputs: int = 28 * 28, classes: int = 10
    ) -> None:
        super().__init__()
        if min(depth, width, inputs, classes) < 1:
            sizes = f"depth {depth}, width {width}, inputs {inputs}, classes {classes}"
            raise ValueError(f"all sizes must be 1 or more; got {sizes}")
        check_depth(depth)
        if skip is not None and not 2 <= skip <= depth:
            raise ValueError(f"skip must be a layer from 2 to depth {depth}, or null for none; got {skip}")
        self.depth, self.skip = depth, skip
        for layer in range(1, depth + 1):
            entries = inputs if layer == 1 else width + inputs if layer == skip else width
            self.add_module(f"fc{layer}", nn.Linear(entries, width))
            self.add_module(f"relu{layer}", nn.LeakyReLU(0.01))
        self.logits = nn.Linear(width, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (n, classes) of a batch of images."""
        pixels = hidden = image.flatten(1)
        for layer in range(1, self.depth + 1):
            if layer == self.skip:
                hidden = torch.cat([hidden, pixels], dim=1)
            hidden = self.get_submodule(f"relu{layer}")(self.get_submodule(f"fc{layer}")(hidden))
        logits: Tensor = self.logits(hidden)
        return logits


class SkipMLP(Classifier):
    """MLP 128x128 with a skip connection from the pixels to layer 64 (Alain & Bengio 2016, figure 6).

    In the paper the network learns with the connection and not without it (skip: null), and probes find the bypassed
    half useless. How the connection enters, the initialisation and the learning rate are not in the source we have: the
    concatenation is a re-implementation's, the others are ours, chosen on scikit-learn's digits among he_normal,
    orthogonal, glorot_uniform and torch's own at rates from 0.1 to 0.0003; without the connection these settings learn
    much more slowly.

    Args:
        depth: Number of hidden layers; 128 in the paper.
        width: Units per hidden layer; 128 in the paper.
        skip: The hidden layer, from 2 to `depth`, that also sees the pixels; null for none. 64 in the paper.
        inputs: Entries per image: channels times height times width.
        classes: Number of classes.
        optimizer: Optimiser; SGD in the paper, learning rate 0.001 here.
        scheduler: Learning-rate schedule; constant by default.
        initialisation: Initial weights; he_normal keeps the scale of activations over all layers.
        **switches: Memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def __init__(
        self,
        depth: int = 128,
        width: int = 128,
        skip: int | None = 64,
        inputs: int = 28 * 28,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.001),
        scheduler: LRSchedulerCallable = lambda optimizer: ConstantLR(optimizer, factor=1.0),
        initialisation: str = "he_normal",
        **switches: Any,
    ) -> None:
        network = SkipNetwork(depth, width, skip, inputs, classes)
        super().__init__(network, optimizer, scheduler, initialisation, **switches)
