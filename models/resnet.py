"""The residual networks for ImageNet of He et al. 2016 (arXiv 1512.03385, table 1), with a stem for small images."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.schedules import DividedAt

WIDTHS = (64, 128, 256, 512)  # channels of the 3x3 convolutions of the four stages
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # table 1

TAPS = ("stem", "block*", "pool", "logits")  # the stem, every block, the pooling
Shortcut = Callable[[int, int, int], nn.Module]


class BasicBlock(nn.Module):
    """y = ReLU(F(x) + shortcut(x)), where F is two 3x3 convolutions (figure 5, left).

    Args:
        inputs: Channels of x.
        width: Channels of the convolutions, and of y.
        stride: Stride of the first convolution, and of the shortcut.
        shortcut: Makes the shortcut from the channels of x and y, and the stride; None makes `projection`.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int, shortcut: Shortcut | None = None) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = convolution(inputs, width, kernel_size=3, stride=stride)
        layers["norm1"] = nn.BatchNorm2d(width)
        layers["relu1"] = nn.ReLU()
        layers["conv2"] = convolution(width, width, kernel_size=3)
        layers["norm2"] = nn.BatchNorm2d(width)
        self.residual = nn.Sequential(layers)
        self.shortcut = (shortcut or projection)(inputs, width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return y (n, width, height / stride, width / stride)."""
        y: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return y


class Bottleneck(nn.Module):
    """y = ReLU(F(x) + shortcut(x)), where F is a 1x1, a 3x3 and a 1x1 convolution (figure 5, right).

    The 3x3 convolution has the stride, as in torchvision and most code since 2016; in the paper the first one has it.

    Args:
        inputs: Channels of x.
        width: Channels of the first two convolutions; y has four times as many.
        stride: Stride of the 3x3 convolution, and of the shortcut.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = convolution(inputs, width, kernel_size=1)
        layers["norm1"] = nn.BatchNorm2d(width)
        layers["relu1"] = nn.ReLU()
        layers["conv2"] = convolution(width, width, kernel_size=3, stride=stride)
        layers["norm2"] = nn.BatchNorm2d(width)
        layers["relu2"] = nn.ReLU()
        layers["conv3"] = convolution(width, outputs, kernel_size=1)
        layers["norm3"] = nn.BatchNorm2d(outputs)
        self.residual = nn.Sequential(layers)
        self.shortcut = projection(inputs, outputs, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return y (n, 4 * width, height / stride, width / stride)."""
        y: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return y


def convolution(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Convolution that keeps height and width but for the stride; without bias, as a normalisation follows."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1x1 convolution and its normalisation (option B of the paper)."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    conv = convolution(inputs, outputs, kernel_size=1, stride=stride)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs)))


def resnet(depth: int = 18, channels: int = 3, classes: int = 10) -> nn.Sequential:
    """A 3x3 convolution, four stages of blocks with 64, 128, 256 and 512 channels, mean over all pixels, logits.

    The stem differs from the paper, whose 7x7 convolution and max-pool, each with stride 2, would leave 8x8 of 32x32
    pixels. Depths 18 and 34 have basic blocks, the others bottlenecks. The weights are drawn as the paper does, from He
    et al. 2015 (`he_normal` of `initialise`).

    Args:
        depth: Layers with weights: 18, 34, 50, 101 or 152.
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for images of 32x32 pixels, or of any other size, with 11,173,962 parameters at depth 18, 21,282,122
        at 34, 23,520,842 at 50, 42,512,970 at 101 and 58,156,618 at 152. Parts are called `stem, block1_1, block1_2,
        ..., block4_<n>, pool, flatten, logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}; got {depth}")
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
    kind = BasicBlock if depth < 50 else Bottleneck
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    stem["conv"] = convolution(channels, WIDTHS[0], kernel_size=3)
    stem["norm"] = nn.BatchNorm2d(WIDTHS[0])
    stem["relu"] = nn.ReLU()
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
    inputs = WIDTHS[0]
    for stage, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True), start=1):
        for block in range(1, blocks + 1):
            parts[f"block{stage}_{block}"] = kind(inputs, width, stride=2 if stage > 1 and block == 1 else 1)
            inputs = width * kind.expansion
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["logits"] = nn.Linear(inputs, classes)
    network = Tapped(parts, TAPS)
    initialise(network, "he_normal")
    return network


class ResNet(Classifier):
    """Residual network of He et al. 2016 with a stem for small images, for 3x32x32 images; other sizes work.

    Args:
        depth: Layers with weights: 18, 34, 50, 101 or 152.
        channels: Channels of the images.
        classes: Number of classes.
        optimizer: Optimiser; SGD, learning rate 0.1, momentum 0.9, weight decay 0.0001 in the paper.
        scheduler: Learning-rate schedule; divided by 10 after 82 and 123 of 164 epochs, which is
            the paper's for CIFAR-10 (see `CifarResNet`).
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        depth: int = 18,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=82, second=123),
        **switches: Any,
    ) -> None:
        super().__init__(resnet(depth, channels, classes), optimizer, scheduler, **switches)
