"""The small Inception of Zhang et al. 2017 (figure 3)."""

from collections import OrderedDict
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.parts.widths import widened

FIRST = 96  # channels of the first convolution
# Channels of the 1x1 and the 3x3 convolution of every Inception module; one number: the convolution of a downsampling.
MODULES = ((32, 32), (32, 48), 80, (112, 48), (96, 64), (80, 80), (48, 96), 96, (176, 160), (176, 160))

TAPS = ("conv1", "inception*", "downsample*", "pool", "logits")  # the output of every module


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that learns a shift (beta) but no scale: gamma is 1 and no parameter.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))
        # gamma as a number: without any, CUDA's backward pass has no place for the shift's gradient and raises an error
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


class Inception(nn.Module):
    """The channels of a 1x1 and of a 3x3 convolution side by side.

    Args:
        inputs: Channels of the input.
        narrow: Channels of the 1x1 convolution.
        wide: Channels of the 3x3 convolution.
        batch_norm: Whether the convolutions are normalised.
    """

    def __init__(self, inputs: int, narrow: int, wide: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1x1 = convolution(inputs, narrow, kernel_size=1, batch_norm=batch_norm)
        self.conv3x3 = convolution(inputs, wide, kernel_size=3, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return narrow + wide channels of the input's height and width."""
        return torch.cat([self.conv1x1(x), self.conv3x3(x)], dim=1)


class Downsample(nn.Module):
    """The channels of a 3x3 convolution and of a 3x3 max-pool, both of stride 2, side by side.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the convolution.
        batch_norm: Whether the convolution is normalised.
    """

    def __init__(self, inputs: int, outputs: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv3x3 = convolution(inputs, outputs, kernel_size=3, batch_norm=batch_norm, stride=2)
        self.pool3x3 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs + inputs channels of half the height and width, rounded up."""
        return torch.cat([self.conv3x3(x), self.pool3x3(x)], dim=1)


def convolution(inputs: int, outputs: int, kernel_size: int, batch_norm: bool, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation where wanted, ReLU: the 'conv module' of the paper."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    # TF-slim drops the bias where there is a normaliser, which by its default has a shift but no scale. The published
    # count, the same with and without normalisation, fits this; it also fits a bias in front of a normalisation without
    # parameters, but that bias would be subtracted again at once and no shift would be learnt.
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=not batch_norm)
    if batch_norm:
        layers["norm"] = ShiftBatchNorm2d(outputs)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def small_inception(
    batch_norm: bool = True, channels: int = 3, classes: int = 10, width_multiplier: float = 1.0
) -> nn.Sequential:
    """A convolution, eight Inception modules with two downsamplings between them, mean over all pixels, logits.

    The paper is silent on the initial weights: they are TF-slim's default, as the normalisation is, Glorot & Bengio's
    uniform distribution with biases of zero.

    Args:
        batch_norm: Whether every convolution is followed by batch normalisation.
        channels: Channels of the images.
        classes: Number of classes.
        width_multiplier: Factor on the channels of all convolutions.

    Returns:
        The network for images of 28x28 pixels, or of any other size, with 1,649,402 parameters with and without batch
        normalisation (Zhang et al. 2017, table 1). Modules are called `conv1, inception1, inception2, downsample1,
        inception3, ..., inception6, downsample2, inception7, inception8, pool, flatten, logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
    (width,) = widened([FIRST], width_multiplier)
    modules: OrderedDict[str, nn.Module] = OrderedDict(conv1=convolution(channels, width, 3, batch_norm))
    inceptions, downsamples = 0, 0
    for outputs in MODULES:
        if isinstance(outputs, tuple):
            inceptions += 1
            narrow, wide = widened(outputs, width_multiplier)
            modules[f"inception{inceptions}"] = Inception(width, narrow, wide, batch_norm)
            width = narrow + wide
        else:
            downsamples += 1
            (added,) = widened([outputs], width_multiplier)
            modules[f"downsample{downsamples}"] = Downsample(width, added, batch_norm)
            width += added
    modules["pool"] = nn.AdaptiveAvgPool2d(1)
    modules["flatten"] = nn.Flatten()
    modules["logits"] = nn.Linear(width, classes)
    network = Tapped(modules, TAPS)
    initialise(network, "glorot_uniform")
    return network


class SmallInception(Classifier):
    """Small Inception of Zhang et al. 2017, for 3x28x28 images; other sizes work.

    Args:
        batch_norm: Whether every convolution is followed by batch normalisation.
        channels: Channels of the images.
        classes: Number of classes.
        width_multiplier: Factor on the channels of all convolutions.
        optimizer: Optimiser; SGD, learning rate 0.1, momentum 0.9 in the paper.
        scheduler: Learning-rate schedule; a factor of 0.95 in the paper.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    def __init__(
        self,
        batch_norm: bool = True,
        channels: int = 3,
        classes: int = 10,
        width_multiplier: float = 1.0,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9),
        scheduler: LRSchedulerCallable = lambda optimizer: ExponentialLR(optimizer, gamma=0.95),
        **switches: Any,
    ) -> None:
        super().__init__(
            small_inception(batch_norm, channels, classes, width_multiplier), optimizer, scheduler, **switches
        )
