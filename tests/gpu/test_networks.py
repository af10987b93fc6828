"""Every network trains and is probed on a GPU, in 32 and 16 bits, compiled, bit for bit as without instruments."""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from stratoscope.callbacks import ExactResume, FiniteLoss, LinearProbes, OnlineProbes
from stratoscope.commands.catalogue import ours
from stratoscope.datamodules import Digits, ImageDataModule, PartialLabels, RandomSubset, Shapes
from stratoscope.models import Classifier, SmallAlexNet, SmallInception, WideResNet
from tests.gpu.devices import GPU, RUNS, trained

NETWORKS = [
    pytest.param(
        network,
        id=network.__name__,
        marks=pytest.mark.skipif(
            network.__name__ == "TimmClassifier" and find_spec("timm") is None, reason="timm is an extra"
        ),
    )
    for network in sorted(ours(Classifier), key=lambda network: network.__name__)
]


def few_images(network: type[Classifier]) -> ImageDataModule:
    """Images of the shape the network is made for, some labels of which are wrong."""
    channels, height, _ = network.image_shape
    noise = [RandomSubset(60), PartialLabels(0.5)]
    if channels == 1:
        return Digits(channels=channels, corruption=noise, batch_size=20, seed=0)
    return Shapes(size=height, train_size=60, test_size=40, corruption=noise, batch_size=20, seed=0)


def rows(folder: Path, file: str = "probes.csv") -> list[dict[str, str]]:
    """The rows of a table."""
    with (folder / file).open(newline="") as text:
        return list(csv.DictReader(text))


def moments(trainer: Any) -> list[torch.Tensor]:
    """All tensors of the optimisers."""
    states = (state for optimizer in trainer.optimizers for state in optimizer.state.values())
    return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("device", [GPU])
@pytest.mark.parametrize(("precision", "channels_last"), [("32-true", False), ("bf16-mixed", True)])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_trains_and_is_probed(
    tmp_path: Path, network: type[Classifier], precision: str, channels_last: bool, device: str
) -> None:
    """Weights change, the loss is finite, and every layer's probes of both kinds are certified."""
    probes = [LinearProbes(width=64, ridge=1e-2), OnlineProbes(width=64)]
    switches = {"channels_last": channels_last}
    _, trainer = trained(
        tmp_path, network, few_images(network), device, *probes, switches=switches, precision=precision
    )
    assert trainer.strategy.root_device.type == device
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    found = rows(tmp_path)
    assert {row["labels"] for row in found} == {"true_label", "given_label"}
    assert {row["epoch"] for row in found} == {"0", "1"}
    assert [row["failed"] for row in found if row["failed"]] == []
    assert max(float(row["gap"]) for row in found) <= 1e-6
    assert [row["failed"] for row in rows(tmp_path, "online_probes.csv") if row["failed"]] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
@pytest.mark.parametrize("device", [GPU])
def test_a_compiled_network_is_probed(tmp_path: Path, device: str) -> None:
    """Probes read it as it is written."""
    torch.compiler.reset()
    data = few_images(SmallAlexNet)
    trained(tmp_path, SmallAlexNet, data, device, LinearProbes(width=64), switches={"compile": True})
    assert not [row["failed"] for row in rows(tmp_path) if row["failed"]]
    torch.compiler.reset()


@pytest.mark.parametrize("device", RUNS)
@pytest.mark.parametrize("network", [SmallAlexNet, WideResNet, SmallInception])
def test_training_is_bit_for_bit_that_without_instruments(
    tmp_path: Path, network: type[Classifier], device: str
) -> None:
    """Weights, moments and the device's next random number, with deterministic algorithms."""
    ends = []
    measures = ["neighbours", "rank", "collapse", "control", "similarity"]
    instruments = [LinearProbes(width=32, measures=measures, tolerance=1e-3), OnlineProbes(width=32)]
    switches: dict[str, Any] = {"depth": 10, "width": 1, "dropout": 0.3} if network is WideResNet else {}
    if network is SmallInception:
        switches = {"width_multiplier": 0.25}
    try:
        for callbacks in ([], instruments):
            model, trainer = trained(
                tmp_path, network, few_images(network), device, *callbacks, switches=switches, deterministic=True
            )
            ends.append([*model.state_dict().values(), *moments(trainer), torch.rand(3, device=device)])
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(ends[0]) > 10
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert (tmp_path / "measures.csv").is_file()
    assert not [row["failed"] for row in rows(tmp_path) if row["failed"]]


class Unsynchronised(LinearProbes):
    """No probes, but from the second step of an epoch to its last one any wait for the device is an error."""

    waits: str = "error"

    def due(self, epoch: int) -> bool:
        """Never."""
        return False

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Forbid waits after the first step, allow them after the last."""
        if torch.cuda.is_available():
            last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
            torch.cuda.set_sync_debug_mode("default" if last else self.waits)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Allow waits."""
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("device", RUNS)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_step_waits_for_the_device(tmp_path: Path, device: str, precision: str) -> None:
    """Neither training nor its callbacks nor our data move anything to the host between an epoch's ends."""
    data = few_images(SmallAlexNet)
    callbacks = [ExactResume(), FiniteLoss(), OnlineProbes(width=32), Unsynchronised()]
    _, trainer = trained(tmp_path, SmallAlexNet, data, device, *callbacks, epochs=2, precision=precision)
    assert trainer.global_step == 6
