"""Tests of models/parts/optimizer_state.py: an optimiser that begins with what another had gathered."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from stratoscope.models.parts.optimizer_state import take_gathered

MADE: dict[str, Any] = {
    "Adam": lambda p: Adam(p, lr=0.01),
    "momentum": lambda p: SGD(p, lr=0.01, momentum=0.9),
    "RMSprop": lambda p: RMSprop(p, lr=0.01),
    "SGD": lambda p: SGD(p, lr=0.01),
}


def trained(kind: str, steps: int = 3) -> tuple[nn.Module, Optimizer]:
    """A network and its optimiser after some steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer: Optimizer = MADE[kind](network.parameters())
    for step in range(steps):
        take(network, optimizer, step)
    return network, optimizer


def take(network: nn.Module, optimizer: Optimizer, step: int) -> None:
    """A step on data of its own."""
    optimizer.zero_grad()
    network(torch.randn(5, 3, generator=torch.Generator().manual_seed(step))).square().sum().backward()
    optimizer.step()


def stored(folder: Path, network: nn.Module, optimizer: Optimizer) -> Path:
    """A checkpoint as Lightning writes it."""
    file = folder / "last.ckpt"
    torch.save({"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()]}, file)
    return file


def names(network: nn.Module) -> dict[int, str]:
    """Of the parameters."""
    return {id(one): name for name, one in network.named_parameters()}


@pytest.mark.parametrize("kind", MADE)
def test_training_goes_on_as_if_it_had_not_stopped(kind: str, tmp_path: Path) -> None:
    """With the weights and what was gathered, the next steps are the same to the bit."""
    network, optimizer = trained(kind)
    file = stored(tmp_path, network, optimizer)
    other = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    other.load_state_dict(network.state_dict())
    again = MADE[kind](other.parameters())
    take_gathered(file, again, names(other))
    for step in range(3, 6):
        take(network, optimizer, step)
        take(other, again, step)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_settings_stay_and_weights_left_out_begin_anew(tmp_path: Path) -> None:
    """The learning rate is the new run's."""
    network, optimizer = trained("Adam")
    file = stored(tmp_path, network, optimizer)
    again = Adam(network.parameters(), lr=0.5)
    take_gathered(file, again, names(network), {"2.weight", "2.bias"})
    assert again.param_groups[0]["lr"] == 0.5
    first, second = (network.get_parameter(f"{layer}.weight") for layer in (0, 2))
    assert torch.equal(again.state[first]["exp_avg"], optimizer.state[first]["exp_avg"])
    assert second not in again.state


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("momentum", "it has gathered exp_avg, exp_avg_sq, step; SGD gathers momentum_buffer"),
        ("RMSprop", "RMSprop gathers square_avg, step"),
    ],
)
def test_another_optimiser_is_refused(kind: str, said: str, tmp_path: Path) -> None:
    """With what either gathers; nothing of the new one has changed."""
    network, optimizer = trained("Adam")
    file = stored(tmp_path, network, optimizer)
    again = MADE[kind](network.parameters())
    with pytest.raises(ValueError, match=said):
        take_gathered(file, again, names(network))
    assert not again.state


def test_an_optimiser_that_gathered_nothing_is_not_taken_for_another(tmp_path: Path) -> None:
    """Plain SGD for Adam; for plain SGD it is right."""
    network, optimizer = trained("SGD")
    file = tmp_path / "empty.ckpt"
    torch.save({"optimizer_states": [{**optimizer.state_dict(), "state": {}}]}, file)
    with pytest.raises(ValueError, match="had gathered nothing; Adam gathers exp_avg, exp_avg_sq, step"):
        take_gathered(file, MADE["Adam"](network.parameters()), names(network))


def test_checkpoints_without_a_state_are_refused(tmp_path: Path) -> None:
    """As are those of another network."""
    network, optimizer = trained("Adam")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="has the states of 0 optimisers, must have that of one"):
        take_gathered(tmp_path / "weights.pt", optimizer, names(network))
    file = stored(tmp_path, network, optimizer)
    more = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="has 4 weights, this one has 2"):
        take_gathered(file, Adam(more.parameters()), names(more))
    wider = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"exp_avg of 0\.weight is \(4, 3\)"):
        take_gathered(file, Adam(wider.parameters()), names(wider))
