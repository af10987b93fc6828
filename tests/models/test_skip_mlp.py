"""Tests of models/skip_mlp.py."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.skip_mlp import SkipMLP, SkipNetwork
from stratoscope.probes import find_taps, select_taps

PLAIN = 784 * 128 + 128 + 127 * (128 * 128 + 128) + 128 * 10 + 10


@pytest.mark.parametrize(("skip", "parameters"), [(64, PLAIN + 784 * 128), (None, PLAIN)])
def test_parameter_counts(skip: int | None, parameters: int) -> None:
    """128 layers of 128 units; with the connection layer 64 has 784 inputs more."""
    model = SkipMLP(skip=skip)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("skip", [None, 2, 3, 4])
def test_logits_equal_the_formula(skip: int | None) -> None:
    """Each layer is leaky ReLU of an affine map; one of them also gets the flattened pixels, behind the activations."""
    torch.manual_seed(0)
    network = SkipNetwork(depth=4, width=5, skip=skip, inputs=12, classes=7).double()
    image = torch.randn(6, 3, 2, 2).double()
    parameters = list(network.parameters())
    pixels = hidden = image.reshape(6, 12)
    for layer, (weight, bias) in enumerate(zip(parameters[:-2:2], parameters[1:-2:2], strict=True), start=1):
        entering: Tensor = torch.cat([hidden, pixels], 1) if layer == skip else hidden
        hidden = leaky_relu(entering @ weight.T + bias, 0.01)
    assert_close(network(image), hidden @ parameters[-2].T + parameters[-1])


def test_natural_taps_are_the_activations_of_all_layers_in_order() -> None:
    """Input, the 128 activations and the logits."""
    network = SkipNetwork()
    taps = select_taps("natural", find_taps(network, network, torch.randn(2, 1, 28, 28)))
    assert [tap.name for tap in taps] == ["input", *(f"relu{layer}" for layer in range(1, 129)), "logits"]
    assert {tap.width for tap in taps[1:-1]} == {128}


def test_gradients_reach_every_parameter_with_the_connection() -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = SkipMLP()
    model(torch.randn(8, 1, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("name", "size"), [("depth", 0), ("width", 0), ("inputs", 0), ("classes", -1)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        SkipMLP(**sizes)


@pytest.mark.parametrize("skip", [-1, 0, 1, 129])
def test_a_connection_out_of_range_is_refused(skip: int) -> None:
    """Layer 1 sees the pixels anyway, and there are 128 layers."""
    with pytest.raises(ValueError, match=rf"from 2 to depth 128.*got {skip}"):
        SkipMLP(skip=skip)


def test_the_optimiser() -> None:
    """The defaults are plain SGD and a learning rate that stays."""
    made: Any = SkipMLP().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    rate = group["lr"]
    assert (group["momentum"], group["weight_decay"]) == (0, 0)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == rate


def test_it_runs_compiled_in_bfloat16() -> None:
    """The loop over layers is one graph, and gives finite logits."""
    network = torch.compile(SkipNetwork(depth=6, skip=4), backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 1, 28, 28))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
