"""The networks of Simonyan & Zisserman 2015 (table 1, columns A, B, D and E), for images of 32x32 pixels."""

from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.parts.widths import widened
from stratoscope.models.schedules import DividedAt

WIDTHS = (64, 128, 256, 512, 512)  # channels of the five stacks
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # of each stack

TAPS = ("relu*", "pool*", "logits")  # every ReLU and every pooling


def vgg(
    depth: int = 16,
    batch_norm: bool = True,
    hidden: tuple[int, ...] = (),
    dropout: float = 0.5,
    channels: int = 3,
    classes: int = 10,
    width_multiplier: float = 1.0,
) -> nn.Sequential:
    """Five stacks of 3x3 convolutions, each pooled to half the height and width, and logits.

    The paper's two fully connected layers of 4096 units are left out, as usual for 32x32 pixels, of which one with 512
    channels remains; `hidden=(4096, 4096)` brings them back. Batch normalisation is younger than the paper. The weights
    are drawn from He et al. 2015 (`he_normal` of `initialise`): without normalisation, torch's own would let the signal
    vanish, and the paper trains the deeper networks from the weights of the shallow one.

    Args:
        depth: Layers with weights in the paper: 11, 13, 16 or 19.
        batch_norm: Whether every convolution is followed by batch normalisation, which replaces its bias.
        hidden: Units of the fully connected layers between the last pooling and the logits.
        dropout: Probability that a unit of these layers is dropped.
        channels: Channels of the images.
        classes: Number of classes.
        width_multiplier: Factor on the channels of all convolutions.

    Returns:
        The network for images of up to 32x32 pixels (28x28 too: poolings round up), by default with 14,724,042
        parameters. Layers are called `conv1_1, norm1_1, relu1_1, ..., pool1, conv2_1, ..., pool5, flatten, fc6, relu6,
        dropout6, ..., logits`.

    Raises:
        ValueError: If a size or the probability is out of range.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"depth must be one of {', '.join(map(str, CONVOLUTIONS))}; got {depth}")
    if min(channels, classes, *hidden) < 1:
        sizes = f"channels {channels}, classes {classes}, hidden {hidden}"
        raise ValueError(f"channels, classes and hidden units must be 1 or more; got {sizes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, widths = channels, widened(WIDTHS, width_multiplier)
    for stack, (width, convolutions) in enumerate(zip(widths, CONVOLUTIONS[depth], strict=True), start=1):
        for number in range(1, convolutions + 1):
            layers[f"conv{stack}_{number}"] = nn.Conv2d(inputs, width, kernel_size=3, padding=1, bias=not batch_norm)
            if batch_norm:
                layers[f"norm{stack}_{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{stack}_{number}"] = nn.ReLU()
            inputs = width
        layers[f"pool{stack}"] = nn.MaxPool2d(kernel_size=2, ceil_mode=True)  # 32, 16, 8, 4, 2, 1; 28, 14, 7, 4, 2, 1
    layers["flatten"] = nn.Flatten()
    for layer, units in enumerate(hidden, start=6):
        layers[f"fc{layer}"] = nn.Linear(inputs, units)
        layers[f"relu{layer}"] = nn.ReLU()
        layers[f"dropout{layer}"] = nn.Dropout(dropout)
        inputs = units
    layers["logits"] = nn.Linear(inputs, classes)
    network = Tapped(layers, TAPS)
    initialise(network, "he_normal")
    return network


class VGG(Classifier):
    """Network of Simonyan & Zisserman 2015, for 3x32x32 images; smaller ones, such as 28x28, work.

    Args:
        depth: Layers with weights in the paper: 11, 13, 16 or 19.
        batch_norm: Whether every convolution is followed by batch normalisation, which replaces its bias.
        hidden: Units of the fully connected layers between the last pooling and the logits.
        dropout: Probability that a unit of these layers is dropped.
        channels: Channels of the images.
        classes: Number of classes.
        width_multiplier: Factor on the channels of all convolutions.
        optimizer: Optimiser; SGD, learning rate 0.01, momentum 0.9, weight decay 0.0005 in the paper.
        scheduler: Learning-rate schedule. In the paper a division by 10 whenever the validation
            accuracy stood still, three times in 74 epochs; here at every quarter of these.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        depth: int = 16,
        batch_norm: bool = True,
        hidden: tuple[int, ...] = (),
        dropout: float = 0.5,
        channels: int = 3,
        classes: int = 10,
        width_multiplier: float = 1.0,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=19, second=37, third=56),
        **switches: Any,
    ) -> None:
        network = vgg(depth, batch_norm, hidden, dropout, channels, classes, width_multiplier)
        super().__init__(network, optimizer, scheduler, **switches)
