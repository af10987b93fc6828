"""Tests of models/parts/small_stem.py on networks of torchvision; those of timm are in test_timm_classifier.py."""

import pytest
import torch
from torch import nn
from torchvision import models

from stratoscope.models import torchvision_network
from stratoscope.probes import find_taps

# the smallest network of each family whose stem is adapted
FAMILIES = {
    "resnet18": "conv1",
    "densenet121": "features.conv0",
    "shufflenet_v2_x0_5": "conv1.0",
    "mobilenet_v2": "features.0.0",
    "mobilenet_v3_small": "features.0.0",
    "efficientnet_b0": "features.0.0",
    "mnasnet0_5": "layers.0",
    "regnet_y_400mf": "stem.0",
    "vgg11": "features.0",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_small_stems_keep_the_resolution(name: str) -> None:
    """In every family the first convolution is 3x3 with stride 1, and no pooling follows it but in VGG."""
    stem, channels = FAMILIES[name], 3 if name in {"resnet18", "mobilenet_v2"} else 1
    with torch.device("meta" if name == "vgg11" else "cpu"):  # VGG is large
        network = torchvision_network(name, channels=channels).eval()
        taps = find_taps(network, network, torch.randn(2, channels, 32, 32))
    convolution = network.get_submodule(stem)
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.in_channels, convolution.kernel_size, convolution.stride) == (channels, (3, 3), (1, 1))
    assert [tap.width for tap in taps if tap.name == stem] == [convolution.out_channels * 32 * 32]
    pools = [layer for layer in network.modules() if isinstance(layer, nn.MaxPool2d)]
    assert len(pools) == (5 if name == "vgg11" else 0)
    assert taps[-1].width == 10


@pytest.mark.parametrize(
    "name",
    [
        "googlenet",
        "squeezenet1_1",
        "alexnet",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("convnext_tiny", "vit_b_16")),
    ],
)
def test_other_families_are_refused_a_small_stem(name: str) -> None:
    """The message names the network, the families and the way out; without the stem the network is built."""
    with pytest.raises(ValueError, match=rf"no stem .*{name}.*ResNet.*small_images to false"):
        torchvision_network(name)
    with torch.device("meta"):
        network = torchvision_network(name, small_images=False, channels=1, classes=7).eval()
        assert network(torch.randn(2, 1, 224, 224)).shape == (2, 7)


def first_convolution(network: nn.Module) -> nn.Conv2d:
    """The first one."""
    return next(part for part in network.modules() if isinstance(part, nn.Conv2d))


def test_a_stem_that_is_as_asked_for_stays_as_it_was_drawn() -> None:
    """For large images of three channels it is torchvision's own, bit for bit; another stride draws nothing either."""
    found = []
    for make in (
        lambda: models.mobilenet_v3_small(num_classes=10),
        lambda: torchvision_network("mobilenet_v3_small", small_images=False),
        lambda: torchvision_network("mobilenet_v3_small", small_images=True),
    ):
        torch.manual_seed(0)
        found.append(make())
    theirs, large, small = (network.state_dict() for network in found)
    assert all(torch.equal(value, large[name]) and torch.equal(value, small[name]) for name, value in theirs.items())
    assert [first_convolution(network).stride for network in found] == [(2, 2), (2, 2), (1, 1)]


def test_a_new_first_convolution_is_drawn_as_hes() -> None:
    """Normal, of the variance 2 / fan-out; stride, padding and bias are those of the one it is in the place of."""
    torch.manual_seed(0)
    grey, small = (
        first_convolution(torchvision_network("resnet18", channels=channels, small_images=small_images))
        for channels, small_images in ((1, False), (3, True))
    )
    assert (grey.in_channels, grey.kernel_size, grey.stride, grey.padding) == (1, (7, 7), (2, 2), (3, 3))
    assert grey.bias is None
    assert (small.in_channels, small.kernel_size, small.stride, small.padding) == (3, (3, 3), (1, 1), (1, 1))
    for weight, fan_out in ((grey.weight.detach(), 64 * 49), (small.weight.detach(), 64 * 9)):
        error = weight.numel() ** -0.5  # standard, of the mean; of the deviation it is 0.7 times this
        assert abs(float(weight.std()) / (2 / fan_out) ** 0.5 - 1) < 4 * error
        assert abs(float(weight.mean())) < 4 * (2 / fan_out) ** 0.5 * error
