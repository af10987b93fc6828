"""Tests of probes/landscape/distances.py."""

import torch
from torch import nn

from stratoscope.probes.landscape.distances import WHOLE, norms
from stratoscope.probes.landscape.parameters import FlatParameters


def test_norms_are_those_of_the_layers() -> None:
    """Weight and bias of a layer together; the whole network is the root of the sum of squares."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    flat = FlatParameters(network)
    found = norms(flat, flat.vector())
    assert list(found) == [WHOLE, "0", "2"]
    for name in ("0", "2"):
        parts = [one.detach().double().flatten() for one in network.get_submodule(name).parameters()]
        assert found[name] == float(torch.cat(parts).norm())
    assert abs(found[WHOLE] ** 2 - found["0"] ** 2 - found["2"] ** 2) < 1e-12


def test_distances_are_norms_of_differences() -> None:
    """And none from itself; a network that holds its weights itself has them under `weight`."""
    network = nn.Linear(3, 2)
    flat = FlatParameters(network)
    here, there = flat.vector(), torch.arange(8.0)
    found = norms(flat, here, there)
    assert abs(found[WHOLE] - float((here.double() - there.double()).norm())) < 1e-12
    assert list(found) == [WHOLE, "weight"]
    assert set(norms(flat, here, here).values()) == {0.0}
