"""Tests of models/parts/tapped.py."""

import torch
from torch import nn

from stratoscope.models.parts.tapped import Tapped
from stratoscope.probes import find_taps, select_taps


def layers() -> dict[str, nn.Module]:
    """Two linear layers with a ReLU between them, and one behind."""
    return {"fc1": nn.Linear(4, 3), "relu1": nn.ReLU(), "fc2": nn.Linear(3, 2), "relu2": nn.ReLU()}


def chosen(network: nn.Module) -> list[str]:
    """The layers that are probed where nothing is said."""
    return [tap.name for tap in select_taps("natural", find_taps(network, network, torch.randn(2, 4)))]


def test_layers_run_in_their_order_under_their_names() -> None:
    """Like a sequence that is called by hand."""
    parts, image = layers(), torch.randn(5, 4)
    network = Tapped(parts)
    assert [name for name, _ in network.named_children()] == list(parts)
    expected = image
    for layer in parts.values():
        expected = layer(expected)
    assert torch.equal(network(image), expected)


def test_natural_taps_are_those_named_or_all() -> None:
    """By globs."""
    assert chosen(Tapped(layers())) == ["input", "fc1", "relu1", "fc2", "relu2"]
    assert chosen(Tapped(layers(), ("relu?",))) == ["input", "relu1", "relu2"]


def test_a_slice_is_a_network_whose_layers_are_all_natural() -> None:
    """With the same layers: what was named may not be among them."""
    network = Tapped(layers(), ("fc2",))
    part = network[:2]
    assert isinstance(part, Tapped)
    assert part.fc1 is network.fc1
    assert chosen(part) == ["input", "fc1", "relu1"]
