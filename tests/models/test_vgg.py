"""Tests of models/vgg.py."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.vgg import VGG, vgg
from stratoscope.probes import find_taps, select_taps


def count(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(depth: int, batch_norm: bool) -> nn.Sequential:
    """Torchvision's layers before the fully connected ones."""
    network: nn.Sequential = getattr(torchvision.models, f"vgg{depth}{'_bn' * batch_norm}")().features
    return network


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_parameter_counts_are_those_of_torchvision(depth: int, batch_norm: bool) -> None:
    """Convolutions have the weights of torchvision's, and biases only where torchvision's do something."""
    with torch.device("meta"):
        theirs, ours = convolutions(depth, batch_norm), vgg(depth, batch_norm)
    inert = sum(part.out_channels for part in theirs if batch_norm and isinstance(part, nn.Conv2d))
    assert count(ours) == count(theirs) - inert + 10 * (512 + 1)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(11, 9_231_114), (13, 9_416_010), (16, 14_728_266), (19, 20_040_522)]
)
def test_parameter_counts_that_are_often_quoted(depth: int, parameters: int) -> None:
    """With the bias of every convolution, which normalisation subtracts again, counts are the ones quoted for CIFAR."""
    with torch.device("meta"):
        network = vgg(depth)
    biases = sum(part.out_channels for part in network.modules() if isinstance(part, nn.Conv2d))
    assert count(network) + biases == parameters


@pytest.mark.parametrize(("depth", "batch_norm"), [(11, True), (16, False)])
def test_features_are_those_of_torchvision(depth: int, batch_norm: bool) -> None:
    """With the same weights, the 512 features before the logits are the output of torchvision's convolutions."""
    torch.manual_seed(0)
    ours, image = vgg(depth, batch_norm).eval(), torch.randn(2, 3, 32, 32)
    body = ours[:-1]
    with torch.device("meta"):
        theirs = convolutions(depth, batch_norm).eval()
    inert = {f"{number}.bias" for number, part in enumerate(theirs) if batch_norm and isinstance(part, nn.Conv2d)}
    wanted = theirs.state_dict()
    state = dict(zip([name for name in wanted if name not in inert], body.state_dict().values(), strict=True))
    theirs.load_state_dict(state | {name: torch.zeros(len(wanted[name])) for name in inert}, assign=True)
    with torch.no_grad():
        assert_close(body(image), theirs(image).flatten(1))


@pytest.mark.parametrize("side", [32, 28])
def test_shapes_of_the_poolings(side: int) -> None:
    """Every pooling halves height and width, rounded up, until one pixel of 512 channels remains."""
    with torch.device("meta"):
        network, x = vgg(depth=11), torch.randn(2, 3, side, side)
    shapes = []
    for name, layer in network.named_children():
        x = layer(x)
        if "pool" in name:
            shapes.append(tuple(x.shape[1:]))
    sides = {32: (16, 8, 4, 2, 1), 28: (14, 7, 4, 2, 1)}[side]
    assert shapes == [(width, s, s) for width, s in zip((64, 128, 256, 512, 512), sides, strict=True)]
    assert x.shape == (2, 10)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_natural_taps(batch_norm: bool) -> None:
    """Taps are ReLU outputs, pooled features and logits, in order."""
    model = VGG(11, batch_norm, hidden=(20,)).eval()
    names = [tap.name for tap in select_taps("natural", find_taps(model, model, torch.randn(2, 3, 32, 32)))]
    stacks = "relu1_1 pool1 relu2_1 pool2 relu3_1 relu3_2 pool3 relu4_1 relu4_2 pool4 relu5_1 relu5_2 pool5"
    assert names == ["input", *(f"network.{name}" for name in [*stacks.split(), "relu6", "logits"])]


def test_hidden_layers() -> None:
    """Fully connected layers, each with ReLU and dropout, come before the logits; there are none unless told."""
    with torch.device("meta"):
        names = [name for name, _ in vgg(hidden=(4096, 100), dropout=0.25).named_children()]
        dense = [part for part in vgg(hidden=(4096, 100), dropout=0.25) if isinstance(part, nn.Linear | nn.Dropout)]
        without = [name for name, _ in vgg().named_children()]
    assert names[-8:] == ["flatten", "fc6", "relu6", "dropout6", "fc7", "relu7", "dropout7", "logits"]
    assert without[-3:] == ["pool5", "flatten", "logits"]
    sizes = [(part.in_features, part.out_features) if isinstance(part, nn.Linear) else part.p for part in dense]
    assert sizes == [(512, 4096), 0.25, (4096, 100), 0.25, (100, 10)]


def test_the_initial_weights_are_those_of_he() -> None:
    """Weights have variance 2 / inputs, so that the logits of a network without normalisation are not all alike."""
    torch.manual_seed(0)
    network = vgg(batch_norm=False).eval()
    conv = network.get_submodule("conv3_2")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 256), rel=0.03)
    with torch.no_grad():
        assert 0.1 < network(torch.randn(4, 3, 32, 32)).std(dim=0).mean() < 10


@pytest.mark.parametrize(
    ("name", "size"), [("depth", 12), ("channels", 0), ("classes", -3), ("dropout", 1.0), ("hidden", (4096, 0))]
)
def test_bad_sizes_are_refused(name: str, size: Any) -> None:
    """The message names the size and its value."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        VGG(**{name: size})
    message = str(error.value)
    assert name in message
    assert str(size) in message.partition("got")[2]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients_reach_every_parameter(batch_norm: bool) -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = VGG(11, batch_norm)
    model(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_logits_are_the_same_however_they_are_computed() -> None:
    """Channels last and torch.compile change nothing, bfloat16 little."""
    torch.manual_seed(0)
    model, image = VGG(11, channels_last=True).eval(), torch.randn(2, 3, 28, 28)
    plain = vgg(11).eval()
    plain.load_state_dict(model.network.state_dict())
    torch.compiler.reset()
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    with torch.no_grad():
        logits = plain(image)
        assert_close(model(image), logits, rtol=1e-4, atol=1e-5)
        assert_close(compiled(image), logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(model(image).float(), logits, rtol=0.1, atol=0.1)


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.01 with momentum 0.9, weight decay 0.0005, divided by 10 three times in 74 epochs."""
    with torch.device("meta"):
        made: Any = VGG(11).configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 5e-4, False)
    rates = []
    for _ in range(74):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.01] * 19 + [0.001] * 18 + [0.0001] * 19 + [0.00001] * 18)
