"""Tests of models/small_alexnet.py."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

from stratoscope.models import SmallAlexNet, small_alexnet
from stratoscope.models.parts.local_response_norm import LocalResponseNorm

BLOCK = ["conv{}", "relu{}", "pool{}", "norm{}"]
HEAD = ["flatten", "fc1", "relu3", "fc2", "relu4", "logits"]
both = pytest.mark.parametrize("local_response_norm", [True, False])


def response_norm(x: Tensor) -> Tensor:
    """TensorFlow's local response normalisation with radius 4, bias 1, alpha 0.001/9, beta 0.75, channel by channel."""
    channels = x.shape[1]
    windows = [x[:, max(0, c - 4) : c + 5].square().sum(1) for c in range(channels)]
    return x / (1 + 0.001 / 9 * torch.stack(windows, dim=1)) ** 0.75


@both
def test_parameter_count_of_the_paper(local_response_norm: bool) -> None:
    """The network has the parameters of Zhang et al. 2017, table 1; normalisation has none."""
    model = SmallAlexNet(local_response_norm=local_response_norm)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_387_786


def test_layers_are_named_in_order() -> None:
    """Each block is convolution, ReLU, pooling and, where wanted, normalisation."""
    blocks = [name.format(block) for block in (1, 2) for name in BLOCK]
    network = small_alexnet(local_response_norm=True)
    assert [name for name, _ in network.named_children()] == blocks + HEAD
    assert isinstance(network.norm1, LocalResponseNorm)
    assert isinstance(network.norm2, LocalResponseNorm)
    without = small_alexnet(local_response_norm=False)
    assert [name for name, _ in without.named_children()] == [name for name in blocks if "norm" not in name] + HEAD
    assert not any(isinstance(module, nn.LocalResponseNorm) for module in without.modules())


@pytest.mark.parametrize("name", ["norm1", "norm2"])
def test_normalisation_equals_the_formula(name: str) -> None:
    """Both normalisations divide by (1 + 0.001/9 times the sum of squares over 9 neighbouring channels)^0.75."""
    norm = small_alexnet().get_submodule(name).double()
    x = 30 * torch.randn(2, 64, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    assert_close(norm(x), response_norm(x))
    assert (norm(x) / x).min() < 0.7  # the test would see another alpha, size or exponent


@both
def test_shapes_of_all_layers(local_response_norm: bool) -> None:
    """A 28x28 image is pooled to 14x14 and 7x7, of 64 channels, and ends in 384, 192 and 10 units."""
    network, x = small_alexnet(local_response_norm), torch.randn(2, 3, 28, 28)
    shapes = {}
    for name, layer in network.named_children():
        x = layer(x)
        shapes[name] = tuple(x.shape[1:])
    wanted = {
        "conv1": (64, 28, 28),
        "pool1": (64, 14, 14),
        "conv2": (64, 14, 14),
        "pool2": (64, 7, 7),
        "flatten": (3136,),
        "fc1": (384,),
        "fc2": (192,),
        "logits": (10,),
    }
    assert {name: shapes[name] for name in wanted} == wanted


def test_logits_have_the_number_of_classes() -> None:
    """Logits are (n, classes)."""
    assert SmallAlexNet(classes=7)(torch.randn(3, 3, 28, 28)).shape == (3, 7)


@pytest.mark.parametrize("classes", [0, -3])
def test_a_bad_number_of_classes_is_refused(classes: int) -> None:
    """The message names the size and its value."""
    with pytest.raises(ValueError, match=rf"classes .*got {classes}"):
        SmallAlexNet(classes=classes)


def test_the_same_seed_gives_the_same_weights() -> None:
    """Two models of one seed agree in every bit, with and without normalisation; another seed differs."""
    weights = []
    for seed, local_response_norm in ((0, True), (0, True), (0, False), (1, True)):
        torch.manual_seed(seed)
        model = SmallAlexNet(local_response_norm)
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


@both
def test_gradients_reach_every_parameter(local_response_norm: bool) -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = SmallAlexNet(local_response_norm)
    model(torch.randn(4, 3, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.01 with momentum 0.9, no weight decay, and a factor of 0.95 per schedule step."""
    made: Any = SmallAlexNet().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    assert isinstance(scheduler, ExponentialLR)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 0, False)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == pytest.approx(0.0095)
