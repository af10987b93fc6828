"""The very deep multi-layer perceptron of Neelakantan et al. 2015 (section 4.1): 20 layers of 50 units."""

from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from stratoscope.models.mlp import mlp
from stratoscope.models.parts.classifier import Classifier


class NeelakantanMLP(Classifier):
    """Multi-layer perceptron 20x50 of Neelakantan et al. 2015, for 1x28x28 images.

    Args:
        depth: Number of hidden layers, from 0; 20 in the paper.
        width: Units per hidden layer; 50 in the paper.
        inputs: Entries per image: channels times height times width.
        classes: Number of classes.
        optimizer: Optimiser; SGD without momentum, learning rate 0.1 or 0.01 in the paper (half of its runs each).
        scheduler: Learning-rate schedule; constant in the paper.
        initialisation: Initial weights; in the paper's table 1 simple, sussillo_abbott, he_normal and zero.
        **switches: Memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def __init__(
        self,
        depth: int = 20,
        width: int = 50,
        inputs: int = 28 * 28,
        classes: int = 10,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.1),
        scheduler: LRSchedulerCallable = lambda optimizer: ConstantLR(optimizer, factor=1.0),
        initialisation: str = "simple",
        **switches: Any,
    ) -> None:
        super().__init__(mlp(depth, width, inputs, classes), optimizer, scheduler, initialisation, **switches)
