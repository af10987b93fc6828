"""Tests of models/alexnet.py."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.alexnet import AlexNet, alexnet
from stratoscope.probes import find_taps, select_taps

SHAPES = {
    "conv1": (96, 32, 32),
    "pool1": (96, 16, 16),
    "conv2": (256, 16, 16),
    "pool2": (256, 8, 8),
    "conv3": (384, 8, 8),
    "conv4": (384, 8, 8),
    "conv5": (256, 8, 8),
    "pool5": (256, 4, 4),
    "flatten": (4096,),
    "fc6": (4096,),
    "fc7": (4096,),
    "logits": (10,),
}
both = pytest.mark.parametrize("local_response_norm", [True, False])


def response_norm(x: Tensor) -> Tensor:
    """Section 3.3 of the paper, channel by channel: k 2, n 5, alpha 1e-4, beta 0.75."""
    windows = [x[:, max(0, c - 2) : c + 3].square().sum(1) for c in range(x.shape[1])]
    return x / (2 + 1e-4 * torch.stack(windows, dim=1)) ** 0.75


@both
def test_parameter_count(local_response_norm: bool) -> None:
    """The count is that of the widths of the paper with 4x4 pixels before the fully connected layers."""
    with torch.device("meta"):
        network = alexnet(local_response_norm)
    widths = [3, 96, 256, 384, 384, 256]
    sizes = [25, 25, 9, 9, 9]
    convolutions = sum(
        outputs * (inputs * size + 1) for inputs, outputs, size in zip(widths, widths[1:], sizes, strict=False)
    )
    dense = 4096 * (256 * 4 * 4 + 1) + 4096 * (4096 + 1) + 10 * (4096 + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + dense == 37_323_146


@both
def test_layers_are_named_in_order(local_response_norm: bool) -> None:
    """The first two convolutions are followed by ReLU, normalisation and pooling, in the order of the paper."""
    with torch.device("meta"):
        names = [name for name, _ in alexnet(local_response_norm).named_children()]
    wanted = "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 flatten".split()
    wanted += "fc6 relu6 dropout6 fc7 relu7 dropout7 logits".split()
    assert names == [name for name in wanted if local_response_norm or "norm" not in name]


@pytest.mark.parametrize("name", ["norm1", "norm2"])
def test_normalisation_equals_the_formula(name: str) -> None:
    """Both normalisations divide by (2 + 1e-4 times the sum of squares over 5 neighbouring channels)^0.75."""
    with torch.device("meta"):
        norm = alexnet().get_submodule(name)
    x = 300 * torch.randn(2, 96, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    assert_close(norm(x), response_norm(x))
    assert (norm(x) / x).min() < 0.3  # 0.59 without alpha: the test would see another one


def test_the_network_from_end_to_end() -> None:
    """Shapes, natural taps, images of 28x28 pixels, bfloat16, and a gradient in every parameter of every layer."""
    torch.manual_seed(0)
    model, image = AlexNet().eval(), torch.randn(2, 3, 32, 32)
    taps = find_taps(model, model, image)
    widths = {tap.name: tap.width for tap in taps}
    for name, shape in SHAPES.items():
        assert widths[f"network.{name}"] == torch.Size(shape).numel(), name
    natural = ["pool1", "pool2", "relu3", "relu4", "pool5", "relu6", "relu7", "logits"]
    assert [tap.name for tap in select_taps("natural", taps)] == ["input", *(f"network.{name}" for name in natural)]
    with torch.no_grad():
        assert model(torch.randn(2, 3, 28, 28)).shape == (2, 10)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(image).float()
    logits = model(image)
    assert_close(rounded, logits.detach(), rtol=0.1, atol=0.01)
    logits.logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@both
def test_the_network_can_be_compiled(local_response_norm: bool) -> None:
    """The compiler takes the network in one graph, with and without normalisation."""
    with torch.device("meta"):
        network, image = alexnet(local_response_norm, channels=1, classes=7), torch.randn(2, 1, 32, 32)
    torch.compiler.reset()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert compiled(image).shape == (2, 7)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_dropout_is_in_the_fully_connected_layers(dropout: float) -> None:
    """The two hidden fully connected layers have the probability that was asked for, 0.5 unless told."""
    with torch.device("meta"):
        networks = {dropout: alexnet(dropout=dropout), 0.5: alexnet()}
    for wanted, network in networks.items():
        layers = {name: part.p for name, part in network.named_children() if isinstance(part, nn.Dropout)}
        assert layers == {"dropout6": wanted, "dropout7": wanted}


@pytest.mark.parametrize(("name", "size"), [("channels", 0), ("classes", -3), ("dropout", 1.0), ("dropout", -0.5)])
def test_bad_sizes_are_refused(name: str, size: float) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"{name}.*got.*{size}"):
        AlexNet(**sizes)


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.01 with momentum 0.9, weight decay 0.0005, divided by 10 three times in 90 epochs."""
    with torch.device("meta"):
        made: Any = AlexNet().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 5e-4, False)
    rates = []
    for _ in range(90):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.01] * 23 + [0.001] * 22 + [0.0001] * 23 + [0.00001] * 22)
