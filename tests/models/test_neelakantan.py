"""Tests of models/neelakantan.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from stratoscope.models.neelakantan import NeelakantanMLP


def test_the_network_of_the_paper() -> None:
    """The network is 784 - 20 x 50 - 10 with ReLU between."""
    model = NeelakantanMLP()
    linear = [module for module in model.network.modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in linear] == [50] * 20 + [10]
    assert linear[0].in_features == 784
    assert sum(isinstance(module, nn.ReLU) for module in model.network.modules()) == 20
    assert sum(parameter.numel() for parameter in model.parameters()) == 784 * 50 + 50 + 19 * (50 * 50 + 50) + 510
    assert model(torch.randn(3, 1, 28, 28)).shape == (3, 10)


def test_the_simple_initialisation_is_the_default() -> None:
    """Weights are N(0, 0.1^2), biases zero."""
    torch.manual_seed(0)
    network = NeelakantanMLP().network
    assert network.get_parameter("fc1.weight").std().item() == pytest.approx(0.1, rel=0.02)
    assert network.get_parameter("fc2.weight").std().item() == pytest.approx(0.1, rel=0.05)
    assert (network.get_parameter("fc1.bias") == 0).all()


@pytest.mark.parametrize("initialisation", ["simple", "sussillo_abbott", "he_normal"])
def test_gradients_reach_every_parameter(initialisation: str) -> None:
    """Under each initialisation of table 1 but zero, every parameter has a gradient that is not zero."""
    torch.manual_seed(0)
    model = NeelakantanMLP(initialisation=initialisation)
    model(torch.randn(64, 1, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_from_zero_only_the_last_bias_gets_a_gradient() -> None:
    """Zero weights are a saddle point: without added noise nothing but the logits' bias moves (section 4.1)."""
    model = NeelakantanMLP(initialisation="zero")
    model(torch.randn(8, 1, 28, 28)).logsumexp(1).sum().backward()
    moved = [name for name, p in model.network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert moved == ["logits.bias"]


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.1 without momentum or weight decay, and the learning rate stays."""
    made: Any = NeelakantanMLP().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0, 0, False)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == 0.1


def test_bad_sizes_are_refused() -> None:
    """The message names the size and its value."""
    with pytest.raises(ValueError, match=r"got.*\bdepth -1\b"):
        NeelakantanMLP(depth=-1)
