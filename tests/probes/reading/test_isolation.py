"""Tests of probes/reading/isolation.py."""

import itertools
import pickle
import random
from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.utils import prune

from stratoscope.probes.reading.isolation import frozen
from stratoscope.probes.reading.snapshot import fingerprint


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


class Merging(nn.Linear):
    """As LoRA's layers: in evaluation its low-rank part is added to the weights, which rounding does not undo."""

    def __init__(self, way: str = "data") -> None:
        super().__init__(5, 5)
        self.a, self.b = nn.Parameter(torch.randn(2, 5) / 3), nn.Parameter(torch.randn(5, 2) / 3)
        self.merged, self.way = False, way

    def train(self, mode: bool = True) -> Self:
        """Merge or unmerge."""
        super().train(mode)
        if self.merged == mode:
            change = (self.b @ self.a) * (-1 if mode else 1)
            if self.way == "data":
                self.weight.data += change
            else:
                self.weight = nn.Parameter(self.weight + change)
            self.merged = not mode
        return self

    def forward(self, input: Tensor) -> Tensor:
        """Multiply with the sum of both."""
        weight = self.weight if self.merged else self.weight + self.b @ self.a
        return input @ weight.T


class Keeper(nn.Module):
    """Changes whatever it holds whenever it runs, in every way there is."""

    shared: ClassVar[list[int]] = []
    count = 0
    statistic: Tensor
    passing: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)
        self.register_buffer("statistic", torch.zeros(3))
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.register_buffer("replaced", torch.ones(3))
        self.register_buffer("dropped", torch.ones(3))
        self.memory = torch.zeros(4)
        self.bank: list[Any] = [torch.zeros(2), {"deep": torch.zeros(2)}]
        self.array, self.keys = np.zeros(3), list[Tensor]()
        self.box = SimpleNamespace(keys=[], seen=0)
        self.hidden = [nn.BatchNorm1d(5)]
        self.generator, self.numpy, self.python = torch.Generator(), np.random.default_rng(1), random.Random(1)
        self.linear.weight.grad = torch.ones(5, 5)
        self.expanded = torch.zeros(1).expand(4)

    def forward(self, x: Tensor) -> Tensor:
        """Change everything."""
        self.statistic += 1
        self.passing.data += 1
        self.replaced = torch.full((2,), 7.0)
        if "dropped" in self._buffers:
            del self.dropped
        self.register_buffer("added", torch.ones(1))
        self.later = nn.Linear(2, 2)
        self.cache = x * 2
        self.memory.add_(1)
        self.bank[0].add_(1)
        self.bank[1]["deep"] = torch.ones(1)
        self.array += 1
        self.keys.append(x)
        self.box.keys.append(x)
        self.box.seen += 1
        self.hidden[0](x)
        self.generator.manual_seed(len(self.keys))
        self.numpy.random(3)
        self.python.random()
        self.linear.weight.data = self.linear.weight.data.double().float() + 1
        self.linear.weight.grad = None
        self.linear.bias.requires_grad_(False)
        self.linear.register_forward_hook(lambda *_: None)
        self.shared.append(1)
        type(self).count += 1
        self.expanded.as_strided((1,), (1,)).fill_(1)
        return x


def _whole(module: nn.Module) -> dict[str, object]:
    """The state, and the identity of what it consists of."""
    return {**fingerprint(module), "ids": [id(tensor) for tensor in [*module.parameters(), *module.buffers()]]}


def test_what_a_module_changes_in_itself_is_put_back() -> None:
    """Buffers, attributes, containers, gradients, hooks, generators, hidden modules and class attributes."""
    network = nn.Sequential(nn.Linear(5, 5), Keeper())
    before, pointer = _whole(network), network.get_parameter("1.linear.weight").data_ptr()
    with frozen(network, compare=True) as changed:
        network(torch.randn(4, 5))
        network(torch.randn(4, 5))
        assert len({name for name, seen in _whole(network).items() if seen != before.get(name)}) > 15
    assert changed == []
    assert _whole(network) == before
    assert network.get_parameter("1.linear.weight").data_ptr() == pointer


@pytest.mark.parametrize("way", ["data", "replaced"])
@pytest.mark.parametrize("training", [True, False])
def test_merged_weights_are_unmerged_bit_for_bit(way: str, training: bool) -> None:
    """A layer that merges weights in evaluation is the same object with the same bits after, in its own mode."""
    torch.manual_seed(0)
    network = nn.Sequential(Merging(way), nn.ReLU(), Merging(way))
    network.train(training)
    before = _whole(network)
    flags = [part.merged for part in network if isinstance(part, Merging)]
    with frozen(network):
        assert all(part.merged for part in network if isinstance(part, Merging))
        network(torch.randn(3, 5))
    assert _whole(network) == before
    assert [part.merged for part in network if isinstance(part, Merging)] == flags == [not training] * 2


def test_state_in_a_place_of_its_own_is_undone_by_the_modules_own_train() -> None:
    """What is out of sight, here in a closure, is undone where `train(True)` undoes it."""
    outside = {"merged": False}

    class Elsewhere(nn.Linear):
        def train(self, mode: bool = True) -> Self:
            outside["merged"] = not mode
            return super().train(mode)

    network = nn.Sequential(Elsewhere(2, 2), nn.Dropout()).train()
    network.get_submodule("1").eval()
    with frozen(network):
        assert outside["merged"]
    assert not outside["merged"]
    assert not network.get_submodule("1").training


@pytest.mark.parametrize("name", ["iterator", "generator", "deep"])
def test_what_cannot_be_put_back_is_named(name: str) -> None:
    """A module that reads on in an iterator, or keeps state deeper than is followed, is told apart."""

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.iterator, self.generator = itertools.count(), (number for number in range(100))
            self.deep = [[[[[[0]]]]]]

        def forward(self, x: Tensor) -> Tensor:
            if name == "deep":
                self.deep[0][0][0][0][0][0] += 1
                return x
            return x + torch.tensor(next(getattr(self, name)))

    network = nn.Sequential(Reading())
    with frozen(network, compare=True) as changed:
        network(torch.zeros(1))
    assert len(changed) == 1
    assert changed[0].startswith(f"0.{name}")


def _batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 5))


MADE: dict[str, Callable[[], nn.Module]] = {
    "spectral_norm": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 5)), nn.ReLU()),
    "weight_norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 5)), nn.ReLU()),
    "spectral parametrization": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5)),
    "prune": lambda: nn.Sequential(prune.random_unstructured(nn.Linear(5, 5), "weight", 0.5), nn.Dropout()),
    "batch_norm": _batch_norm,
    "lstm": lambda: nn.Sequential(nn.Linear(5, 5), nn.LSTM(5, 4, batch_first=True)),
    "encoder": lambda: nn.TransformerEncoderLayer(5, 1, 8, batch_first=True),
    "tied": lambda: (lambda layer: nn.Sequential(layer, nn.ReLU(), layer))(nn.Linear(5, 5)),
    "merging": lambda: nn.Sequential(Merging(), nn.Dropout(), Merging()),
}


@pytest.mark.parametrize("name", MADE)
def test_training_with_and_without_looking_is_the_same(name: str) -> None:
    """Weights after training with looks in between are those without, and no state is left over."""

    def trained(look: bool) -> nn.Module:
        torch.manual_seed(0)
        network = MADE[name]()
        optimiser = torch.optim.Adam(network.parameters())
        for _ in range(4):
            if look:
                with frozen(network, compare=True) as changed:
                    network(torch.randn(6, 3, 5) if name != "batch_norm" else torch.randn(6, 5))
                assert changed == []
            output = network(torch.randn(7, 3, 5) if name != "batch_norm" else torch.randn(7, 5))
            (output[0] if isinstance(output, tuple) else output).square().mean().backward()
            optimiser.step()
            optimiser.zero_grad()
        return network

    seen, unseen = trained(look=True), trained(look=False)
    pairs = zip(seen.state_dict().items(), unseen.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_a_lazy_network_is_refused() -> None:
    """Its first pass draws its weights: that is not to be the one that looks. Once made it is like any other."""
    layer = nn.LazyLinear(3)
    network = nn.Sequential(nn.ReLU(), layer, nn.LazyBatchNorm1d())
    with pytest.raises(ValueError, match=r"^Sequential's 1 \(LazyLinear\) has no weights .*run the network on a batch"):
        with frozen(network):
            network(torch.randn(2, 5))
    assert nn.parameter.is_lazy(layer.weight)
    network(torch.randn(2, 5))
    with frozen(network):
        network(torch.randn(2, 5))


class Logs(LightningModule):
    """Logs in its forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """The input."""
        self.log("mean", x.mean(), on_step=True)
        self.log_dict({"most": x.max()})
        return x


def test_what_a_network_logs_while_it_is_looked_at_is_not_logged() -> None:
    """Also of one inside another; after the block both log as before."""
    network = nn.Sequential(Logs(), Logs())
    said: list[str] = []
    vars(network[1])["log"] = lambda name, *_, **__: said.append(name)
    with frozen(network):
        network(torch.ones(2))
    assert said == []
    assert "log" not in vars(network[0])
    network[1](torch.ones(2))
    assert said == ["mean", "most"]
