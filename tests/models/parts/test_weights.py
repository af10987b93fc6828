"""Tests of models/parts/weights.py; how callbacks and networks use it is tested with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from stratoscope.models import torchvision_network
from stratoscope.models.parts.weights import read_weights, shown, under_own_names

OWN = ("network.conv1.weight", "network.conv1.bias", "network.fc.weight")


def tensors(*names: str) -> dict[str, Tensor]:
    """One number for each name."""
    return {name: torch.tensor(float(place)) for place, name in enumerate(names)}


@pytest.mark.parametrize("inside", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_found_where_trainers_put_it(inside: str | None, tmp_path: Path) -> None:
    """By itself or beside the rest of a checkpoint; what else is in it is left out; nothing is said."""
    state = tensors(*OWN)
    content: Any = state if inside is None else {"epoch": 3, inside: {**state, "version": 2}}
    torch.save(content, tmp_path / "weights.pt")
    found, said = read_weights(tmp_path / "weights.pt", OWN)
    assert found == state
    assert said == ""
    (tmp_path / "weights.pt").rename(tmp_path / "elsewhere.pt")
    assert read_weights(tmp_path / "weights.pt", OWN, (tmp_path / "elsewhere.pt").read_bytes())[0] == state


def test_safetensors_are_read_by_their_ending(tmp_path: Path) -> None:
    """Such a file under another ending is damaged, and the other way round."""
    safetensors = pytest.importorskip("safetensors.torch")
    state = {name: torch.ones(2) for name in OWN}
    safetensors.save_file(state, tmp_path / "weights.safetensors")
    assert read_weights(tmp_path / "weights.safetensors", OWN)[0].keys() == state.keys()
    safetensors.save_file(state, tmp_path / "other.pt")
    torch.save(state, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.pt (is damaged|must hold tensors only)"):
        read_weights(tmp_path / "other.pt", OWN)
    with pytest.raises(ValueError, match=r"other\.safetensors is damaged, or not written by safetensors"):
        read_weights(tmp_path / "other.safetensors", OWN)


@pytest.mark.parametrize(
    ("names", "taken", "said"),
    [
        (OWN, OWN, ""),
        (
            [name.removeprefix("network.") for name in OWN],
            OWN,
            "read conv1.weight as network.conv1.weight (and 2 more)",
        ),
        (["module._orig_mod.fc.weight"], ["network.fc.weight"], "read module._orig_mod.fc.weight as network.fc.weight"),
        (["conv2.weight"], ["conv2.weight"], ""),
        # two that would be one
        (["model.fc.weight", "module.fc.weight"], ["model.fc.weight", "module.fc.weight"], ""),
    ],
)
def test_names_that_differ_by_a_prefix_become_the_networks_own(names: list[str], taken: list[str], said: str) -> None:
    """Where it is clear whose they are; the values stay in order."""
    found, line = under_own_names(tensors(*names), OWN)
    assert list(found) == list(taken)
    assert [float(value) for value in found.values()] == list(range(len(names)))
    assert line == said


def test_the_old_names_of_densenets_layers_are_known() -> None:
    """As in torchvision's published files."""
    own = ["features.denseblock1.denselayer1.norm1.weight", "features.denseblock1.denselayer1.conv2.weight"]
    old = ["features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.conv.2.weight"]
    assert list(under_own_names(tensors(*old), own)[0]) == own


def test_a_name_that_two_layers_could_have_is_nobodys() -> None:
    """Of an encoder and its copy."""
    found, line = under_own_names(tensors("fc.weight"), ["network.fc.weight", "backbone.fc.weight"])
    assert list(found) == ["fc.weight"]
    assert line == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "it is a list"),
        ({}, "it is empty"),
        ({"epoch": 3, "model": {"lr": 0.1}}, "its keys are epoch, model"),
        ({str(key): key for key in range(9)}, r"its keys are 0, 1, 2, 3, 4, ... \(9\)"),
    ],
)
def test_a_file_without_a_state_dict_says_what_it_has(content: Any, message: str, tmp_path: Path) -> None:
    """And where one would have been found."""
    file = tmp_path / "weights.pt"
    torch.save(content, file)
    where = "must hold a state dict, which maps names to tensors, or one under state_dict, model_state_dict, model"
    with pytest.raises(ValueError, match=rf"^{file} {where}: {message}$"):
        read_weights(file, OWN)


def test_many_names_are_shown_by_the_first() -> None:
    """With how many there are."""
    assert shown(["a", "b"]) == "a, b"
    assert shown(map(str, range(7)), most=2) == "0, 1, ... (7)"
    assert shown([]) == ""


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
def test_the_file_of_another_network_is_refused(
    theirs: str, ours: str, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fits of it by chance, such as statistics of batch normalisation; nothing is loaded."""
    with torch.device("meta"):
        names = {name: tuple(value.shape) for name, value in torchvision_network(theirs).state_dict().items()}
    file = tmp_path / "weights.pt"
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in names.items()}, file)
    network = torchvision_network(ours)
    monkeypatch.setattr(models, "get_model", lambda *_, **__: network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=f"weights.pt is of another network: .*{layer}.*nothing is loaded"):
        torchvision_network(ours, weights_file=str(file))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_a_parallel_and_compiled_network_are_read(tmp_path: Path) -> None:
    """From a checkpoint of a training script, with the prefixes of DistributedDataParallel and torch.compile."""
    source = torchvision_network("shufflenet_v2_x0_5")
    weights = {f"module._orig_mod.{name}": value for name, value in source.state_dict().items()}
    torch.save({"model": weights, "epoch": 90}, tmp_path / "weights.pt")
    network = torchvision_network("shufflenet_v2_x0_5", weights_file=str(tmp_path / "weights.pt"))
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in source.state_dict().items())
