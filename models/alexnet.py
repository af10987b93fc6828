"""The AlexNet of Krizhevsky et al. 2012, for images of 32x32 pixels."""

from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.local_response_norm import LocalResponseNorm
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.schedules import DividedAt

CONVOLUTIONS = ((96, 5), (256, 5), (384, 3), (384, 3), (256, 3))  # channels and kernel size
POOLED = (1, 2, 5)  # convolutions that pooling follows
UNITS = 4096

TAPS = ("pool*", "relu[3467]", "logits")  # what each of the eight layers hands to the next


def alexnet(
    local_response_norm: bool = True, dropout: float = 0.5, channels: int = 3, classes: int = 10
) -> nn.Sequential:
    """Five convolutions, two fully connected layers of 4096 units, logits (section 3.5 of the paper).

    Three things differ from the paper. Its first convolution, 11x11 with stride 4, made for 224x224 pixels, is 5x5 with
    stride 1. There are no groups: the paper cuts convolutions 2, 4 and 5 in halves to fit on two GPUs. And the weights
    are torch's, not the paper's N(0, 0.01^2) with some biases 1.

    Args:
        local_response_norm: Whether the two normalisation layers are there.
        dropout: Probability that a unit of the fully connected layers is dropped.
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for images of 25x25 to 32x32 pixels, with 37,323,146 parameters. Layers are called `conv1, relu1,
        norm1, pool1, conv2, ..., pool2, conv3, relu3, conv4, relu4, conv5, relu5, pool5, flatten, fc6, relu6, dropout6,
        fc7, relu7, dropout7, logits`.

    Raises:
        ValueError: If a size or the probability is out of range.
    """
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (width, kernel_size) in enumerate(CONVOLUTIONS, start=1):
        inputs = channels if number == 1 else CONVOLUTIONS[number - 2][0]
        layers[f"conv{number}"] = nn.Conv2d(inputs, width, kernel_size, padding=kernel_size // 2)
        layers[f"relu{number}"] = nn.ReLU()
        if local_response_norm and number <= 2:
            # Section 3.3: n 5, alpha 1e-4 of the sum over the n channels, which torch's alpha/size turns into a mean.
            layers[f"norm{number}"] = LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)  # 32, 16, 8, 4 or 28, 14, 7, 4
    layers["flatten"] = nn.Flatten()
    for number, inputs in enumerate((CONVOLUTIONS[-1][0] * 4 * 4, UNITS), start=6):
        layers[f"fc{number}"] = nn.Linear(inputs, UNITS)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"dropout{number}"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(UNITS, classes)
    return Tapped(layers, TAPS)


class AlexNet(Classifier):
    """AlexNet of Krizhevsky et al. 2012, for 3x32x32 images; 28x28 works with the same weights.

    Args:
        local_response_norm: Whether the first two convolutions are followed by local response normalisation.
        dropout: Probability that a unit of the fully connected layers is dropped.
        channels: Channels of the images.
        classes: Number of classes.
        optimizer: Optimiser; SGD, learning rate 0.01, momentum 0.9, weight decay 0.0005 in the paper.
        scheduler: Learning-rate schedule. In the paper a division by 10 whenever the validation
            error stood still, three times in 90 epochs; here at every quarter of these.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        local_response_norm: bool = True,
        dropout: float = 0.5,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=23, second=45, third=68),
        **switches: Any,
    ) -> None:
        super().__init__(alexnet(local_response_norm, dropout, channels, classes), optimizer, scheduler, **switches)
