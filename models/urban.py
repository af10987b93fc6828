"""Networks with 0 to 4 convolutions and a budget of parameters, of Urban et al. 2017 (tables 1 and 2)."""

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.widths import check_depth

# table 1: c a convolution 5x5 with ReLU, mp a max-pool; by the number of convolutions
STAGES: tuple[tuple[str, ...], ...] = (
    (),
    ("c", "mp"),
    ("c", "mp", "c", "mp"),
    ("c", "mp", "c", "mp", "c", "mp"),
    ("c", "mp", "c", "c", "mp", "c", "mp"),
)


def urban_convnet(
    convolutions: int = 4,
    hidden_layers: int = 1,
    parameters: int = 10_000_000,
    filters: int | None = None,
    hidden: int | None = None,
    channels: int = 3,
    classes: int = 10,
) -> nn.Sequential:
    """Convolutions 5x5 with ReLU and max-pools, as in `STAGES`, then hidden layers with ReLU, then the logits.

    A linear bottleneck stands before the hidden layers if there is one convolution, or none and one hidden layer. The
    pools are 2x2; the one behind a single convolution is 3x3.

    The paper searched the widths. Here they follow a rule: the bottleneck has sqrt(parameters) / 10 units; all
    convolutions have the same number of filters, the largest multiple of 8 with which they and the bottleneck take at
    most a third of the budget; all hidden layers have the same number of units, the largest within the budget. From
    1 to 31.6 million this comes within 1 % of the budget.

    Args:
        convolutions: Number of convolutions, 0 to 4.
        hidden_layers: Number of hidden fully connected layers, from 1.
        parameters: The budget: the network has this many parameters or a little fewer.
        filters: Filters of every convolution; None for the rule.
        hidden: Units of every hidden layer; None for the rule. With both given the budget sets the bottleneck only.
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for 32x32 images. Layers are called `conv1, relu1, pool1, ..., flatten, bottleneck, fc1, relu2, ...,
        logits`; numbers of pools and fully connected layers count these, those of ReLUs count all ReLUs.

    Raises:
        ValueError: If a size is out of range, or the budget too small.
    """
    if not 0 <= convolutions < len(STAGES):
        raise ValueError(f"convolutions must be 0 to {len(STAGES) - 1}, got {convolutions}")
    sizes = {"hidden_layers": hidden_layers, "parameters": parameters, "filters": filters, "hidden": hidden}
    sizes |= {"channels": channels, "classes": classes}
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} must be 1 or more, got {size}")
    check_depth(hidden_layers, 1)
    plan = _Plan(convolutions, hidden_layers, parameters, channels, classes)
    if filters is None:
        filters = _widest(lambda width: nn.Sequential(plan.front(width)[0]), parameters // 3) if convolutions else 0
        filters -= filters % 8 if filters > 8 else 0
    if hidden is None:
        hidden = _widest(partial(plan.network, filters), parameters)
    return plan.network(filters, hidden)


class UrbanConvNet(Classifier):
    """Network with 0 to 4 convolutions of Urban et al. 2017, for 3x32x32 images; widths follow from a budget.

    The widths follow the fixed rule of `urban_convnet`, where the paper searched them. It searched the learning rate in
    [0.0013, 0.016] and the momentum in [0.68, 0.97] too, and halved the rate after 10 epochs without gain on validation
    data.

    Args:
        convolutions: Number of convolutions, 0 to 4.
        hidden_layers: Number of hidden fully connected layers, from 1; in the paper 1 behind convolutions.
        parameters: The budget: 1,000,000, 3,160,000, 10,000,000 or 31,600,000 in the paper.
        filters: Filters of every convolution; null for the rule.
        hidden: Units of every hidden layer; null for the rule.
        channels: Channels of the 32x32 images.
        classes: Number of classes.
        optimizer: Optimiser; SGD with Nesterov's momentum in the paper, here with values within its ranges.
        scheduler: Learning-rate schedule; here halved every 20 epochs.
        initialisation: Initial weights; Glorot's in the paper (with a scale it searched).
        **switches: Memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        convolutions: int = 4,
        hidden_layers: int = 1,
        parameters: int = 10_000_000,
        filters: int | None = None,
        hidden: int | None = None,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9, nesterov=True),
        scheduler: LRSchedulerCallable = lambda optimizer: StepLR(optimizer, step_size=20, gamma=0.5),
        initialisation: str = "glorot_uniform",
        **switches: Any,
    ) -> None:
        network = urban_convnet(convolutions, hidden_layers, parameters, filters, hidden, channels, classes)
        super().__init__(network, optimizer, scheduler, initialisation, **switches)


@dataclass(frozen=True)
class _Plan:
    """A network but for its widths."""

    convolutions: int
    hidden_layers: int
    parameters: int
    channels: int
    classes: int

    def front(self, filters: int) -> tuple[OrderedDict[str, nn.Module], int]:
        """Give the layers before the hidden ones, and the number of units they end in."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        inputs, side, convolution, pool = self.channels, 32, 0, 0
        for stage in STAGES[self.convolutions]:
            if stage == "c":
                convolution += 1
                layers[f"conv{convolution}"] = nn.Conv2d(inputs, filters, kernel_size=5, padding=2)
                layers[f"relu{convolution}"] = nn.ReLU()
                inputs = filters
            else:
                pool += 1
                size = 3 if self.convolutions == 1 else 2
                layers[f"pool{pool}"] = nn.MaxPool2d(size)
                side //= size
        layers["flatten"] = nn.Flatten()
        units = inputs * side**2
        if self.convolutions == 1 or (self.convolutions == 0 and self.hidden_layers == 1):
            bottleneck = max(1, round(math.sqrt(self.parameters) / 10))
            layers["bottleneck"] = nn.Linear(units, bottleneck)
            units = bottleneck
        return layers, units

    def network(self, filters: int, hidden: int) -> nn.Sequential:
        """Give the whole network."""
        layers, units = self.front(filters)
        for layer in range(1, self.hidden_layers + 1):
            layers[f"fc{layer}"] = nn.Linear(units, hidden)
            layers[f"relu{self.convolutions + layer}"] = nn.ReLU()
            units = hidden
        layers["logits"] = nn.Linear(units, self.classes)
        return nn.Sequential(layers)


def _widest(network: Callable[[int], nn.Module], budget: int) -> int:
    """The largest width at which a network has no more parameters than the budget.

    Raises:
        ValueError: If even a width of 1 has more.
    """

    def count(width: int) -> int:
        with torch.device("meta"):  # sizes without values
            return sum(parameter.numel() for parameter in network(width).parameters())

    width = bisect_right(range(1, budget + 1), budget, key=count)
    if width == 0:
        raise ValueError(f"parameters must be more: the narrowest network needs {count(1):,} where {budget:,} are left")
    return width
