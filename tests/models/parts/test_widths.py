"""Tests of models/parts/widths.py, and of the networks with a width_multiplier."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from stratoscope.models import SmallAlexNet, SmallInception
from stratoscope.models.parts.widths import widened

both = pytest.mark.parametrize("network", [SmallAlexNet, SmallInception])
Network = Callable[..., nn.Module]


def outputs(model: nn.Module) -> list[int]:
    """Channels or units of every layer with weights, in order."""
    weights = [part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    return [part.weight.shape[0] for part in weights]


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize(
    ("multiplier", "wanted"), [(1, [96, 32, 3]), (0.25, [24, 8, 1]), (0.01, [1, 1, 1]), (1.5, [144, 48, 4])]
)
def test_widths_are_rounded_and_at_least_one(multiplier: float, wanted: list[int]) -> None:
    """Of 96, 32 and 3 channels."""
    assert widened((96, 32, 3), multiplier) == wanted


@pytest.mark.parametrize(("network", "published"), [(SmallAlexNet, 1_387_786), (SmallInception, 1_649_402)])
def test_one_is_the_network_of_the_paper(network: Network, published: int) -> None:
    """Zhang et al. 2017, table 1."""
    assert parameters(network(width_multiplier=1.0)) == parameters(network()) == published


@both
@pytest.mark.parametrize("multiplier", [0.25, 0.5, 2])
def test_every_layer_but_the_logits_is_as_much_narrower(network: Network, multiplier: float) -> None:
    """All published widths are multiples of 4; the logits are the classes."""
    published = outputs(network())
    assert outputs(network(width_multiplier=multiplier)) == [*(multiplier * width for width in published[:-1]), 10]


def test_the_count_of_a_quarter() -> None:
    """Worked out by hand: 16 channels, 96 and 48 units."""
    convolutions = (3 * 25 + 1) * 16 + (16 * 25 + 1) * 16
    units = (16 * 49 + 1) * 96 + (96 + 1) * 48 + (48 + 1) * 10
    assert parameters(SmallAlexNet(width_multiplier=0.25)) == convolutions + units


@both
@pytest.mark.parametrize("multiplier", [0.25, 0.001])
def test_narrow_networks_compute(network: Network, multiplier: float) -> None:
    """Even with one channel a layer."""
    assert network(width_multiplier=multiplier)(torch.randn(2, 3, 28, 28)).shape == (2, 10)


@both
@pytest.mark.parametrize("multiplier", [0, -0.5, math.nan])
def test_no_width_is_refused(network: Network, multiplier: float) -> None:
    """The message has the number."""
    with pytest.raises(ValueError, match=f"width_multiplier must be above 0, got {multiplier}"):
        network(width_multiplier=multiplier)
