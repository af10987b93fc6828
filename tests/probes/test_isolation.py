"""Tests of probes/isolation.py."""

import pickle
import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stratoscope.probes.isolation import frozen


@pytest.fixture
def network() -> nn.Module:
    """A network with dropout and batch normalisation, partly in evaluation mode, with gradients."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()),
        nn.Linear(8, 3),
    )
    network(torch.randn(16, 5)).square().sum().backward()
    network.get_submodule("1.1").eval()
    network.get_submodule("2").eval()
    return network


def _modes(network: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in network.named_modules()}


def _draws() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.random()), torch.rand(3).tolist()


def _states() -> tuple[bytes, bytes, bytes]:
    return pickle.dumps(random.getstate()), pickle.dumps(np.random.get_state()), torch.get_rng_state().numpy().tobytes()


def test_every_submodule_evaluates_inside_and_keeps_its_own_mode(network: nn.Module) -> None:
    """All submodules are in evaluation mode inside, and each is back in its own, mixed, mode after."""
    before = _modes(network)
    assert set(before.values()) == {True, False}
    with frozen(network):
        assert not any(_modes(network).values())
    assert _modes(network) == before


def test_modes_changed_inside_are_put_back(network: nn.Module) -> None:
    """A measurement that switches modes itself leaves no trace either."""
    before = _modes(network)
    with frozen(network):
        network.train()
    assert _modes(network) == before


def test_random_generators_draw_on_as_if_nothing_had_happened(network: nn.Module) -> None:
    """Python, NumPy and torch draw after the block what they would have drawn without it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = _draws()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    with frozen(network):
        network(torch.randn(4, 5))
        assert _draws() != expected
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)
    assert _draws() == expected


def test_all_is_put_back_when_the_block_raises(network: nn.Module) -> None:
    """Modes, random generators and gradient recording are as before, also after an error inside."""
    modes, states = _modes(network), _states()
    with pytest.raises(RuntimeError, match="measurement broke"):
        _measure_and_break(network)
    assert _modes(network) == modes
    assert _states() == states
    assert torch.is_grad_enabled()


def _measure_and_break(network: nn.Module) -> None:
    with frozen(network):
        _draws()
        raise RuntimeError("measurement broke")


def test_forward_inside_changes_no_statistics_and_no_gradients(network: nn.Module) -> None:
    """Batch-norm statistics, parameters and gradients are bit for bit the same after forwards inside."""
    tensors = deepcopy(network.state_dict())
    gradients = [_gradient(p).clone() for p in network.parameters()]
    with frozen(network):
        for _ in range(3):
            network(torch.randn(16, 5) + 4)
    after = network.state_dict()
    assert all(torch.equal(tensors[name], after[name]) for name in tensors)
    assert all(torch.equal(g, _gradient(p)) for g, p in zip(gradients, network.parameters(), strict=True))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_gradients_are_recorded_after_but_not_inside(network: nn.Module) -> None:
    """An output computed inside has no graph; one computed after has, and the parameters still want gradients."""
    images = torch.randn(4, 5)
    with frozen(network):
        assert not network(images).requires_grad
    assert network(images).requires_grad
    assert all(p.requires_grad for p in network.parameters())


def test_recording_stays_off_where_it_was_off(network: nn.Module) -> None:
    """Within no_grad, gradient recording is still off after the block."""
    with torch.no_grad():
        with frozen(network):
            pass
        assert not torch.is_grad_enabled()


def test_training_goes_on_bit_for_bit(network: nn.Module) -> None:
    """Weights after training steps with measurements in between equal those without, dropout and all."""

    def trained(network: nn.Module, measure: bool) -> list[Tensor]:
        torch.manual_seed(1)
        network.train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            network(torch.randn(16, 5)).square().mean().backward()
            optimiser.step()
            if measure:
                with frozen(network):
                    network(torch.randn(7, 5))
        return list(network.state_dict().values())

    pairs = zip(trained(deepcopy(network), measure=False), trained(network, measure=True), strict=True)
    assert all(torch.equal(without, with_probes) for without, with_probes in pairs)
