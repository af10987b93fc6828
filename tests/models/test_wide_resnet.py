"""Tests of models/wide_resnet.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.wide_resnet import PreActivationBlock, WideResNet, wide_resnet
from stratoscope.probes import find_taps, select_taps


@pytest.mark.parametrize(
    ("depth", "width", "parameters"), [(28, 1, 369_498), (28, 10, 36_479_194), (40, 4, 8_949_210), (16, 8, 10_961_370)]
)
def test_parameter_counts_of_the_papers(depth: int, width: int, parameters: int) -> None:
    """28-1 has the count of Zhang's code; the others round to 36.5, 8.9 and 11.0 million (table 5 of the paper)."""
    with torch.device("meta"):
        network = wide_resnet(depth, width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("width", [1, 2])
def test_natural_taps_and_shapes(width: int) -> None:
    """Taps are stem, blocks, pooled features and logits, in order; stages have 16, 32 and 64 times width channels."""
    model, shapes = WideResNet(depth=16, width=width).eval(), {}
    for name, part in model.named_modules():
        part.register_forward_hook(lambda _, __, y, name=name: shapes.update({name: tuple(y.shape[1:])}))
    taps = select_taps("natural", find_taps(model, model, torch.randn(2, 3, 32, 32)))
    blocks = [f"block{stage}_{block}" for stage in (1, 2, 3) for block in (1, 2)]
    names = [f"network.{name}" for name in ("stem", *blocks, "pool", "logits")]
    assert [tap.name for tap in taps] == ["input", *names]
    stages = [(16 * width, 32, 32)] * 2 + [(32 * width, 16, 16)] * 2 + [(64 * width, 8, 8)] * 2
    assert [shapes[name] for name in names] == [(16, 32, 32), *stages, (64 * width, 1, 1), (10,)]


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (6, 1), (6, 2), (4, 2)])
def test_a_block_equals_the_formula(outputs: int, stride: int) -> None:
    """A block is x + F(a), or a 1x1 convolution of a + F(a) where x has another shape, with a = ReLU(BN(x))."""
    torch.manual_seed(0)
    block = PreActivationBlock(4, outputs, stride, dropout=0.5).double().eval()
    x = torch.randn(2, 4, 6, 6).double()
    scale = 1 / (1 + 1e-5) ** 0.5  # of a normalisation whose running variance is 1
    a = (scale * x).relu()
    weights = {name: part.weight for name, part in block.named_modules() if isinstance(part, nn.Conv2d)}
    inner = (scale * conv2d(a, weights["residual.conv1"], stride=stride, padding=1)).relu()
    same = outputs == 4 and stride == 1
    shortcut = x if same else conv2d(a, weights["projection"], stride=stride)
    assert ("projection" in weights) != same
    assert_close(block(x), shortcut + conv2d(inner, weights["residual.conv2"], padding=1))


def test_dropout_is_between_the_convolutions() -> None:
    """Every block has the probability that was asked for, none unless told."""
    for network, wanted in ((wide_resnet(depth=10, dropout=0.3), 0.3), (wide_resnet(depth=10), 0.0)):
        dropouts = {name: part.p for name, part in network.named_modules() if isinstance(part, nn.Dropout)}
        assert dropouts == {f"block{stage}_1.residual.dropout": wanted for stage in (1, 2, 3)}


def test_the_initial_weights_are_those_of_he() -> None:
    """Weights of a convolution have variance 2 / inputs."""
    torch.manual_seed(0)
    conv = wide_resnet().get_submodule("block3_4.residual.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.03)


def test_other_images_and_classes() -> None:
    """Images of any size and number of channels give logits (n, classes)."""
    assert wide_resnet(depth=10, channels=1, classes=7)(torch.randn(2, 1, 28, 21)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "size"), [("depth", 4), ("depth", 20), ("width", 0), ("channels", 0), ("classes", -3), ("dropout", 1.0)]
)
def test_bad_sizes_are_refused(name: str, size: float) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"{name}.*got.*{size}"):
        WideResNet(**sizes)


def test_gradients_reach_every_parameter() -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = WideResNet(depth=16, dropout=0.1)
    model(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_logits_are_the_same_however_they_are_computed() -> None:
    """Channels last and torch.compile change nothing, bfloat16 little."""
    torch.manual_seed(0)
    model, image = WideResNet(depth=10, channels_last=True).eval(), torch.randn(2, 3, 12, 12)
    plain = wide_resnet(depth=10).eval()
    plain.load_state_dict(model.network.state_dict())
    torch.compiler.reset()
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    with torch.no_grad():
        logits = plain(image)
        assert_close(model(image), logits, rtol=1e-4, atol=1e-5)
        assert_close(compiled(image), logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(model(image).float(), logits, rtol=0.1, atol=0.05)


def test_the_optimiser_of_zhangs_code() -> None:
    """The defaults are SGD at 0.1, momentum 0.9, weight decay 0.0001, divided by 10 after 150 and 225 of 300 epochs."""
    made: Any = WideResNet(depth=10).configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 1e-4, False)
    rates = []
    for _ in range(300):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1] * 150 + [0.01] * 75 + [0.001] * 75)
