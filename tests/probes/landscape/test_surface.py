"""Tests of probes/landscape/surface.py: a network that is moved, its buffers with it, and put back."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from stratoscope.probes import frozen
from stratoscope.probes.landscape.surface import (
    Surface,
    batch_normalisations,
    block_moments,
    mean_losses,
    put_moments,
)


def network(seed: int) -> nn.Sequential:
    """A small network with batch normalisations, trained for some steps."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))
    made.append(nn.BatchNorm1d(3, affine=False))
    for _ in range(5):
        made(torch.randn(20, 4))
    return made.eval()


def states(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a state dict."""
    return {name: one.clone() for name, one in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts are the same, to the bit."""
    return all(torch.equal(one[name], other[name]) for name in one)


def test_at_an_end_a_network_is_that_end() -> None:
    """Weights, running statistics and counts of batches, to the bit; afterwards it is itself again."""
    ends = [network(seed) for seed in range(3)]
    moved, before = ends[0], states(ends[0])
    with frozen(moved):
        surface = Surface(moved, [ends[1].state_dict(), ends[2].state_dict()])
        for place in (2, 0, 1):
            surface.go_to([float(place == other) for other in range(3)])
            assert same(states(moved), before if place == 0 else states(ends[place]))
    assert same(states(moved), before)


def test_between_two_copies_nothing_changes() -> None:
    """To the bit, outside of them too."""
    moved = network(0)
    before = states(moved)
    with frozen(moved):
        surface = Surface(moved, [deepcopy(before)])
        for alpha in (-1.0, 0.3, 0.5, 1.7):
            surface.go_to([1 - alpha, alpha])
            assert same(states(moved), before)


def test_running_statistics_go_with_the_weights_and_variances_stay_positive() -> None:
    """Means are interpolated; a variance is at least that of the end with the smallest."""
    ends = [network(seed) for seed in range(2)]
    means, variances = ([deepcopy(getattr(end[1], name)) for end in ends] for name in ("running_mean", "running_var"))
    with frozen(ends[0]):
        surface = Surface(ends[0], [ends[1].state_dict()])
        surface.go_to([0.25, 0.75])
        torch.testing.assert_close(ends[0][1].running_mean, 0.25 * means[0] + 0.75 * means[1])
        torch.testing.assert_close(ends[0][1].running_var, 0.25 * variances[0] + 0.75 * variances[1])
        surface.go_to([101.0, -100.0])
        assert (states(ends[0])["1.running_var"] >= torch.minimum(*variances)).all()


def test_weights_that_are_not_trained_go_along() -> None:
    """So that an end is what it was."""
    ends = [network(seed) for seed in range(2)]
    for end in ends:
        end[0].requires_grad_(False)
    with frozen(ends[0]):
        surface = Surface(ends[0], [ends[1].state_dict()])
        assert len(surface.ends[0]) == 6 + 6 + 6 * 3 + 3
        surface.go_to([0.0, 1.0])
        assert same(states(ends[0][0]), states(ends[1][0]))


def test_statistics_are_those_of_all_blocks_together() -> None:
    """Of one block they are its own; of several, the mean by their sizes; dropout stays off, settings are put back."""
    moved, data = network(0), torch.randn(60, 4)
    with frozen(moved):
        put_moments(moved, block_moments(moved, moved, [data]))
        hidden = moved[0](data)
        torch.testing.assert_close(moved[1].running_mean, hidden.mean(0))
        torch.testing.assert_close(moved[1].running_var, hidden.var(0))
        found = block_moments(moved, moved, [data[:40], data[40:]])
        put_moments(moved, found)
        torch.testing.assert_close(moved[1].running_mean, hidden.mean(0))
        expected = (2 * hidden[:40].var(0) + hidden[40:].var(0)) / 3
        torch.testing.assert_close(moved[1].running_var, expected)
        assert [count for count, _ in found] == [40, 20]
        assert not any(part.training for part in moved.modules())
        assert all(part.momentum == 0.1 for part in batch_normalisations(moved).values())


def test_statistics_of_a_network_in_float64_are_of_every_block() -> None:
    """Which are copies: the next block overwrites what is there."""
    moved, data = network(0).double(), torch.randn(60, 4, dtype=torch.float64)
    with frozen(moved):
        put_moments(moved, block_moments(moved, moved, [data[:30], data[30:]]))
        torch.testing.assert_close(states(moved)["1.running_mean"], moved[0](data).mean(0))


def test_a_last_block_of_one_sample_has_no_variance() -> None:
    """It is left out, as batch normalisation takes none."""
    moved, data = network(0), torch.randn(21, 4)
    with frozen(moved):
        found = block_moments(moved, moved, [data[:20], data[20:]])
        assert [count for count, _ in found] == [20]


def test_losses_are_those_of_torch() -> None:
    """In float64; of a sample without a label 0."""
    logits, label = torch.randn(8, 5), torch.tensor([0, 1, 2, 3, 4, 0, -1, 2])
    found = mean_losses(logits, label)
    expected = nn.functional.cross_entropy(logits.double(), label, reduction="none", ignore_index=-1)
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float64


@pytest.mark.parametrize("seed", [0, 5])
def test_a_plane_moves_along_two_directions(seed: int) -> None:
    """That are the same for the same seed; the centre is the network."""
    moved = network(0)
    before = states(moved)
    with frozen(moved):
        surface = Surface(moved)
        surface.add_directions(seed)
        assert len(surface.ends) == 3
        surface.go_to([1.0, 0.5, -0.5])
        assert not torch.equal(states(moved)["0.weight"], before["0.weight"])
        assert torch.equal(states(moved)["1.running_mean"], before["1.running_mean"])
        surface.go_to([1.0, 0.0, 0.0])
        assert same(states(moved), before)
