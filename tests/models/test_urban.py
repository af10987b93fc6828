"""Tests of models/urban.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from stratoscope.models.urban import UrbanConvNet, urban_convnet
from stratoscope.probes import find_taps, select_taps

# convolutions and hidden layers of the rows of the paper's table 2
ROWS = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (2, 1), (3, 1), (4, 1)]
# layers before the hidden one, and the side of the last feature map
FRONTS = {
    1: ("conv1 relu1 pool1 bottleneck", 10),
    2: ("conv1 relu1 pool1 conv2 relu2 pool2", 8),
    3: ("conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 pool3", 4),
    4: ("conv1 relu1 pool1 conv2 relu2 conv3 relu3 pool2 conv4 relu4 pool3", 4),
}


@pytest.mark.parametrize(
    "parameters",
    [1_000_000, *(pytest.param(size, marks=pytest.mark.slow) for size in (3_160_000, 10_000_000)), 31_600_000],
)
@pytest.mark.parametrize(("convolutions", "hidden_layers"), ROWS)
def test_the_budgets_of_table_2_are_met_within_one_percent(
    convolutions: int, hidden_layers: int, parameters: int
) -> None:
    """Every network of the paper's table 2 has the budget's number of parameters or up to 1 % fewer."""
    with torch.device("meta"):
        network = urban_convnet(convolutions, hidden_layers, parameters)
    assert 0.99 * parameters <= sum(parameter.numel() for parameter in network.parameters()) <= parameters


@pytest.mark.parametrize("convolutions", [2, 3, 4])
def test_the_widths_follow_the_rule(convolutions: int) -> None:
    """All convolutions are equally wide, and take the largest share below a third that a multiple of 8 filters can."""
    with torch.device("meta"):
        network = urban_convnet(convolutions)
    convs = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    (filters,) = {layer.out_channels for layer in convs}
    assert len(convs) == convolutions
    assert filters % 8 == 0

    def share(filters: int) -> float:
        return (76 * filters + (convolutions - 1) * filters * (25 * filters + 1)) / 10_000_000

    assert share(filters) <= 1 / 3 < share(filters + 8)


@pytest.mark.parametrize("convolutions", FRONTS)
def test_natural_taps_in_order(convolutions: int) -> None:
    """Layers are those of the paper's table 1, with the pooled sides of 5x5 convolutions that keep the size."""
    network = urban_convnet(convolutions, filters=8, hidden=16, parameters=10_000)
    taps = select_taps("natural", find_taps(network, network, torch.randn(2, 3, 32, 32)))
    names, side = FRONTS[convolutions]
    assert [tap.name for tap in taps] == ["input", *names.split(), "fc1", f"relu{convolutions + 1}", "logits"]
    widths = {tap.name: tap.width for tap in taps}
    assert widths["conv1"] == 8 * 32 * 32
    assert widths[f"pool{min(convolutions, 3)}"] == 8 * side**2
    assert widths.get("bottleneck", 10) == 10  # the square root of 10,000 over 10


def test_only_shallow_networks_have_a_bottleneck() -> None:
    """Without convolutions the bottleneck is there for one hidden layer only."""
    names = [[name for name, _ in urban_convnet(0, hidden, 200_000).named_children()] for hidden in (1, 2)]
    assert names[0] == ["flatten", "bottleneck", "fc1", "relu1", "logits"]
    assert names[1] == ["flatten", "fc1", "relu1", "fc2", "relu2", "logits"]


@pytest.mark.parametrize("convolutions", range(5))
def test_gradients_reach_every_parameter(convolutions: int) -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = UrbanConvNet(convolutions, parameters=200_000)
    logits = model(torch.randn(16, 3, 32, 32))
    assert logits.shape == (16, 10)
    logits.logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_search_for_widths_draws_nothing() -> None:
    """The weights of a seed are the same whether the widths are searched or given."""
    torch.manual_seed(0)
    searched = urban_convnet(4, parameters=200_000)
    filters, hidden = len(searched.get_parameter("conv1.bias")), len(searched.get_parameter("fc1.bias"))
    torch.manual_seed(0)
    given = urban_convnet(4, parameters=200_000, filters=filters, hidden=hidden)
    for (name, left), (_, right) in zip(searched.named_parameters(), given.named_parameters(), strict=True):
        assert torch.equal(left, right), name


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("convolutions", -1, "0 to 4, got -1"),
        ("convolutions", 5, "0 to 4, got 5"),
        ("hidden_layers", 0, "hidden_layers .*got 0"),
        ("parameters", 0, "parameters .*got 0"),
        ("parameters", 100, "parameters must be more.* needs .* where 33 are left"),
        ("filters", 0, "filters .*got 0"),
        ("hidden", -2, "hidden .*got -2"),
        ("channels", 0, "channels .*got 0"),
        ("classes", 0, "classes .*got 0"),
    ],
)
def test_bad_sizes_are_refused(name: str, size: int, message: str) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=message):
        urban_convnet(**sizes)


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD with Nesterov's momentum in the paper's ranges, no weight decay, and Glorot's weights."""
    with torch.device("meta"):
        model = UrbanConvNet(2, parameters=100_000)
    made: Any = model.configure_optimizers()
    assert isinstance(made["optimizer"], SGD)
    (group,) = made["optimizer"].param_groups
    assert 0.0013 <= group["lr"] <= 0.016
    assert 0.68 <= group["momentum"] <= 0.97
    assert group["nesterov"]
    assert group["weight_decay"] == 0
    assert model.hparams["initialisation"] == "glorot_uniform"


def test_it_runs_compiled_in_bfloat16_with_channels_last() -> None:
    """The three switches of training speed give finite logits of the same shape."""
    network = urban_convnet(1, parameters=20_000).to(memory_format=torch.channels_last)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = compiled(torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
