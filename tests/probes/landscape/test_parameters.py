"""Tests of probes/landscape/parameters.py: one vector, and sums that are exact where they have to be."""

import pytest
import torch
from torch import Tensor, nn

from stratoscope.probes.landscape.parameters import FlatParameters, combined, others_of


class Tied(nn.Module):
    """A weight under two names, one that is not trained, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("count", torch.tensor(7))


def test_tied_weights_count_once_and_fixed_ones_not_at_all() -> None:
    """In the order of `named_parameters`."""
    network = Tied()
    flat = FlatParameters(network)
    assert list(flat.places) == ["first.weight", "first.bias"]
    assert len(flat) == 12
    assert torch.equal(flat.vector(), torch.cat([network.first.weight.flatten(), network.first.bias]))
    assert flat.layers() == {"first": [(0, 9), (9, 12)]}
    assert set(others_of(network)) == {"fixed", "count"}


def test_what_is_put_is_what_was_taken() -> None:
    """In place: the parameters are the same objects, and tied ones follow."""
    network = Tied()
    flat, weight = FlatParameters(network), network.first.weight
    taken = flat.vector()
    flat.put(torch.arange(12.0))
    assert network.first.weight is weight
    assert torch.equal(network.second.weight, torch.arange(9.0).view(3, 3))
    flat.put(taken)
    assert torch.equal(flat.vector(), taken)
    assert torch.equal(flat.vector_of(network.state_dict()), taken)


def test_a_network_without_weights_is_refused() -> None:
    """There is nothing to move."""
    with pytest.raises(ValueError, match="ReLU has no trainable parameters"):
        FlatParameters(nn.ReLU())


def test_half_precision_weights_keep_their_bits() -> None:
    """They are in float32 in the vector, and go back as they were."""
    network = nn.Linear(3, 2).to(torch.bfloat16)
    before, flat = network.weight.detach().clone(), FlatParameters(network)
    flat.put(flat.vector())
    assert flat.vector().dtype == torch.float32
    assert torch.equal(network.weight, before)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_sum_is_exact_at_its_ends_and_between_equal_ones(scale: float) -> None:
    """To the bit, whatever the size of the numbers."""
    generator = torch.Generator().manual_seed(0)
    ends = [scale**k * torch.randn(50, generator=generator) for k in (1, 0, -1)]
    for place in range(3):
        weights = [float(place == other) for other in range(3)]
        assert torch.equal(combined(ends, weights), ends[place])
    for weights in ([0.3, 0.7], [-1.0, 2.0], [1 / 3, 2 / 3]):
        assert torch.equal(combined([ends[1], ends[1]], weights), ends[1])


@pytest.mark.parametrize("weights", [(0.25, 0.75), (-1.0, 2.0), (0.6, 0.8), (1.0, 0.5)])
def test_a_sum_is_the_weighted_sum(weights: tuple[float, float]) -> None:
    """Also where the weights do not sum to 1; and the same seen from the other end."""
    generator = torch.Generator().manual_seed(1)
    ends: list[Tensor] = [torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(2)]
    expected = weights[0] * ends[0] + weights[1] * ends[1]
    torch.testing.assert_close(combined(ends, weights), expected)
    torch.testing.assert_close(combined(ends[::-1], weights[::-1]), expected)
