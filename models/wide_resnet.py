"""The wide residual networks of Zagoruyko & Komodakis 2016 (table 1), such as WRN-28-1 and WRN-28-10."""

from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import SGD

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.tapped import Tapped
from stratoscope.models.parts.widths import check_depth
from stratoscope.models.schedules import DividedAt

WIDTHS = (16, 32, 64)  # channels of the three stages at width 1; the stem has 16 at every width

TAPS = ("stem", "block*", "pool", "logits")  # the stem, every block, the pooling


class PreActivationBlock(nn.Module):
    """y = shortcut + F(a) with a = ReLU(normalised x) (figure 1, c and d).

    F is convolution, normalisation, ReLU, dropout, convolution. The shortcut is x where x and y agree in shape, else a
    1x1 convolution of a.

    Args:
        inputs: Channels of x.
        outputs: Channels of y.
        stride: Stride of the first convolution, and of the shortcut.
        dropout: Probability that an entry is dropped before the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv1"] = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        layers["norm2"] = nn.BatchNorm2d(outputs)
        layers["relu2"] = nn.ReLU()
        layers["dropout"] = nn.Dropout(dropout)
        layers["conv2"] = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.residual = nn.Sequential(layers)
        same = inputs == outputs and stride == 1
        self.projection = None if same else nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (n, outputs, height / stride, width / stride)."""
        a = self.relu1(self.norm1(x))
        shortcut: Tensor = x if self.projection is None else self.projection(a)
        y: Tensor = shortcut + self.residual(a)
        return y


def wide_resnet(
    depth: int = 28, width: int = 1, dropout: float = 0.0, channels: int = 3, classes: int = 10
) -> nn.Sequential:
    """A 3x3 convolution, three stages of n blocks, normalisation and ReLU, mean over all pixels, logits.

    The stages have 16, 32 and 64 times `width` channels. The weights are drawn from He et al. 2015 (`he_normal` of
    `initialise`).

    Args:
        depth: Layers with weights, as the paper counts: 6n + 4.
        width: Factor of the channels, k in the paper.
        dropout: Probability that an entry is dropped between the two convolutions of a block.
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for images of 32x32 pixels, or of any other size, with 369,498 parameters at 28-1 and 36,479,194 at
        28-10. Parts are called `stem, block1_1, block1_2, ..., block3_<n>, norm, relu, pool, flatten, logits`.

    Raises:
        ValueError: If a size or the probability is out of range.
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth must be 6n + 4, such as 16, 22, 28 or 40; got {depth}")
    check_depth(depth)
    if min(width, channels, classes) < 1:
        sizes = f"width {width}, channels {channels}, classes {classes}"
        raise ValueError(f"width, channels and classes must be 1 or more; got {sizes}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = nn.Conv2d(channels, WIDTHS[0], kernel_size=3, padding=1, bias=False)
    inputs = WIDTHS[0]
    for stage, narrow in enumerate(WIDTHS, start=1):
        for block in range(1, (depth - 4) // 6 + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            parts[f"block{stage}_{block}"] = PreActivationBlock(inputs, narrow * width, stride, dropout)
            inputs = narrow * width
    parts["norm"] = nn.BatchNorm2d(inputs)
    parts["relu"] = nn.ReLU()
    parts["pool"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["logits"] = nn.Linear(inputs, classes)
    network = Tapped(parts, TAPS)
    initialise(network, "he_normal")
    return network


class WideResNet(Classifier):
    """Wide residual network of Zagoruyko & Komodakis 2016, for 3x32x32 images; other sizes work.

    The defaults are those of WRN-28-1 in the code that Zhang published for random labels
    (github.com/pluskid/fitting-random-labels), with batch 128 and 300 epochs. The paper has Nesterov's momentum, weight
    decay 0.0005, and a factor of 0.2 after 60, 120 and 160 of 200 epochs.

    Args:
        depth: Layers with weights, as the paper counts: 6n + 4.
        width: Factor of the channels, k in the paper.
        dropout: Probability that an entry is dropped between the two convolutions of a block.
        channels: Channels of the images.
        classes: Number of classes.
        optimizer: Optimiser; SGD, learning rate 0.1, momentum 0.9, weight decay 0.0001 in Zhang's code.
        scheduler: Learning-rate schedule; divided by 10 after 150 and 225 epochs, as in Zhang's
            code.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def __init__(
        self,
        depth: int = 28,
        width: int = 1,
        dropout: float = 0.0,
        channels: int = 3,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1, momentum=0.9, weight_decay=1e-4),
        scheduler: LRSchedulerCallable = lambda optimizer: DividedAt(optimizer, first=150, second=225),
        **switches: Any,
    ) -> None:
        super().__init__(wide_resnet(depth, width, dropout, channels, classes), optimizer, scheduler, **switches)
