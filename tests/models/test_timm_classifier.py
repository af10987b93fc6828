"""Tests of models/timm_classifier.py; timm is an optional extra, and one of those of the tests."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from stratoscope.models.timm_classifier import TimmClassifier, timm_network
from stratoscope.probes import find_taps, select_taps

# the smallest network of each family whose stem is adapted
FAMILIES = {
    "resnet18": "conv1",
    "resnet26d": "conv1.0",
    "densenet121": "features.conv0",
    "mobilenetv2_050": "conv_stem",
    "efficientnet_b0": "conv_stem",
    "mobilenetv3_small_050": "conv_stem",
    "regnety_002": "stem.conv",
    "vgg11": "features.0",
}


def on_meta(name: str, **settings: Any) -> nn.Module:
    """A network without values: sizes only."""
    with torch.device("meta"):
        return timm_network(name, **settings)


def test_a_missing_timm_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"^timm is not installed: pip install 'stratoscope\[timm\]'$"):
        TimmClassifier()


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("resnet18", {}, 11_173_962),  # the usual ResNet-18 for CIFAR-10
        ("resnet18", {"small_images": False, "classes": 1000}, 11_689_512),
        ("vit_tiny_patch16_224", {"small_images": False, "classes": 1000}, 5_717_416),
    ],
)
def test_known_parameter_counts(name: str, settings: dict[str, Any], parameters: int) -> None:
    """Networks have the parameters of the literature."""
    assert sum(parameter.numel() for parameter in on_meta(name, **settings).parameters()) == parameters


@pytest.mark.parametrize("name", FAMILIES)
def test_small_stems_keep_the_resolution(name: str) -> None:
    """In every family the first convolution is 3x3 with stride 1, and no pooling follows it but in VGG."""
    stem, channels = FAMILIES[name], 3 if name in {"resnet18", "efficientnet_b0"} else 1
    with torch.device("meta" if name == "vgg11" else "cpu"):  # VGG is large
        network = timm_network(name, channels=channels).eval()
        taps = find_taps(network, network, torch.randn(2, channels, 32, 32))
    convolution = network.get_submodule(stem)
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.in_channels, convolution.kernel_size, convolution.stride) == (channels, (3, 3), (1, 1))
    assert [tap.width for tap in taps if tap.name == stem] == [convolution.out_channels * 32 * 32]
    pools = [layer for layer in network.modules() if isinstance(layer, nn.MaxPool2d)]
    assert len(pools) == (5 if name == "vgg11" else 0)
    assert taps[-1].width == 10


def test_a_vision_transformer_takes_small_images_by_options() -> None:
    """Without a stem of ours the network is refused, with options of its own it is built."""
    with pytest.raises(ValueError, match=r"no stem .*vit_tiny_patch16_224.*small_images to false"):
        on_meta("vit_tiny_patch16_224")
    network = on_meta("vit_tiny_patch16_224", small_images=False, options={"img_size": 32, "patch_size": 4}).eval()
    with torch.device("meta"):
        assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_natural_taps_of_resnets_are_the_outputs_of_blocks() -> None:
    """Stem, blocks, pooling and final layer."""
    network = timm_network("resnet18").eval()
    names = [tap.name for tap in select_taps("natural", find_taps(network, network, torch.randn(2, 3, 32, 32)))]
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert names == ["input", "act1", *blocks, "global_pool", "fc"]


def test_unknown_names_and_sizes_are_refused() -> None:
    """The message names near networks, or the size and its value."""
    with pytest.raises(ValueError, match=r"no model 'resnet19'; near: .*resnet"):
        timm_network("resnet19")
    with pytest.raises(ValueError, match=r"got.*\bclasses 0\b"):
        timm_network(classes=0)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_are_loaded_where_they_fit(tmp_path: Path, ending: str) -> None:
    """What does not fit is named in a warning and stays; the rest is loaded, from both kinds of files."""
    torch.manual_seed(0)
    source = timm_network("mobilenetv3_small_050", classes=20).state_dict()
    file = tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(source, file)
    else:
        importlib.import_module("safetensors.torch").save_file(source, file)
    with pytest.warns(UserWarning, match=r"nothing that fits classifier.weight, classifier.bias: left as initialised"):
        network = timm_network("mobilenetv3_small_050", weights_file=str(file))
    different = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, source[name])]
    assert different == ["classifier.weight", "classifier.bias"]


def test_pretrained_weights_are_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache has no file, the message says where to get it."""
    hub = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"no file has.*hf download timm/\S+ model.safetensors.*weights_file$"):
        timm_network("resnet18", pretrained=True)


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are those of He et al. 2016 for CIFAR-10."""
    with torch.device("meta"):
        made: Any = TimmClassifier().configure_optimizers()
    assert isinstance(made["optimizer"], SGD)
    (group,) = made["optimizer"].param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 1e-4, False)
