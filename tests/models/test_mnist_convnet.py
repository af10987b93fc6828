"""Tests of models/mnist_convnet.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

from stratoscope.models.mnist_convnet import MNISTConvNet, mnist_convnet
from stratoscope.probes import find_taps, select_taps


def test_parameter_count_of_the_tutorial() -> None:
    """The network has the parameters of TensorFlow's tutorial."""
    assert sum(parameter.numel() for parameter in MNISTConvNet().parameters()) == 1_663_370


def test_natural_taps_are_the_probe_points_of_the_paper() -> None:
    """Input, both convolutions before and after ReLU and after pooling, fc1 before and after ReLU, logits."""
    network = mnist_convnet().eval()
    taps = select_taps("natural", find_taps(network, network, torch.randn(2, 1, 28, 28)))
    assert {tap.name: tap.width for tap in taps} == {
        "input": 784,
        "conv1": 32 * 28 * 28,
        "relu1": 32 * 28 * 28,
        "pool1": 32 * 14 * 14,
        "conv2": 64 * 14 * 14,
        "relu2": 64 * 14 * 14,
        "pool2": 64 * 7 * 7,
        "fc1": 512,
        "relu3": 512,
        "logits": 10,
    }
    assert [tap.name for tap in taps] == "input conv1 relu1 pool1 conv2 relu2 pool2 fc1 relu3 logits".split()


def test_the_initialisation_of_the_tutorial() -> None:
    """Weights are N(0, 0.1^2) cut at two deviations; biases are 0 in conv1 and 0.1 elsewhere."""
    torch.manual_seed(0)
    network = MNISTConvNet().network
    biases = {name: layer.bias for name, layer in network.named_children() if isinstance(layer, nn.Conv2d | nn.Linear)}
    for name, bias in biases.items():
        assert bias is not None
        assert_close(bias, torch.full_like(bias, 0.0 if name == "conv1" else 0.1), msg=name)
    weight = network.get_parameter("fc1.weight")
    assert weight.abs().max() <= 0.2
    assert weight.std().item() == pytest.approx(0.0880, abs=1e-4)  # 0.1 times the deviation of the cut normal
    torch.manual_seed(0)
    assert (MNISTConvNet(initialisation="he_normal").network.get_parameter("fc1.bias") == 0).all()


def test_gradients_reach_every_parameter() -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = MNISTConvNet(channels=3, classes=7)
    logits = model(torch.randn(4, 3, 28, 28))
    assert logits.shape == (4, 7)
    logits.logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_optimiser_of_the_tutorial() -> None:
    """SGD at 0.01, momentum 0.9, a factor of 0.95 per epoch; weight decay 5e-4 on fully connected layers only."""
    model = MNISTConvNet()
    made: Any = model.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    assert isinstance(scheduler, ExponentialLR)
    names = {id(parameter): name for name, parameter in model.network.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {name: 5e-4 if name.startswith(("fc1", "logits")) else 0 for name in names.values()}
    assert all(
        (group["lr"], group["momentum"], group["nesterov"]) == (0.01, 0.9, False) for group in optimizer.param_groups
    )
    optimizer.step()
    scheduler.step()
    assert all(group["lr"] == pytest.approx(0.0095) for group in optimizer.param_groups)


def test_a_step_descends_the_penalised_loss() -> None:
    """The first step is the learning rate times the gradient of cross-entropy + 5e-4 sum of half squared norms."""
    torch.manual_seed(0)
    model = MNISTConvNet().eval()
    image, label = torch.randn(4, 1, 28, 28), torch.randint(10, (4,))
    parameters = dict(model.network.named_parameters())
    dense = [parameter for name, parameter in parameters.items() if name.startswith(("fc1", "logits"))]
    loss = cross_entropy(model(image), label)
    penalised = loss + 5e-4 * sum((parameter.square().sum() / 2 for parameter in dense), torch.zeros(()))
    wanted = torch.autograd.grad(penalised, list(parameters.values()))
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    made: Any = model.configure_optimizers()
    cross_entropy(model(image), label).backward()
    made["optimizer"].step()
    for (name, parameter), gradient in zip(parameters.items(), wanted, strict=True):
        assert_close(parameter.detach(), before[name] - 0.01 * gradient, msg=name)


@pytest.mark.parametrize(("name", "size"), [("channels", 0), ("classes", 0), ("classes", -3)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        MNISTConvNet(**sizes)


def test_a_negative_weight_decay_is_refused() -> None:
    """The message names the value."""
    with pytest.raises(ValueError, match=r"weight_decay .*got -0.1"):
        MNISTConvNet(weight_decay=-0.1)


def test_it_runs_compiled_in_bfloat16_with_channels_last() -> None:
    """The three switches of training speed give finite logits of the same shape."""
    network = torch.compile(mnist_convnet().to(memory_format=torch.channels_last), backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 1, 28, 28).contiguous(memory_format=torch.channels_last))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
