"""What holds for every network there is: it trains, in every memory format and precision."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from stratoscope.commands.catalogue import ours
from stratoscope.commands.table import main
from stratoscope.datamodules import (
    BrightnessLabels,
    ClusterLabels,
    ColourLabels,
    ConfusedLabels,
    ConvolutionLabels,
    Corruption,
    Digits,
    EdgeLabels,
    GaussianPixels,
    ImageDataModule,
    LinearLabels,
    PartialLabels,
    PrototypeLabels,
    RandomLabels,
    RandomPixels,
    RandomSubset,
    Sets,
    Shapes,
    ShuffledPixels,
)
from stratoscope.models import Classifier
from stratoscope.probes import find_taps, frozen, select_taps

IMAGES = 40
QUIET: dict[str, Any] = {
    name: False for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
}
NETWORKS = sorted((network for network in ours(Classifier)), key=lambda network: network.__name__)
CONFUSION = [[0.1] * 10] * 10
CORRUPTIONS: list[Corruption] = [
    BrightnessLabels(),
    ClusterLabels(),
    ColourLabels(),
    ConfusedLabels(CONFUSION),
    ConvolutionLabels(),
    EdgeLabels(),
    GaussianPixels(),
    LinearLabels(),
    PartialLabels(0.5),
    PrototypeLabels(),
    RandomLabels(),
    RandomPixels(),
    RandomSubset(IMAGES // 2 + 1, seed=1),
    ShuffledPixels(),
]
SMALLEST: Mapping[str, dict[str, Any]] = {
    "CifarResNet": {"depth": 8},
    "NeelakantanMLP": {"depth": 5},
    "SkipMLP": {"depth": 8, "skip": 4},
    "TimmClassifier": {"name": "mobilenetv3_small_050"},
    "TorchvisionClassifier": {"name": "mobilenet_v3_small"},
    "UrbanConvNet": {"convolutions": 1, "parameters": 50_000},
    "VGG": {"depth": 11},
    "WideResNet": {"depth": 10},
}
LARGE = ("AlexNet", "KeskarC1", "KeskarC2", "ResNet", "SmallInception", "VGG")
# which have tests of their own of gradients, and relatives that are lighter
HEAVY = ("AlexNet", "KeskarC2", "ResNet", "SmallInception", "VGG")
# whose own tests compare the logits, compiled and with the channels last
COMPARED = ("CifarResNet", "ResNet", "SmallInception", "VGG", "WideResNet")
OTHERS = ("TimmClassifier", "TorchvisionClassifier")  # of other packages
every_network = pytest.mark.parametrize("network", NETWORKS)
# bfloat16 takes a processor that has none up to a minute with the others
QUICK = {"MLP", "KeskarF1", "NeelakantanMLP", "SkipMLP", "MNISTConvNet", "CifarResNet"}


def data_for(network: type[Classifier], *corruptions: Corruption) -> ImageDataModule:
    """A few images of the shape the network is made for."""
    channels, height, _ = network.image_shape
    few = [RandomSubset(IMAGES), *corruptions]
    if height == 32:
        return Shapes(train_size=IMAGES, test_size=20, corruption=few, batch_size=10, seed=0)
    return FewTested(channels=channels, corruption=few, batch_size=10, seed=0)


class FewTested(Digits):
    """Digits of which few are tested on."""

    def load(self) -> Sets:
        """The first test images."""
        sets = super().load()
        return {**sets, "test": type(sets["test"])(*(column[:10] for column in sets["test"]))}


def fitted(network: type[Classifier], precision: Any = "32-true", **switches: Any) -> Classifier:
    """The smallest such network after a few steps on random labels."""
    torch.manual_seed(0)
    model = network(**{**SMALLEST.get(network.__name__, {}), **switches})
    before = torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=3,
        limit_val_batches=1,
        log_every_n_steps=1,
        precision=precision,
        **QUIET,
    )
    trainer.fit(model, data_for(network, RandomLabels()))
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert trainer.global_step >= 3
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert torch.isfinite(trainer.callback_metrics["test/loss"])
    return model


def test_all_corruptions_are_here() -> None:
    """Those for any data set and without a file of their own: test_golden_losses.py trains two networks on each."""
    there = {child.__name__ for child in ours(Corruption)}
    assert there == {type(corruption).__name__ for corruption in CORRUPTIONS} | {"AsymmetricLabels", "HumanLabels"}


@pytest.mark.parametrize(
    "network",
    [pytest.param(one, marks=[pytest.mark.slow] if one.__name__ in HEAVY else []) for one in NETWORKS],
)
def test_a_short_fit(network: type[Classifier]) -> None:
    """A few steps change the weights and leave finite losses; probes find their way around."""
    model = fitted(network)
    image = torch.randn(2, *network.image_shape)
    with frozen(model):
        taps = select_taps("natural", find_taps(model, model, image))
        logits = model(image)
    assert len(taps) > 1
    assert taps[-1].width == logits.shape[1] == 10


@pytest.mark.parametrize(
    "network",
    [pytest.param(one, marks=[] if one.__name__ in QUICK else [pytest.mark.slow]) for one in NETWORKS],
)
def test_a_short_fit_in_bfloat16_with_channels_last(network: type[Classifier]) -> None:
    """The same with both switches on; convolutions then lie in memory with the channels last."""
    model = fitted(network, "bf16-mixed", channels_last=True)
    kernels = [p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize(
    "network",
    [pytest.param(one, marks=[pytest.mark.slow] if one.__name__ in COMPARED else []) for one in NETWORKS],
)
def test_channels_last_changes_nothing_but_rounding(network: type[Classifier]) -> None:
    """Logits in both memory formats are the same to single precision."""
    image = torch.randn(2, *network.image_shape, generator=torch.Generator().manual_seed(0))
    logits = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = network(channels_last=channels_last, **SMALLEST.get(network.__name__, {}))
        with frozen(model):
            logits.append(model(image))
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(one, marks=[pytest.mark.slow] if one.__name__ in {*LARGE, *OTHERS, *COMPARED} else [])
        for one in NETWORKS
    ],
)
def test_torch_compile_takes_the_network_whole(network: type[Classifier]) -> None:
    """Dynamo captures the forward pass in one graph, which gives the same logits."""
    torch.manual_seed(0)
    model = network(**SMALLEST.get(network.__name__, {}))
    image = torch.randn(2, *network.image_shape)
    torch.compiler.reset()
    with frozen(model):
        captured = torch.compile(model.network, backend="eager", fullgraph=True)
        torch.testing.assert_close(captured(image), model.network(image))
    torch.compiler.reset()


@pytest.mark.slow
@every_network
def test_a_short_fit_compiled(network: type[Classifier]) -> None:
    """The same with torch.compile as a switch, with a compiler's code."""
    torch.compiler.reset()
    fitted(network, compile=True)
    torch.compiler.reset()


@every_network
def test_configs_hold_the_whole_network(network: type[Classifier], capsys: pytest.CaptureFixture[str]) -> None:
    """What --print_config says of a network, its optimiser and its schedule can be read again and says the same."""
    words = ["fit", "--model", network.__name__, "--data", "Digits", "--print_config"]
    with pytest.raises(SystemExit):
        main(words)
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    assert set(model["init_args"]["optimizer"]) == {"class_path", "init_args"}
    assert set(model["init_args"]["scheduler"]) == {"class_path", "init_args"}
