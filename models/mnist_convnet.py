"""The convolutional net of TensorFlow's MNIST tutorial, which Alain & Bengio 2016 probe (figure 2)."""

from collections import OrderedDict
from typing import Any, ClassVar

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from stratoscope.models.parts.classifier import Classifier
from stratoscope.models.parts.initialisation import initialise


def mnist_convnet(channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Twice (convolution 5x5, ReLU, max-pool 2x2) with 32 and 64 channels, then 512 units, dropout and `classes` units.

    Weights are drawn as in the tutorial: N(0, 0.1^2) within two deviations; biases are 0 in conv1 and 0.1 elsewhere.

    Args:
        channels: Channels of the images.
        classes: Number of classes.

    Returns:
        The network for 28x28 images, with 1,663,370 parameters. Its layers are the paper's probe points: before the
        ReLU, after it, after the pooling: `conv1, relu1, pool1, conv2, relu2, pool2, flatten, fc1, relu3, dropout,
        logits`.

    Raises:
        ValueError: If a size is out of range.
    """
    if min(channels, classes) < 1:
        raise ValueError(f"channels and classes must be 1 or more; got channels {channels}, classes {classes}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, (inputs, outputs) in enumerate(((channels, 32), (32, 64)), start=1):
        layers[f"conv{block}"] = nn.Conv2d(inputs, outputs, kernel_size=5, padding=2)
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(kernel_size=2)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(64 * 7 * 7, 512)
    layers["relu3"] = nn.ReLU()
    layers["dropout"] = nn.Dropout(0.5)
    layers["logits"] = nn.Linear(512, classes)
    network = nn.Sequential(layers)
    initialise(network, "truncated_normal")
    for name in ("conv2", "fc1", "logits"):
        nn.init.constant_(network.get_parameter(f"{name}.bias"), 0.1)
    return network


class MNISTConvNet(Classifier):
    """Convolutional net of TensorFlow's MNIST tutorial (Alain & Bengio 2016, figure 2), for 1x28x28 images.

    The tutorial trains it for 10 epochs with batches of 64 on pixels scaled to [-0.5, 0.5].

    Args:
        channels: Channels of the 28x28 images.
        classes: Number of classes.
        weight_decay: Factor of half the squared norm of the fully connected layers' weights and biases, added to the
            loss; 5e-4 in the tutorial. The convolutions have none.
        optimizer: Optimiser; SGD, learning rate 0.01, momentum 0.9 in the tutorial.
        scheduler: Learning-rate schedule; a factor of 0.95 in the tutorial.
        **switches: Initialisation, memory format, compilation, interval and monitor, of `Classifier`.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        weight_decay: float = 5e-4,
        optimizer: OptimizerCallable = lambda params: SGD(params, lr=0.01, momentum=0.9),
        scheduler: LRSchedulerCallable = lambda optimizer: ExponentialLR(optimizer, gamma=0.95),
        **switches: Any,
    ) -> None:
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be 0 or more, got {weight_decay}")
        super().__init__(mnist_convnet(channels, classes), optimizer, scheduler, **switches)
        self.weight_decay = weight_decay

    def make_optimizer(self) -> Optimizer:
        """Make the optimiser, with weight decay on the fully connected layers only."""
        layers = list(self.network.children())
        dense = [parameter for layer in layers if isinstance(layer, nn.Linear) for parameter in layer.parameters()]
        rest = [parameter for layer in layers if not isinstance(layer, nn.Linear) for parameter in layer.parameters()]
        return self.optimizer([{"params": rest}, {"params": dense, "weight_decay": self.weight_decay}])
