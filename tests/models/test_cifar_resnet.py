"""Tests of models/cifar_resnet.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.cifar_resnet import CifarResNet, PaddedShortcut, cifar_resnet, padded
from stratoscope.models.resnet import BasicBlock
from stratoscope.probes import find_taps, select_taps


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_parameter_counts_of_the_paper(depth: int, parameters: int) -> None:
    """Counts round to 0.27, 0.46, 0.66, 0.85 and 1.7 million (He et al. 2016, table 6)."""
    with torch.device("meta"):
        network = cifar_resnet(depth)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in network.modules()) == depth


def test_natural_taps_and_shapes() -> None:
    """Taps are stem, blocks, pooled features and logits, in order; stages have 16, 32 and 64 channels."""
    model, shapes = CifarResNet(depth=20).eval(), {}
    for name, part in model.named_modules():
        part.register_forward_hook(lambda _, __, y, name=name: shapes.update({name: tuple(y.shape[1:])}))
    taps = select_taps("natural", find_taps(model, model, torch.randn(2, 3, 32, 32)))
    blocks = [f"block{stage}_{block}" for stage in (1, 2, 3) for block in (1, 2, 3)]
    names = [f"network.{name}" for name in ("stem", *blocks, "pool", "logits")]
    assert [tap.name for tap in taps] == ["input", *names]
    stages = [(16, 32, 32)] * 4 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    assert [shapes[name] for name in names] == [*stages, (64, 1, 1), (10,)]


def test_all_blocks_of_a_deep_network_are_tapped() -> None:
    """Stages of more than nine blocks are natural taps as a whole."""
    with torch.device("meta"):
        network, image = cifar_resnet(depth=68).eval(), torch.randn(2, 3, 8, 8)
        names = [tap.name for tap in select_taps("natural", find_taps(network, network, image))]
    blocks = [f"block{stage}_{block}" for stage in (1, 2, 3) for block in range(1, 12)]
    assert names == ["input", "stem", *blocks, "pool", "logits"]


def test_the_shortcut_keeps_every_second_pixel_and_adds_zeros() -> None:
    """Option A: the old channels at pixels 0, 2, ..., then channels of zeros; no parameters."""
    x = torch.arange(2 * 3 * 5 * 4.0).reshape(2, 3, 5, 4)
    shortcut = PaddedShortcut(new=2, stride=2)
    y = shortcut(x)
    assert y.shape == (2, 5, 3, 2)
    for row in range(3):
        for column in range(2):
            assert torch.equal(y[:, :3, row, column], x[:, :, 2 * row, 2 * column])
    assert not y[:, 3:].any()
    assert not list(shortcut.parameters())


@pytest.mark.parametrize(("outputs", "stride"), [(4, 1), (8, 2)])
def test_a_block_without_a_residual_is_the_shortcut(outputs: int, stride: int) -> None:
    """Where F gives zero, a block gives ReLU of its shortcut: the input itself, or option A of it."""
    block, x = BasicBlock(4, outputs, stride, padded).eval(), torch.randn(2, 4, 6, 6)
    for norm in block.residual.children():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.zeros_(norm.weight)
    y = block(x)
    assert torch.equal(y[:, :4], x[:, :, ::stride, ::stride].relu())
    assert not y[:, 4:].any()


def test_a_block_equals_the_formula() -> None:
    """A block is ReLU(BN(conv(ReLU(BN(conv(x))))) + x), with fresh running statistics, which change nothing."""
    torch.manual_seed(0)
    block, x = BasicBlock(4, 4, 1, padded).double().eval(), torch.randn(2, 4, 6, 6).double()
    first, second = (part.weight for part in block.residual.children() if isinstance(part, nn.Conv2d))
    scale = 1 / (1 + 1e-5) ** 0.5  # of a normalisation whose running variance is 1
    inner = (scale * nn.functional.conv2d(x, first, padding=1)).relu()
    assert_close(block(x), (scale * nn.functional.conv2d(inner, second, padding=1) + x).relu())


def test_the_initial_weights_are_those_of_he() -> None:
    """Weights of a convolution have variance 2 / inputs."""
    torch.manual_seed(0)
    conv = cifar_resnet().get_submodule("block3_3.residual.conv1")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.03)


def test_other_images_and_classes() -> None:
    """Images of any size and number of channels give logits (n, classes)."""
    assert cifar_resnet(depth=8, channels=1, classes=7)(torch.randn(2, 1, 28, 21)).shape == (2, 7)


@pytest.mark.parametrize(("name", "size"), [("depth", 2), ("depth", 18), ("channels", 0), ("classes", -3)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"{name}.*got.*{size}"):
        CifarResNet(**sizes)


def test_gradients_reach_every_parameter() -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = CifarResNet(depth=14)
    model(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_logits_are_the_same_however_they_are_computed() -> None:
    """Channels last and torch.compile change nothing, bfloat16 little."""
    torch.manual_seed(0)
    model, image = CifarResNet(depth=8, channels_last=True).eval(), torch.randn(2, 3, 12, 12)
    plain = cifar_resnet(depth=8).eval()
    plain.load_state_dict(model.network.state_dict())
    torch.compiler.reset()
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    with torch.no_grad():
        logits = plain(image)
        assert_close(model(image), logits, rtol=1e-4, atol=1e-5)
        assert_close(compiled(image), logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(model(image).float(), logits, rtol=0.1, atol=0.05)


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are SGD at 0.1, momentum 0.9, weight decay 0.0001, divided by 10 after 32,000 and 48,000 steps."""
    made: Any = CifarResNet(depth=8).configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 1e-4, False)
    rates = []
    for _ in range(164):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    first, second, last = (round(steps / (50_000 / 128)) for steps in (32_000, 48_000, 64_000))
    assert rates == pytest.approx([0.1] * first + [0.01] * (second - first) + [0.001] * (last - second))
