"""Multi-layer perceptrons of Zhang et al. 2017 (appendix A): MLP 1x512 and MLP 3x512."""

from collections import OrderedDict
from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.widths import check_depth


def mlp(depth: int = 1, width: int = 512, inputs: int = 3 * 28 * 28, classes: int = 10) -> nn.Sequential:
    """Fully connected layers with ReLU between them: `flatten, fc1, relu1, ..., logits`.

    Args:
        depth: Number of hidden layers, from 0 (which is logistic regression on the pixels).
        width: Units per hidden layer.
        inputs: Entries per image.
        classes: Number of classes.

    Returns:
        The network, with 1,209,866 parameters at 1x512 and 1,735,178 at 3x512 (Zhang et al. 2017, table 1). Its weights
        are torch's defaults, as the paper does not say how they start (see `initialise` for others).

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
        layers[f"relu{layer}"] = nn.ReLU()
    layers["logits"] = nn.Linear(width if depth else inputs, classes)
    return nn.Sequential(layers)


class MLP(Classifier):
    """Multi-layer perceptron; the defaults are MLP 1x512 of Zhang et al. 2017.

    Weights start from torch's defaults, which no paper chose: `initialisation` has others.

    Args:
        depth: Number of hidden layers, from 0.
        width: Units per hidden layer.
        inputs: Entries per image: channels times height times width.
        classes: Number of classes.
        optimizer: Optimiser; SGD, learning rate 0.01, momentum 0.9 in the paper.
        scheduler: Learning-rate schedule; a factor of 0.95 in the paper.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    def __init__(
        self,
        depth: int = 1,
        width: int = 512,
        inputs: int = 3 * 28 * 28,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9),
        scheduler: LRSchedulerCallable = lambda optimizer: ExponentialLR(optimizer, gamma=0.95),
        **switches: Any,
    ) -> None:
        super().__init__(mlp(depth, width, inputs, classes), optimizer, scheduler, **switches)
