"""The residual networks for CIFAR-10 of He et al. 2016 (arXiv 1512.03385, section 4.2): ResNet-20 to ResNet-110."""

from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.parts.widths import check_depth
from stratoscope.models.resnet import TAPS, BasicBlock
from stratoscope.models.schedules import DividedAt

WIDTHS = (16, 32, 64)  # channels of the three stages


class PaddedShortcut(nn.Module):
    """The shortcut without parameters (option A): every second pixel, and zeros for the channels there were not.

    Args:
        new: Number of channels to add, after the others.
        stride: Step from one pixel that is kept to the next.
    """

    def __init__(self, new: int, stride: int) -> None:
        super().__init__()
        self.new, self.stride = new, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, channels + new, height / stride, width / stride), rounded up."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))


def padded(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity where there are as many channels, else `PaddedShortcut`."""
    return nn.Identity() if inputs == outputs else PaddedShortcut(outputs - inputs, stride)


def cifar_resnet(depth: int = 20, channels: int = 3, classes: int = 10) -> nn.Sequential:
    """A 3x3 convolution, three stages of n blocks with 16, 32 and 64 channels, mean over all pixels, logits.

    The weights are drawn as the paper does, from He et al. 2015 (`he_normal` of `initialise`).

    Args:
        depth: Layers with weights: 6n + 2, where the paper has 20, 32, 44, 56 and 110.
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for images of 32x32 pixels, or of any other size, with 269,722, 464,154, 658,586, 853,018 and
        1,727,962 parameters at the paper's depths (its table 6 in millions). Parts are called `stem, block1_1,
        block1_2, ..., block3_<n>, pool, flatten, logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 6n + 2, such as 20, 32, 44, 56 or 110; got {depth}")
    check_depth(depth)
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
    stem: OrderedDict[str, nn.Module] = OrderedDict()
    stem["conv"] = nn.Conv2d(channels, WIDTHS[0], kernel_size=3, padding=1, bias=False)
    stem["norm"] = nn.BatchNorm2d(WIDTHS[0])
    stem["relu"] = nn.ReLU()
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(stem))
    inputs = WIDTHS[0]
    for stage, width in enumerate(WIDTHS, start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            parts[f"block{stage}_{block}"] = BasicBlock(inputs, width, 1 if inputs == width else 2, padded)
            inputs = width
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["logits"] = nn.Linear(inputs, classes)
    network = Tapped(parts, TAPS)
    initialise(network, "he_normal")
    return network


class CifarResNet(Classifier):
    """Residual network for CIFAR-10 of He et al. 2016, for 3x32x32 images; other sizes work.

    Args:
        depth: Layers with weights: 6n + 2, where the paper has 20, 32, 44, 56 and 110.
        channels: Channels of the images.
        classes: Number of classes.
        optimizer: Optimiser; SGD, learning rate 0.1, momentum 0.9, weight decay 0.0001 in the paper, with batch 128.
        scheduler: Learning-rate schedule; divided by 10 after 32,000 and 48,000 of 64,000 steps
            in the paper, which are epochs 82 and 123 of 164 when there are 50,000 images.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        depth: int = 20,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=82, second=123),
        **switches: Any,
    ) -> None:
        super().__init__(cifar_resnet(depth, channels, classes), optimizer, scheduler, **switches)
