"""Tests of models/resnet.py."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torch.optim import SGD
from torch.testing import assert_close

from stratoscope.models.resnet import ResNet, resnet
from stratoscope.probes import find_taps, select_taps


def theirs(depth: int) -> nn.Module:
    """Torchvision's network with the stem for small images."""
    network: nn.Module = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842), (101, 42_512_970), (152, 58_156_618)],
)
def test_parameter_counts(depth: int, parameters: int) -> None:
    """Counts are those of torchvision's networks with this stem and 10 classes."""
    with torch.device("meta"):
        networks = resnet(depth), theirs(depth)
    assert [sum(parameter.numel() for parameter in network.parameters()) for network in networks] == [parameters] * 2


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_and_statistics_are_those_of_torchvision(depth: int) -> None:
    """With the same weights, logits are torchvision's, and so are the running statistics after a training step."""
    torch.manual_seed(0)
    ours, image = resnet(depth).double(), torch.randn(2, 3, 16, 16).double()
    with torch.device("meta"):
        reference = theirs(depth)
    state = zip(reference.state_dict(), ours.state_dict().values(), strict=True)
    reference.load_state_dict({name: tensor.clone() for name, tensor in state}, assign=True)
    with torch.no_grad():
        assert_close(ours(image), reference(image))
        assert_close(ours.eval()(image), reference.eval()(image))


def test_natural_taps_and_shapes() -> None:
    """Taps are stem, blocks, pooled features and logits, in order; stages have 64 to 512 channels."""
    model, shapes = ResNet().eval(), {}
    for name, part in model.named_modules():
        part.register_forward_hook(lambda _, __, y, name=name: shapes.update({name: tuple(y.shape[1:])}))
    taps = select_taps("natural", find_taps(model, model, torch.randn(1, 3, 32, 32)))
    blocks = [f"block{stage}_{block}" for stage in (1, 2, 3, 4) for block in (1, 2)]
    names = [f"network.{name}" for name in ("stem", *blocks, "pool", "logits")]
    assert [tap.name for tap in taps] == ["input", *names]
    stages = [(64, 32, 32)] * 3 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2
    assert [shapes[name] for name in names] == [*stages, (512, 1, 1), (10,)]


def test_all_blocks_of_a_deep_network_are_tapped() -> None:
    """The 23 blocks of the third stage of ResNet-101 are natural taps too."""
    with torch.device("meta"):
        network, image = resnet(depth=101).eval(), torch.randn(2, 3, 8, 8)
        names = [tap.name for tap in select_taps("natural", find_taps(network, network, image))]
    blocks = [f"block{stage}_{block}" for stage, n in enumerate((3, 4, 23, 3), 1) for block in range(1, n + 1)]
    assert names == ["input", "stem", *blocks, "pool", "logits"]


def test_the_initial_weights_are_those_of_he() -> None:
    """Weights of a convolution have variance 2 / inputs."""
    torch.manual_seed(0)
    conv = resnet().get_submodule("block1_1.residual.conv1")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 64), rel=0.03)


@pytest.mark.parametrize("depth", [34, 50])
def test_other_images_and_classes(depth: int) -> None:
    """Images of any size and number of channels give logits (n, classes)."""
    with torch.device("meta"):
        assert resnet(depth, channels=1, classes=7)(torch.randn(2, 1, 28, 21)).shape == (2, 7)


@pytest.mark.parametrize(("name", "size"), [("depth", 20), ("channels", 0), ("classes", -3)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"{name}.*got.*{size}"):
        ResNet(**sizes)


@pytest.mark.parametrize("depth", [18, 50])
def test_gradients_reach_every_parameter(depth: int) -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = ResNet(depth)
    model(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_logits_are_the_same_however_they_are_computed() -> None:
    """Channels last and torch.compile change nothing, bfloat16 little."""
    torch.manual_seed(0)
    model, image = ResNet(channels_last=True).eval(), torch.randn(2, 3, 12, 12)
    plain = resnet().eval()
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
    """The defaults are SGD at 0.1 with momentum 0.9 and weight decay 0.0001, divided by 10 after 82 and 123 epochs."""
    with torch.device("meta"):
        made: Any = ResNet().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 1e-4, False)
    rates = []
    for _ in range(164):
        rates.append(group["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1] * 82 + [0.01] * 41 + [0.001] * 41)
