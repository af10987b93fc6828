"""Tests of models/torchvision_classifier.py; stems and files of weights are tested in parts/."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from stratoscope.models.torchvision_classifier import TorchvisionClassifier, torchvision_network
from stratoscope.probes import find_taps, select_taps


def on_meta(name: str, **settings: Any) -> nn.Module:
    """A network without values: sizes only."""
    with torch.device("meta"):
        return torchvision_network(name, **settings)


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("resnet18", {}, 11_173_962),  # the usual ResNet-18 for CIFAR-10
        ("resnet18", {"small_images": False, "classes": 1000}, 11_689_512),  # torchvision's documentation
        ("resnet50", {"small_images": False, "classes": 1000}, 25_557_032),
        ("densenet121", {"small_images": False, "classes": 1000}, 7_978_856),
        ("vit_b_16", {"small_images": False, "classes": 1000}, 86_567_656),
    ],
)
def test_known_parameter_counts(name: str, settings: dict[str, Any], parameters: int) -> None:
    """Networks have the parameters of the literature and of torchvision's documentation."""
    assert sum(parameter.numel() for parameter in on_meta(name, **settings).parameters()) == parameters


def test_training_gives_one_tensor_where_torchvision_has_auxiliary_heads() -> None:
    """GoogLeNet in training mode returns logits (n, classes)."""
    network = on_meta("googlenet", small_images=False).train()
    with torch.device("meta"):
        assert network(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_natural_taps_of_resnets_are_the_outputs_of_blocks() -> None:
    """Stem, blocks (more than ten of a stage too), pooling and final layer; the max-pool where there is one."""
    network = on_meta("resnet18").eval()
    with torch.device("meta"):
        names = [tap.name for tap in select_taps("natural", find_taps(network, network, torch.randn(2, 3, 32, 32)))]
        blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
        assert names == ["input", "relu", *blocks, "avgpool", "fc"]
        network = on_meta("resnet101", small_images=False).eval()
        names = [tap.name for tap in select_taps("natural", find_taps(network, network, torch.randn(2, 3, 64, 64)))]
    blocks = [f"layer{stage}.{block}" for stage, count in enumerate((3, 4, 23, 3), start=1) for block in range(count)]
    assert names == ["input", "relu", "maxpool", *blocks, "avgpool", "fc"]


def test_gradients_reach_every_parameter() -> None:
    """After one loss every parameter of a small ResNet has a gradient that is not zero."""
    torch.manual_seed(0)
    model = TorchvisionClassifier()
    model(torch.randn(2, 3, 16, 16)).logsumexp(1).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("name", "near"), [("resnet19", "resnet18"), ("fasterrcnn_resnet50_fpn", "resnet50")])
def test_unknown_names_are_refused(name: str, near: str) -> None:
    """The message names near classification networks; networks for other tasks are unknown."""
    with pytest.raises(ValueError, match=rf"no classification model '{name}'; near: .*{near}"):
        torchvision_network(name)


@pytest.mark.parametrize(("name", "size"), [("classes", 0), ("channels", -1)])
def test_bad_sizes_are_refused(name: str, size: int) -> None:
    """The message names the size and its value."""
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        on_meta("resnet18", **{name: size})


def test_weights_are_loaded_from_a_file(tmp_path: Path) -> None:
    """A state dict of the same network is loaded in full, without a warning."""
    torch.manual_seed(0)
    source = torchvision_network("shufflenet_v2_x0_5")
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    network = torchvision_network("shufflenet_v2_x0_5", weights_file=str(tmp_path / "weights.pt"))
    for name, tensor in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_pretrained_weights_come_from_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file is refused with its address and place; a file at that place is loaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where the place that is read off the message would be made, were it none
    with pytest.raises(
        ValueError, match=r"no file has.*https://.*/(shufflenet\S+\.pth) at .*hub/checkpoints/\1$"
    ) as refused:
        torchvision_network("shufflenet_v2_x0_5", pretrained=True)
    place = Path(str(refused.value).split(" at ")[1])
    place.parent.mkdir(parents=True)
    source = torchvision_network("shufflenet_v2_x0_5")
    torch.save(source.state_dict(), place)
    network = torchvision_network("shufflenet_v2_x0_5", pretrained=True)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in source.state_dict().items())


def test_an_initialisation_does_not_overwrite_loaded_weights() -> None:
    """Both together are refused; an initialisation alone is used."""
    with pytest.raises(ValueError, match="initialisation must be as_built"):
        TorchvisionClassifier(weights_file="weights.pt", initialisation="he_normal")
    model = TorchvisionClassifier("shufflenet_v2_x0_5", initialisation="zero")
    assert (model.network.get_parameter("fc.weight") == 0).all()


def test_images_are_resized_first() -> None:
    """A network of another size of images sees them enlarged, or made smaller, and its layers keep their names."""
    torch.manual_seed(0)
    model = TorchvisionClassifier("mobilenet_v3_small", small_images=False, resize=64).eval()
    image = torch.randn(2, 3, 28, 28)
    enlarged = nn.functional.interpolate(image, size=(64, 64), mode="bilinear", align_corners=False)
    seen = model(image)
    assert (seen - model.network(enlarged)).norm() < 1e-4 * seen.norm()
    assert (seen - model.network(image)).norm() > 0.1 * seen.norm()
    taps = {tap.name: tap for tap in find_taps(model, model, image)}
    assert taps["network.features.0.0"].width == 16 * 32 * 32
    with pytest.raises(ValueError, match="resize must be 1 pixel or more, or null for none; got 0"):
        TorchvisionClassifier("mobilenet_v3_small", small_images=False, resize=0)


def test_options_reach_torchvision() -> None:
    """Further arguments go to torchvision's function."""
    network = on_meta("mobilenet_v2", options={"dropout": 0.7})
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.7]


def test_the_optimiser_of_the_paper() -> None:
    """The defaults are those of He et al. 2016 for CIFAR-10."""
    with torch.device("meta"):
        made: Any = TorchvisionClassifier().configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, SGD)
    assert isinstance(scheduler, MultiStepLR)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.1, 0.9, 1e-4, False)
    assert (sorted(scheduler.milestones), scheduler.gamma) == ([82, 123], 0.1)
