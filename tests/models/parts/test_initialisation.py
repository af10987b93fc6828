"""Tests of models/parts/initialisation.py."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from stratoscope.models import MLP, SmallAlexNet
from stratoscope.models.parts.initialisation import INITIALISATIONS, initialise

# layers of some 10^5 weights with different numbers of inputs and outputs: standard deviations are known to 1 %
LAYERS: dict[str, Callable[[], nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    "linear": lambda: nn.Linear(200, 500),
    "conv1d": lambda: nn.Conv1d(50, 400, kernel_size=5),
    "conv2d": lambda: nn.Conv2d(40, 100, kernel_size=5),
    "conv3d": lambda: nn.Conv3d(10, 370, kernel_size=3),
}
# standard deviations, of the numbers of inputs and outputs of a unit
DEVIATIONS: dict[str, Callable[[float, float], float]] = {
    "he_normal": lambda inputs, outputs: math.sqrt(2 / inputs),
    "he_uniform": lambda inputs, outputs: math.sqrt(2 / inputs),
    "glorot_normal": lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),
    "glorot_uniform": lambda inputs, outputs: math.sqrt(2 / (inputs + outputs)),
    "lecun_normal": lambda inputs, outputs: math.sqrt(1 / inputs),
    "sussillo_abbott": lambda inputs, outputs: math.sqrt(2 / inputs) * math.exp(1.2 / (inputs - 2.4)),
    "simple": lambda inputs, outputs: 0.1,
    "truncated_normal": lambda inputs, outputs: 0.1 * 0.879626,  # a normal cut at two deviations has this one
}
NORMAL = ["he_normal", "glorot_normal", "lecun_normal", "sussillo_abbott", "simple"]
kinds = pytest.mark.parametrize("kind", LAYERS)


def drawn(name: str, kind: str = "linear") -> tuple[Tensor, int, int]:
    """The weights of a layer under an initialisation, with its numbers of inputs and outputs."""
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    initialise(layer, name)
    field = layer.weight[0, 0].numel()
    return layer.weight.detach(), layer.weight.shape[1] * field, layer.weight.shape[0] * field


def test_every_initialisation_is_tested() -> None:
    """The formulae here cover all names."""
    assert set(DEVIATIONS) | {"orthogonal", "zero"} == set(INITIALISATIONS)


@kinds
@pytest.mark.parametrize("name", DEVIATIONS)
def test_mean_and_deviation_are_those_of_the_formula(name: str, kind: str) -> None:
    """The mean is zero, and the deviation the formula's, within four standard errors."""
    weight, inputs, outputs = drawn(name, kind)
    wanted, count = DEVIATIONS[name](inputs, outputs), weight.numel()
    assert abs(weight.mean().item()) < 4 * wanted / math.sqrt(count)
    assert weight.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * count))


@pytest.mark.parametrize("name", NORMAL)
def test_normal_weights_are_normal(name: str) -> None:
    """The share within 1, 2 and 3 deviations is the normal distribution's."""
    weight, inputs, outputs = drawn(name)
    score = (weight / DEVIATIONS[name](inputs, outputs)).abs()
    shares = [(score < bound).double().mean().item() for bound in (1, 2, 3)]
    assert shares == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.006)


@pytest.mark.parametrize("name", ["he_uniform", "glorot_uniform"])
def test_uniform_weights_fill_their_interval(name: str) -> None:
    """No weight is beyond sqrt 3 deviations, and all tenths of the interval hold as many."""
    weight, inputs, outputs = drawn(name)
    bound = math.sqrt(3) * DEVIATIONS[name](inputs, outputs)
    assert weight.abs().max() <= bound
    counts = torch.histc(weight, bins=10, min=-bound, max=bound) / weight.numel()
    assert_close(counts, torch.full_like(counts, 0.1), rtol=0, atol=0.005)


def test_truncated_weights_end_at_two_deviations() -> None:
    """TensorFlow redraws what is beyond two deviations of 0.1."""
    assert 0.199 < drawn("truncated_normal")[0].abs().max() <= 0.2


@kinds
def test_orthogonal_weights_are_orthogonal(kind: str) -> None:
    """The shorter side's vectors are orthogonal with squared norm 2, the gain of ReLU."""
    weight = drawn("orthogonal", kind)[0].flatten(1).double()
    short = weight if weight.shape[0] <= weight.shape[1] else weight.T
    assert_close(short @ short.T, 2 * torch.eye(len(short)).double(), rtol=0, atol=1e-4)


def test_the_random_walk_of_narrow_layers_has_a_bounded_gain() -> None:
    """Below 6 inputs the gain is that of 6 inputs: the formula has a pole at 2.4 (Sussillo & Abbott 2014)."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 100_000)
    initialise(layer, "sussillo_abbott")
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2) * math.exp(1.2 / 3.6) / math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("name", ["he_normal", "orthogonal"])
def test_deep_rectified_networks_keep_the_scale(name: str) -> None:
    """After 20 layers the mean square of activations is of the order it began with: that is what the gain is for."""
    torch.manual_seed(0)
    network = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.ReLU())))
    initialise(network, name)
    x = torch.randn(64, 256)
    assert 0.1 < (network(x).square().mean() / x.square().mean()).item() < 10


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_biases_are_zero_and_layers_without_are_no_error(name: str) -> None:
    """Every initialisation sets the biases to zero."""
    network = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6, bias=False), nn.Conv2d(3, 4, 3))
    initialise(network, name)
    for parameter_name, parameter in network.named_parameters():
        assert not parameter_name.endswith("bias") or (parameter == 0).all()
        assert parameter.requires_grad


def test_other_layers_are_untouched() -> None:
    """Normalisations and embeddings keep their weights, statistics and biases; nested layers are found."""
    torch.manual_seed(0)
    others = nn.ModuleList([nn.BatchNorm2d(3), nn.LayerNorm(4), nn.Embedding(5, 6)])
    for parameter in others.parameters():
        nn.init.normal_(parameter)
    before = {name: tensor.clone() for name, tensor in others.state_dict().items()}
    network = nn.Sequential(others, nn.Sequential(nn.Sequential(nn.Linear(3, 3))))
    initialise(network, "zero")
    assert all(torch.equal(tensor, before[name]) for name, tensor in others.state_dict().items())
    assert (network.get_parameter("1.0.0.weight") == 0).all()


def test_as_built_changes_and_draws_nothing() -> None:
    """The weights stay, and so does the state of the generator."""
    torch.manual_seed(0)
    network = nn.Linear(4, 5)
    before, state = network.weight.clone(), torch.get_rng_state()
    initialise(network, "as_built")
    assert torch.equal(network.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["he", "", "Zero"])
def test_an_unknown_name_is_refused(name: str) -> None:
    """The message lists the names; the network is as it was."""
    network = nn.Linear(4, 5)
    before = network.weight.clone()
    with pytest.raises(ValueError, match=rf"as_built or one of he_normal, .*zero; got {name}$"):
        initialise(network, name)
    assert torch.equal(network.weight, before)
    with pytest.raises(ValueError, match="initialisation must be"):
        MLP(initialisation=name)


def test_models_take_an_initialisation() -> None:
    """`initialisation` of a model changes all its layers; the default leaves them as built."""
    assert all((parameter == 0).all() for parameter in MLP(initialisation="zero").parameters())
    assert all((parameter == 0).all() for parameter in SmallAlexNet(initialisation="zero").parameters())
    assert MLP().hparams["initialisation"] == "as_built"
    assert all((parameter != 0).any() for parameter in MLP().parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    """Two models of one seed agree in every bit, another seed differs."""
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.flatten() for p in MLP(width=8, initialisation="he_normal").parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
