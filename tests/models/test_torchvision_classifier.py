"""Tests of models/torchvision_classifier.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

from stratoscope.models.torchvision_classifier import TorchvisionClassifier, load_what_fits, torchvision_network
from stratoscope.probes import find_taps, select_taps

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


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16", "googlenet", "squeezenet1_1", "alexnet"])
def test_other_families_are_refused_a_small_stem(name: str) -> None:
    """The message names the network, the families and the way out; without the stem the network is built."""
    with pytest.raises(ValueError, match=rf"no stem .*{name}.*ResNet.*small_images to false"):
        on_meta(name)
    network = on_meta(name, small_images=False, channels=1, classes=7).eval()
    with torch.device("meta"):
        assert network(torch.randn(2, 1, 224, 224)).shape == (2, 7)


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


def test_weights_of_another_head_and_stem_are_loaded_where_they_fit(tmp_path: Path) -> None:
    """What does not fit is named in a warning and stays; the rest is loaded."""
    torch.manual_seed(0)
    source = torchvision_network("shufflenet_v2_x0_5", small_images=False, classes=20).state_dict()
    torch.save(source | {"more.weight": torch.zeros(2)}, tmp_path / "weights.pt")
    with pytest.warns(UserWarning, match="weights.pt has ") as warnings:
        network = torchvision_network("shufflenet_v2_x0_5", channels=1, weights_file=str(tmp_path / "weights.pt"))
    messages = [str(warning.message) for warning in warnings]
    assert [message.split(" has ", 1)[1] for message in messages] == [
        "nothing that fits conv1.0.weight, fc.weight, fc.bias: left as initialised",
        "more.weight, which the network has not: left out",
    ]
    different = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, source[name])]
    assert different == ["conv1.0.weight", "fc.weight", "fc.bias"]


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


def test_bad_files_of_weights_are_refused(tmp_path: Path) -> None:
    """A missing file, a file with code, one with other things and one of another network each have a message."""
    bad = {"code": print, "number": 3, "checkpoint": {"state_dict": {}}, "other": {"fc1.weight": torch.zeros(2)}}
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    for name, content in bad.items():
        torch.save(content, tmp_path / name)
    for name, message in (
        ("missing", "missing is not there"),
        ("code", "must hold tensors only"),
        ("junk", "junk is damaged, or not written by torch.save"),
        ("number", "must hold a state dict"),
        ("checkpoint", "must hold a state dict.*its keys are state_dict$"),
        ("other", r"no tensor of .* fits.*its names are fc1\.weight, the network's conv1\.0\.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            torchvision_network("shufflenet_v2_x0_5", weights_file=str(tmp_path / name))


@pytest.mark.parametrize(
    ("theirs", "ours", "layer"),
    [
        (
            "wide_resnet50_2",
            "resnet18",
            r"layer1\.0\.conv1\.weight is \(128, 64, 1, 1\) in the file, \(64, 64, 3, 3\) in the model",
        ),
        ("resnet18", "resnet34", r"layer1\.2\.conv1\.weight is missing in the file, \(64, 64, 3, 3\) in the model"),
        ("mobilenet_v2", "mobilenet_v3_small", r"features\.\d"),
    ],
)
def test_the_file_of_another_network_is_refused(theirs: str, ours: str, layer: str, tmp_path: Path) -> None:
    """Whatever fits of it by chance, such as statistics of batch normalisation; nothing is loaded."""
    with torch.device("meta"):
        names = {name: tuple(value.shape) for name, value in torchvision_network(theirs).state_dict().items()}
    file = tmp_path / "weights.pt"
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in names.items()}, file)
    network = torchvision_network(ours)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=f"weights.pt is of another network: .*{layer}.*nothing is loaded"):
        load_what_fits(network, str(file))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_a_parallel_and_compiled_network_are_read(tmp_path: Path) -> None:
    """From a checkpoint of a training script, with the prefixes of DistributedDataParallel and torch.compile."""
    source = torchvision_network("shufflenet_v2_x0_5")
    weights = {f"module._orig_mod.{name}": value for name, value in source.state_dict().items()}
    torch.save({"model": weights, "epoch": 90}, tmp_path / "weights.pt")
    network = torchvision_network("shufflenet_v2_x0_5", weights_file=str(tmp_path / "weights.pt"))
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
