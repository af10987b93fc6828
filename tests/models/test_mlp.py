"""Tests of models/mlp.py."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

from stratoscope.models import MLP, mlp


@pytest.mark.parametrize(("depth", "parameters"), [(1, 1_209_866), (3, 1_735_178)])
def test_parameter_counts_of_the_paper(depth: int, parameters: int) -> None:
    """MLP 1x512 and 3x512 have the parameters of Zhang et al. 2017, table 1."""
    assert sum(parameter.numel() for parameter in MLP(depth=depth).parameters()) == parameters


def test_the_default_is_1x512() -> None:
    """Without arguments the network is 2352-512-10."""
    linear = [module for module in MLP().network.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(2352, 512), (512, 10)]


def test_layers_are_named_in_order() -> None:
    """Layers are called flatten, fc1, relu1, ..., logits."""
    names = [name for name, _ in mlp(depth=3, width=4, inputs=6).named_children()]
    assert names == ["flatten", "fc1", "relu1", "fc2", "relu2", "fc3", "relu3", "logits"]
    assert [name for name, _ in mlp(depth=0, inputs=6).named_children()] == ["flatten", "logits"]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_logits_equal_the_formula(depth: int) -> None:
    """Logits (n, classes) are alternating matrix products and ReLU of the flattened pixels, with no ReLU at the end."""
    torch.manual_seed(0)
    network = mlp(depth, width=16, inputs=12, classes=7).double()
    image = torch.randn(5, 3, 2, 2).double()
    parameters = list(network.parameters())
    hidden: Tensor = image.reshape(5, 12)
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        hidden = (hidden @ weight.T + bias).clamp(min=0)
    logits = network(image)
    assert logits.shape == (5, 7)
    assert_close(logits, hidden @ parameters[-2].T + parameters[-1])


def test_the_same_seed_gives_the_same_weights() -> None:
    """Two models of one seed agree in every bit, another seed differs."""
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(torch.cat([parameter.flatten() for parameter in MLP(depth=2, width=8).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "size"), [("depth", -1), ("width", 0), ("inputs", 0), ("classes", 0), ("width", -512)]
)
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        mlp(**sizes)
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        MLP(**sizes)


def test_gradients_reach_every_parameter() -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = MLP(depth=3, width=32)
    model(torch.randn(8, 3, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.01 with momentum 0.9, no weight decay, and a factor of 0.95 per schedule step."""
    model = MLP(width=8)
    made: Any = model.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    assert isinstance(scheduler, ExponentialLR)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 0, False)
    assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in model.parameters()}
    optimizer.step()
    scheduler.step()
    assert group["lr"] == pytest.approx(0.0095)
