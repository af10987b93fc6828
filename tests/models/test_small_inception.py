"""Tests of models/small_inception.py."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

from stratoscope.models.small_inception import Downsample, Inception, ShiftBatchNorm2d, SmallInception, small_inception
from stratoscope.probes import find_taps, select_taps

SHAPES = {  # Zhang et al. 2017, figure 3
    "conv1": (96, 28, 28),
    "inception1": (64, 28, 28),
    "inception2": (80, 28, 28),
    "downsample1": (160, 14, 14),
    "inception3": (160, 14, 14),
    "inception4": (160, 14, 14),
    "inception5": (160, 14, 14),
    "inception6": (144, 14, 14),
    "downsample2": (240, 7, 7),
    "inception7": (336, 7, 7),
    "inception8": (336, 7, 7),
    "pool": (336, 1, 1),
    "flatten": (336,),
    "logits": (10,),
}
both = pytest.mark.parametrize("batch_norm", [True, False])


@both
def test_parameter_count_of_the_paper(batch_norm: bool) -> None:
    """The network has the parameters of Zhang et al. 2017, table 1, with and without batch normalisation."""
    model = SmallInception(batch_norm)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_649_402
    assert all(parameter.requires_grad for parameter in model.parameters())


@both
def test_shapes_of_all_modules(batch_norm: bool) -> None:
    """Modules come in the order of the paper's figure, with its channels, heights and widths."""
    network, x = small_inception(batch_norm), torch.randn(2, 3, 28, 28)
    shapes = {}
    for name, module in network.named_children():
        x = module(x)
        shapes[name] = tuple(x.shape[1:])
    assert list(shapes.items()) == list(SHAPES.items())


@both
def test_natural_taps_are_the_modules_of_the_figure(batch_norm: bool) -> None:
    """Taps are the outputs of whole modules, pooled features and logits, in order, and nothing inside a module."""
    model = SmallInception(batch_norm).eval()
    taps = select_taps("natural", find_taps(model, model, torch.randn(2, 3, 28, 28)))
    assert [tap.name for tap in taps] == ["input", *(f"network.{name}" for name in SHAPES if name != "flatten")]


@both
def test_every_convolution_is_followed_by_normalisation_and_relu(batch_norm: bool) -> None:
    """A convolution has a bias only where no normalisation follows; the order is convolution, normalisation, ReLU."""
    leaves = [type(part) for part in small_inception(batch_norm).modules() if not any(part.children())]
    number = leaves.count(nn.Conv2d)
    assert number == 1 + 8 * 2 + 2
    wanted = [nn.Conv2d, ShiftBatchNorm2d, nn.ReLU] if batch_norm else [nn.Conv2d, nn.ReLU]
    assert [kind for kind in leaves if kind in {nn.Conv2d, nn.ReLU, ShiftBatchNorm2d}] == wanted * number
    for part in small_inception(batch_norm).modules():
        assert not isinstance(part, nn.Conv2d) or (part.bias is None) == batch_norm


@pytest.mark.parametrize("training", [True, False])
def test_normalisation_is_the_affine_one_with_a_scale_of_one(training: bool) -> None:
    """It has beta and no gamma; outputs, statistics and gradients are those of nn.BatchNorm2d whose gamma is 1."""
    torch.manual_seed(0)
    ours, theirs = ShiftBatchNorm2d(5).double().train(training), nn.BatchNorm2d(5).double().train(training)
    assert [name for name, _ in ours.named_parameters()] == ["bias"]
    with torch.no_grad():
        ours.bias.copy_(torch.randn(5))
    theirs.load_state_dict(ours.state_dict() | {"weight": torch.ones(5)})
    x = (3 + 2 * torch.randn(4, 5, 3, 3)).double()
    target = torch.randn(4, 5, 3, 3).double()
    for norm in (ours, theirs):
        (norm(x) - target).square().sum().backward()
    assert_close(ours(x), theirs(x))
    assert_close(ours.bias.grad, theirs.bias.grad)
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)


def test_an_inception_module_puts_channels_side_by_side() -> None:
    """The first channels are those of the 1x1 convolution, the others those of the 3x3 convolution."""
    torch.manual_seed(0)
    module, x = Inception(4, narrow=3, wide=5, batch_norm=False), torch.randn(2, 4, 6, 6)
    y, weights = module(x), dict(module.named_parameters())
    narrow = conv2d(x, weights["conv1x1.conv.weight"], weights["conv1x1.conv.bias"])
    wide = conv2d(x, weights["conv3x3.conv.weight"], weights["conv3x3.conv.bias"], padding=1)
    assert_close(y[:, :3], narrow.relu())
    assert_close(y[:, 3:], wide.relu())


def test_a_downsampling_puts_the_maxima_behind_the_convolution() -> None:
    """The last channels are the maxima of 3x3 pixels around every second one."""
    torch.manual_seed(0)
    x = torch.rand(2, 4, 6, 6)
    y = Downsample(4, 5, batch_norm=True)(x)
    assert y.shape == (2, 9, 3, 3)
    assert torch.equal(y[:, 5:, 1, 2], x[:, :, 1:4, 3:6].amax(dim=(2, 3)))
    assert torch.equal(y[:, 5:, 0, 0], x[:, :, :2, :2].amax(dim=(2, 3)))


def test_the_initial_weights_are_those_of_slim() -> None:
    """Weights are uniform within sqrt(6 / (inputs + outputs)) of Glorot & Bengio, biases are zero."""
    conv = small_inception(batch_norm=False).get_submodule("inception8.conv3x3.conv")
    assert isinstance(conv, nn.Conv2d)
    bound = (6 / (9 * 336 + 9 * 160)) ** 0.5
    assert conv.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert conv.bias is not None
    assert not conv.bias.any()


def test_other_images_and_classes() -> None:
    """Images of any size and number of channels give logits (n, classes)."""
    network = small_inception(channels=1, classes=7)
    assert network(torch.randn(2, 1, 32, 20)).shape == (2, 7)


@pytest.mark.parametrize(("name", "size"), [("channels", 0), ("classes", -3)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        SmallInception(**sizes)


@both
def test_gradients_reach_every_parameter(batch_norm: bool) -> None:
    """After one loss every parameter of every layer has a gradient that is not zero."""
    torch.manual_seed(0)
    model = SmallInception(batch_norm)
    model(torch.randn(2, 3, 28, 28)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_logits_are_the_same_however_they_are_computed() -> None:
    """Channels last and torch.compile change nothing, bfloat16 little."""
    torch.manual_seed(0)
    model, image = SmallInception(channels_last=True).eval(), torch.randn(2, 3, 12, 12)
    plain = small_inception().eval()
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
    """The defaults are SGD at 0.1 with momentum 0.9, no weight decay, and a factor of 0.95 per schedule step."""
    made: Any = SmallInception().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    assert isinstance(scheduler, ExponentialLR)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 0, False)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == pytest.approx(0.095)
