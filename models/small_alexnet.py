"""The small AlexNet of Zhang et al. 2017 (appendix A), after TensorFlow's CIFAR-10 tutorial."""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.local_response_norm import LocalResponseNorm
from stratoscope.models.parts.widths import widened

CHANNELS, UNITS = 64, (384, 192)  # 64 is not in the paper: 64 gives its parameter count exactly, 48 and 96 do not


def small_alexnet(local_response_norm: bool = True, classes: int = 10, width_multiplier: float = 1.0) -> nn.Sequential:
    """Twice (convolution 5x5, ReLU, max-pool 3x3, local response normalisation), then 384, 192 and `classes` units.

    Args:
        local_response_norm: Whether the two normalisation layers are there.
        classes: Number of classes.
        width_multiplier: Factor on the channels and units of all layers but the last.

    Returns:
        The network for 3x28x28 images, with 1,387,786 parameters (Zhang et al. 2017, table 1). Its weights are
        torch's defaults, as the paper does not say how they start (see `initialise` for others). Layers are called
        `conv1, relu1, pool1, norm1, conv2, ..., norm2, flatten, fc1, relu3, fc2, relu4, logits`.

    Raises:
        ValueError: If there are no classes.
    """
    if classes < 1:
        raise ValueError(f"classes must be 1 or more, got {classes}")
    channels, *units = widened((CHANNELS, *UNITS), width_multiplier)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, inputs in enumerate((3, channels), start=1):
        layers[f"conv{block}"] = nn.Conv2d(inputs, channels, kernel_size=5, padding=2)
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        if local_response_norm:
            # The tutorial's radius 4, bias 1, alpha 0.001/9, beta 0.75: a sum over 9 channels, which torch's alpha/size
            # turns into a mean.
            layers[f"norm{block}"] = LocalResponseNorm(size=9, alpha=0.001, beta=0.75, k=1.0)
    layers["flatten"] = nn.Flatten()
    for layer, (inputs, outputs) in enumerate(pairwise((channels * 7 * 7, *units)), start=1):
        layers[f"fc{layer}"] = nn.Linear(inputs, outputs)
        layers[f"relu{layer + 2}"] = nn.ReLU()
    layers["logits"] = nn.Linear(units[-1], classes)
    return nn.Sequential(layers)


class SmallAlexNet(Classifier):
    """Small AlexNet of Zhang et al. 2017, for 3x28x28 images.

    Weights start from torch's defaults, which no paper chose: `initialisation` has others.

    Args:
        local_response_norm: Whether each pooling layer is followed by local response normalisation.
        classes: Number of classes.
        width_multiplier: Factor on the channels and units of all layers but the last.
        optimizer: Optimiser; SGD, learning rate 0.01, momentum 0.9 in the paper.
        scheduler: Learning-rate schedule; a factor of 0.95 in the paper.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    def __init__(
        self,
        local_response_norm: bool = True,
        classes: int = 10,
        width_multiplier: float = 1.0,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9),
        scheduler: LRSchedulerCallable = lambda optimizer: ExponentialLR(optimizer, gamma=0.95),
        **switches: Any,
    ) -> None:
        super().__init__(
            small_alexnet(local_response_norm, classes, width_multiplier), optimizer, scheduler, **switches
        )
