"""The networks F1, F2 and C1 to C4 of Keskar et al. 2017 (appendix B), as in the code they released."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ConstantLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.widths import check_depth

STACKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # C2: channels of the convolutions before a pooling


def keskar_f1(depth: int = 5, width: int = 512, inputs: int = 28 * 28, classes: int = 10) -> nn.Sequential:
    """Fully connected layers with batch normalisation and ReLU: `flatten, fc1, norm1, relu1, ..., logits`.

    Args:
        depth: Number of hidden layers, from 0.
        width: Units per hidden layer.
        inputs: Entries per image.
        classes: Number of classes.

    Returns:
        F1, with 1,462,794 parameters; with depth 7, 360 inputs and 1,973 classes F2, with 2,780,085.

    Raises:
        ValueError: If a size is out of range.
    """
    if depth < 0 or min(width, inputs, classes) < 1:
        sizes = f"depth {depth}, width {width}, inputs {inputs}, classes {classes}"
        raise ValueError(f"depth must be 0 or more, the other sizes 1 or more; got {sizes}")
    check_depth(depth)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for layer in range(1, depth + 1):
        layers[f"fc{layer}"] = nn.Linear(inputs if layer == 1 else width, width)
        layers[f"norm{layer}"] = nn.BatchNorm1d(width)
        layers[f"relu{layer}"] = nn.ReLU()
    layers["logits"] = nn.Linear(width if depth else inputs, classes)
    return nn.Sequential(layers)


def keskar_c1(channels: int = 3, classes: int = 10) -> nn.Sequential:
    """Twice (convolution 5x5, batch normalisation, ReLU, max-pool 3x3), then 384, 192 and `classes` units with dropout.

    The convolutions have stride 1, as in the released code; the paper writes stride 2.

    Args:
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        C1 for 32x32 images, with 1,757,834 parameters; with 100 classes C3, with 1,775,204. Layers are called
        `conv1, norm1, relu1, pool1, conv2, ..., pool2, flatten, fc1, norm3, relu3, dropout3, fc2, ..., logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    _check(channels, classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, inputs in enumerate((channels, 64), start=1):
        layers[f"conv{block}"] = nn.Conv2d(inputs, 64, kernel_size=5, padding=2)
        layers[f"norm{block}"] = nn.BatchNorm2d(64)
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
    layers["flatten"] = nn.Flatten()
    for layer, (inputs, units) in enumerate(((64 * 8 * 8, 384), (384, 192)), start=1):
        layers[f"fc{layer}"] = nn.Linear(inputs, units)
        layers[f"norm{layer + 2}"] = nn.BatchNorm1d(units)
        layers[f"relu{layer + 2}"] = nn.ReLU()
        layers[f"dropout{layer + 2}"] = nn.Dropout(0.5)
    layers["logits"] = nn.Linear(192, classes)
    return nn.Sequential(layers)


def keskar_c2(channels: int = 3, classes: int = 10) -> nn.Sequential:
    """VGG: 13 convolutions 3x3 in five stacks with a max-pool 2x2 after each, then 512 and `classes` units.

    Batch normalisation and ReLU follow every layer but the last. Dropout is the released code's, which the paper does
    not list: 0.3 after the first convolution, 0.4 after the others that are not the last of their stack, 0.5 around the
    dense layer.

    Args:
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        C2 for 32x32 images, with 14,991,946 parameters; with 100 classes C4, with 15,038,116. Layers are called
        `conv1_1, norm1_1, relu1_1, dropout1_1, conv1_2, norm1_2, relu1_2, pool1, ..., pool5, flatten, dropout5, fc1,
        norm6, relu6, dropout6, logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    _check(channels, classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = channels
    for stack, widths in enumerate(STACKS, start=1):
        for place, width in enumerate(widths, start=1):
            name = f"{stack}_{place}"
            layers[f"conv{name}"] = nn.Conv2d(inputs, width, kernel_size=3, padding=1)
            layers[f"norm{name}"] = nn.BatchNorm2d(width)
            layers[f"relu{name}"] = nn.ReLU()
            if place < len(widths):
                layers[f"dropout{name}"] = nn.Dropout(0.3 if stack == 1 else 0.4)
            inputs = width
        layers[f"pool{stack}"] = nn.MaxPool2d(kernel_size=2)
    layers["flatten"] = nn.Flatten()
    layers["dropout5"] = nn.Dropout(0.5)
    layers["fc1"] = nn.Linear(512, 512)
    layers["norm6"] = nn.BatchNorm1d(512)
    layers["relu6"] = nn.ReLU()
    layers["dropout6"] = nn.Dropout(0.5)
    layers["logits"] = nn.Linear(512, classes)
    return nn.Sequential(layers)


class KeskarF1(Classifier):
    """F1 of Keskar et al. 2017, for MNIST; F2 (TIMIT) with depth 7, 360 inputs and 1,973 classes.

    Batch normalisation uses running averages in evaluation. The released code used the batch's own statistics there
    too (Keras' mode 2), which makes a prediction depend on the other images of its batch.

    Args:
        depth: Number of hidden layers, from 0.
        width: Units per hidden layer.
        inputs: Entries per image: channels times height times width.
        classes: Number of classes.
        optimizer: Optimiser; Adam with its default settings in the paper.
        scheduler: Learning-rate schedule; constant in the paper.
        initialisation: Initial weights; Keras' default, glorot_uniform, in the paper.
        **switches: Memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def __init__(
        self,
        depth: int = 5,
        width: int = 512,
        inputs: int = 28 * 28,
        classes: int = 10,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable = lambda optimizer: ConstantLR(optimizer, factor=1.0),
        initialisation: str = "glorot_uniform",
        **switches: Any,
    ) -> None:
        network = keskar_f1(depth, width, inputs, classes)
        super().__init__(network, optimizer, scheduler, initialisation, **switches)


class KeskarConvNet(Classifier, ABC):
    """What the convolutional networks of Keskar et al. 2017 have in common: all but the layers.

    Batch normalisation uses running averages in evaluation, unlike the released code: see `KeskarF1`.

    Args:
        channels: Channels of the 32x32 images.
        classes: Number of classes.
        optimizer: Optimiser; Adam with its default settings in the paper.
        scheduler: Learning-rate schedule; constant in the paper.
        initialisation: Initial weights; Keras' default, glorot_uniform, in the paper.
        **switches: Memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = Adam,
        scheduler: LRSchedulerCallable = lambda optimizer: ConstantLR(optimizer, factor=1.0),
        initialisation: str = "glorot_uniform",
        **switches: Any,
    ) -> None:
        super().__init__(self.layers(channels, classes), optimizer, scheduler, initialisation, **switches)

    @staticmethod
    @abstractmethod
    def layers(channels: int, classes: int) -> nn.Sequential:
        """Make the network."""


class KeskarC1(KeskarConvNet):
    """C1 of Keskar et al. 2017, for CIFAR-10; C3 (CIFAR-100) with 100 classes.

    Batch normalisation uses running averages in evaluation, unlike the released code: see `KeskarF1`.
    """

    layers = staticmethod(keskar_c1)


class KeskarC2(KeskarConvNet):
    """C2 of Keskar et al. 2017, for CIFAR-10; C4 (CIFAR-100) with 100 classes.

    Batch normalisation uses running averages in evaluation, unlike the released code: see `KeskarF1`.
    """

    layers = staticmethod(keskar_c2)


def _check(channels: int, classes: int) -> None:
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
