"""Tests of models/keskar.py."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Adam

from stratoscope.models.keskar import KeskarC1, KeskarC2, KeskarF1, keskar_c1, keskar_c2, keskar_f1
from stratoscope.models.parts.classifier import Classifier
from stratoscope.probes import find_taps, select_taps

every = pytest.mark.parametrize("model", [KeskarF1, KeskarC1, KeskarC2])


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (lambda: keskar_f1(), 1_462_794),
        (lambda: keskar_f1(depth=7, inputs=360, classes=1973), 2_780_085),
        (lambda: keskar_c1(), 1_757_834),
        (lambda: keskar_c2(), 14_991_946),
        (lambda: keskar_c1(classes=100), 1_775_204),
        (lambda: keskar_c2(classes=100), 15_038_116),
    ],
    ids=["F1", "F2", "C1", "C2", "C3", "C4"],
)
def test_parameter_counts_of_the_six_networks(network: Callable[[], nn.Module], parameters: int) -> None:
    """The counts are those computed from the released code, with biases and affine batch normalisation."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in network().parameters()) == parameters


@every
def test_logits_and_gradients(model: Callable[[], Classifier]) -> None:
    """Images of the class's shape give logits (n, 10), and every parameter that matters a gradient that is not zero."""
    torch.manual_seed(0)
    built = model()
    logits = built(torch.randn(4, *built.image_shape))
    assert logits.shape == (4, 10)
    logits.logsumexp(1).sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_taps_of_f1() -> None:
    """Natural taps are linear layer, normalisation and ReLU, layer by layer."""
    network = keskar_f1(depth=2, width=8).eval()
    taps = select_taps("natural", find_taps(network, network, torch.randn(2, 1, 28, 28)))
    assert [tap.name for tap in taps] == ["input", "fc1", "norm1", "relu1", "fc2", "norm2", "relu2", "logits"]


def test_the_taps_and_widths_of_c1() -> None:
    """Two blocks of 64 channels are pooled to 16x16 and 8x8; 384 and 192 units follow."""
    network = keskar_c1().eval()
    taps = select_taps("natural", find_taps(network, network, torch.randn(2, 3, 32, 32)))
    widths = {tap.name: tap.width for tap in taps}
    blocks = [f"{layer}{block}" for block in (1, 2) for layer in ("conv", "norm", "relu", "pool")]
    assert list(widths) == ["input", *blocks, "fc1", "norm3", "relu3", "fc2", "norm4", "relu4", "logits"]
    assert (widths["conv1"], widths["pool1"], widths["conv2"]) == (64 * 32 * 32, 64 * 16 * 16, 64 * 16 * 16)
    assert (widths["pool2"], widths["fc1"], widths["fc2"]) == (64 * 8 * 8, 384, 192)


def test_the_stacks_and_dropout_of_c2() -> None:
    """Five stacks are pooled to one pixel; dropout stands where the released code has it."""
    network = keskar_c2().eval()
    taps = find_taps(network, network, torch.randn(2, 3, 32, 32))
    pools = {tap.name: tap.width for tap in taps if tap.name.startswith("pool")}
    sides = {"pool1": 64 * 16**2, "pool2": 128 * 8**2, "pool3": 256 * 4**2, "pool4": 512 * 2**2, "pool5": 512}
    assert pools == sides
    drops = {name: layer.p for name, layer in network.named_children() if isinstance(layer, nn.Dropout)}
    middle = [f"dropout{place}" for place in ("2_1", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2")]
    assert drops == {"dropout1_1": 0.3, **dict.fromkeys(middle, 0.4), "dropout5": 0.5, "dropout6": 0.5}
    names = [name for name, _ in network.named_children()]
    assert names[:8] == ["conv1_1", "norm1_1", "relu1_1", "dropout1_1", "conv1_2", "norm1_2", "relu1_2", "pool1"]


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        (keskar_f1, {"depth": -1}),
        (keskar_f1, {"width": 0}),
        (keskar_f1, {"inputs": 0}),
        (keskar_f1, {"classes": 0}),
        (keskar_c1, {"channels": 0}),
        (keskar_c1, {"classes": -1}),
        (keskar_c2, {"channels": 0}),
        (keskar_c2, {"classes": 0}),
    ],
)
def test_bad_sizes_are_refused(network: Callable[..., nn.Module], sizes: dict[str, int]) -> None:
    """The message names the size and its value."""
    ((name, size),) = sizes.items()
    with pytest.raises(ValueError, match=rf"got.*\b{name} {size}\b"):
        network(**sizes)


@every
def test_the_optimiser_of_the_paper(model: Callable[[], Classifier]) -> None:
    """The defaults are Adam's, and the learning rate stays; weights are Keras' Glorot uniform, biases zero."""
    with torch.device("meta"):
        built = model()
    assert built.hparams["initialisation"] == "glorot_uniform"
    made: Any = built.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, Adam)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.001, (0.9, 0.999), 1e-8, 0)
    optimizer.step()
    scheduler.step()
    assert group["lr"] == 0.001


def test_they_run_compiled_in_bfloat16_with_channels_last() -> None:
    """The three switches of training speed give finite logits of the same shape."""
    network = torch.compile(keskar_c1().to(memory_format=torch.channels_last), backend="eager", fullgraph=True)
    image = torch.randn(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(image)
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
