"""Training gives the losses it always gave: 20 steps of every network, and of two on every corruption.

The losses are in golden_losses.csv, to four digits. STRATOSCOPE_WRITE_GOLDEN_LOSSES=1 writes the rows of the tests that
run anew instead of comparing them; which is right only where a change of the method was meant, and says which:

    STRATOSCOPE_WRITE_GOLDEN_LOSSES=1 pytest tests/models/test_golden_losses.py && git diff tests/models
"""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import SGD

from stratoscope.callbacks import ExactResume
from stratoscope.datamodules import (
    CIFAR10,
    AsymmetricLabels,
    Corruption,
    HumanLabels,
    ImageDataModule,
    RandomLabels,
    Sets,
    Shapes,
)
from stratoscope.models import MLP, Classifier, SmallAlexNet
from tests.models.test_every_network import CORRUPTIONS, IMAGES, NETWORKS, QUIET, data_for

FILE = Path(__file__).with_name("golden_losses.csv")
WRITE = "STRATOSCOPE_WRITE_GOLDEN_LOSSES" in os.environ
STEPS = 20
BATCH = 8
# Losses are stored to four digits. Kernels for the oldest CPUs (ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41
# MKL_ENABLE_INSTRUCTIONS=SSE4_2) instead of AVX-512 change them by 7e-4 at most, and by up to 1.6e-2 where batch
# normalisation of small batches lets rounding errors grow. Other labels change those of MLP by some 10 %, but those of
# SmallAlexNet, which has hardly begun to learn, by 1 % only: hence two tolerances.
TOLERANCE = 4e-3
WITH_BATCH_NORM = 2e-2
SMALL = 1e-3  # losses below are all the same: labels that are learnt

# the smallest size; and small steps where rounding errors grow tenfold every few steps of the default
SMALLEST: Mapping[str, dict[str, Any]] = {
    "CifarResNet": {"depth": 8, "optimizer": lambda params: SGD(params, lr=0.01, momentum=0.9)},
    "KeskarC2": {"optimizer": lambda params: SGD(params, lr=0.0001)},
    "KeskarF1": {"optimizer": lambda params: SGD(params, lr=0.01)},
    "NeelakantanMLP": {"depth": 5},
    "ResNet": {"optimizer": lambda params: SGD(params, lr=0.001)},
    "SkipMLP": {"depth": 8, "skip": 4},
    "SmallInception": {"optimizer": lambda params: SGD(params, lr=0.001)},
    "TorchvisionClassifier": {
        "name": "mobilenet_v3_small",
        "optimizer": lambda params: SGD(params, lr=0.001, momentum=0.9),
    },
    "UrbanConvNet": {"convolutions": 1, "parameters": 50_000},
    "VGG": {"depth": 11, "optimizer": lambda params: SGD(params, lr=0.001)},
    "WideResNet": {"depth": 10},
}
EXACT = ("AlexNet", "MLP", "MNISTConvNet", "NeelakantanMLP", "SkipMLP", "SmallAlexNet", "UrbanConvNet")
LARGE = ("AlexNet", "KeskarC1", "KeskarC2", "ResNet", "SmallInception", "VGG")
OF_ZHANG = ("PartialLabels", "RandomLabels", "ShuffledPixels", "RandomPixels", "GaussianPixels")


class Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep it."""
        self.found.append(float(outputs["loss"]))


def losses(network: type[Classifier], data: ImageDataModule) -> list[float]:
    """The losses of the first steps, in the smallest size of the network."""
    torch.manual_seed(0)
    model, kept = network(**SMALLEST.get(network.__name__, {})), Losses()
    callbacks = [ExactResume(), kept]  # which seeds the steps, for dropout
    trainer = Trainer(
        accelerator="cpu", max_steps=STEPS, max_epochs=-1, limit_val_batches=0, callbacks=callbacks, **QUIET
    )
    trainer.fit(model, data)
    return kept.found


def stored() -> dict[tuple[str, str], list[str]]:
    """The losses by network and corruption."""
    if not FILE.is_file():
        return {}
    with FILE.open(newline="") as text:
        return {(row[0], row[1]): row[2:] for row in list(csv.reader(text))[1:]}


def assert_golden(network: type[Classifier], corruption: Corruption, data: ImageDataModule) -> None:
    """Compare the losses with those stored, or store them."""
    key, now = (network.__name__, type(corruption).__name__), losses(network, data)
    rows = stored()
    if WRITE:
        rows[key] = [f"{loss:.4g}" for loss in now]
        with FILE.open("w", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["network", "corruption", *range(1, STEPS + 1)])
            writer.writerows([*names, *values] for names, values in sorted(rows.items()))
    tolerance = TOLERANCE if network.__name__ in EXACT else WITH_BATCH_NORM
    assert now == pytest.approx([float(loss) for loss in rows[key]], rel=tolerance, abs=SMALL)


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, marks=[pytest.mark.slow] if network.__name__ in LARGE else [])
        for network in NETWORKS
        if network.__name__ != "TimmClassifier"
    ],
)
def test_networks_learn_as_ever(network: type[Classifier]) -> None:
    """Every network, on random labels; but timm's, which change with timm."""
    data = data_for(network, RandomLabels())
    data.batch_size = BATCH
    assert_golden(network, RandomLabels(), data)


@pytest.mark.parametrize(
    ("network", "corruption"),
    [
        pytest.param(
            network,
            corruption,
            id=f"{network.__name__}-{type(corruption).__name__}",
            marks=[pytest.mark.slow] if network is SmallAlexNet and type(corruption).__name__ not in OF_ZHANG else [],
        )
        for network in (MLP, SmallAlexNet)
        for corruption in CORRUPTIONS
    ],
)
def test_corruptions_are_learnt_as_ever(network: type[Classifier], corruption: Corruption) -> None:
    """Both networks of the experiments, on every corruption of any data set."""
    data = data_for(network, corruption)
    data.batch_size = BATCH
    assert_golden(network, corruption, data)


class FewCrops(CIFAR10):
    """A data set that passes for CIFAR-10, for the corruptions that are for nothing else."""

    def load(self) -> Sets:
        """Draw shapes of the size of CIFAR-10's crops."""
        return Shapes(train_size=IMAGES, test_size=20, size=28).load()


@pytest.mark.parametrize("network", [MLP, SmallAlexNet])
def test_corruptions_of_cifar10_are_learnt_as_ever(network: type[Classifier], tmp_path: Path) -> None:
    """The most similar class, and human labels from a file."""
    label = FewCrops().load()["train"].true_label.numpy().astype(np.uint8)
    arrays: dict[str, Any] = {"clean_label": label, "worse_label": (label + 1) % 10}
    np.savez(tmp_path / "labels.npz", **arrays)
    for corruption in (AsymmetricLabels(0.4), HumanLabels(str(tmp_path / "labels.npz"))):
        assert_golden(network, corruption, FewCrops(corruption=corruption, batch_size=BATCH, seed=0))
