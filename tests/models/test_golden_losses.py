"""Training gives the losses it always gave: 8 steps of every network, and of two on every corruption.

All is computed in float64, from the whitening of the images on, so that what rounding does, which grows tenfold every
few steps where small batches are normalised, stays far below what any change of the method does.

The losses are in golden_losses.csv. STRATOSCOPE_WRITE_GOLDEN_LOSSES=1 writes the rows of the tests that run anew
instead of comparing them; which is right only where a change of the method was meant, and says which:

    STRATOSCOPE_WRITE_GOLDEN_LOSSES=1 pytest tests/models/test_golden_losses.py && git diff tests/models

How far the kernels of other CPUs are from them, relative to the loss (ATEN_CPU_CAPABILITY: default, avx2, avx512;
MKL_CBWR: COMPATIBLE, AVX, AVX2, AVX512; ONEDNN_MAX_CPU_ISA, though oneDNN has no float64; NPY_DISABLE_CPU_FEATURES):

    ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE pytest -rP tests/models/test_golden_losses.py | grep apart | sort -g
"""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR

from stratoscope.callbacks import ExactResume
from stratoscope.datamodules import (
    CIFAR10,
    AsymmetricLabels,
    Corruption,
    HumanLabels,
    ImageDataModule,
    RandomLabels,
    RandomSubset,
    Sets,
    Shapes,
)
from stratoscope.models import MLP, Classifier, SmallAlexNet
from tests.models.test_every_network import CORRUPTIONS, IMAGES, LARGE, NETWORKS, QUIET, SMALLEST, data_for

FILE = Path(__file__).with_name("golden_losses.csv")
WRITE = "STRATOSCOPE_WRITE_GOLDEN_LOSSES" in os.environ
STEPS = 8  # a whole epoch and the beginning of the next, where schedules have made their first step
BATCH = 8
# Other kernels are 1.3e-11 apart at most (KeskarC2; the digits stored are 3e-12). A learning rate 0.1 % higher is 3e-5
# apart and more, one 10 % higher 1e-3; other labels, another order, initialisation or normalisation 1e-2.
TOLERANCE = 1e-8
SMALL = 1e-11  # losses below are all the same: labels that are learnt

# one of labels and one of pixels; of the others there are digests in test_corruption.py, test_automatic_labels.py
TWICE = ("RandomLabels", "GaussianPixels")


class InDouble(Corruption):
    """Makes images float64, and with them all that is computed of them."""

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Keep their values."""
        return {name: data._replace(image=data.image.double()) for name, data in sets.items()}


class Dropout(nn.Dropout):
    """Makes its masks of uniform numbers, which are the same everywhere; some builds of torch take MKL's instead."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of a training batch and enlarge the others."""
        return input * (torch.rand_like(input) >= self.p) / (1 - self.p) if self.training else input


class Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep it."""
        self.found.append(float(outputs["loss"]))


def losses(network: type[Classifier], data: ImageDataModule, **settings: Any) -> list[float]:
    """The losses of the first steps, in the smallest size of the network, with other settings where some are given."""
    data.corruptions = [*data.corruptions, InDouble()]
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        model, kept = network(**{**SMALLEST.get(network.__name__, {}), **settings}), Losses()
    finally:
        torch.set_default_dtype(torch.float32)
    for part in model.modules():
        if type(part) is nn.Dropout:
            part.__class__ = Dropout
    callbacks = [ExactResume(), kept]  # which seeds the steps, for dropout
    trainer = Trainer(
        accelerator="cpu",
        precision="64-true",
        max_steps=STEPS,
        max_epochs=-1,
        limit_val_batches=0,
        callbacks=callbacks,
        **QUIET,
    )
    trainer.fit(model, data)
    return kept.found


def stored() -> dict[tuple[str, str], list[str]]:
    """The losses by network and corruption."""
    if not FILE.is_file():
        return {}
    with FILE.open(newline="") as text:
        return {(row[0], row[1]): row[2:] for row in list(csv.reader(text))[1:]}


def apart(now: list[float], golden: list[str]) -> float:
    """The largest difference, relative to the loss."""
    pairs = zip(now, map(float, golden), strict=True)
    return max(abs(ours - theirs) / max(theirs, SMALL / TOLERANCE) for ours, theirs in pairs)


def assert_golden(network: type[Classifier], corruption: Corruption, data: ImageDataModule) -> None:
    """Compare the losses with those stored, or store them; those of a new network are not stored yet."""
    key, now = (network.__name__, type(corruption).__name__), losses(network, data)
    rows = stored()
    if WRITE:
        rows[key] = [f"{loss:.12g}" for loss in now]
        with FILE.open("w", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["network", "corruption", *range(1, STEPS + 1)])
            writer.writerows([*names, *values] for names, values in sorted(rows.items()))
    if key not in rows and network.__name__ not in {name for name, _ in rows}:
        assert np.isfinite(now).all()
        pytest.skip(f"no losses of {network.__name__} are stored: STRATOSCOPE_WRITE_GOLDEN_LOSSES=1 writes them")
    distance = apart(now, rows[key])
    print(f"{distance:.1e} apart: {', '.join(key)}")
    assert distance < TOLERANCE, f"{now}, not {rows[key]}"


def test_no_losses_are_lost() -> None:
    """There are those of 16 networks, of two of them on every corruption."""
    there = list(stored())
    assert len({network for network, _ in there}) >= 16
    corruptions = {type(corruption).__name__ for corruption in CORRUPTIONS} | {"AsymmetricLabels", "HumanLabels"}
    for name in ("MLP", "SmallAlexNet"):
        assert {corruption for network, corruption in there if network == name} == corruptions


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, marks=[pytest.mark.slow] if network.__name__ in {*LARGE, "TorchvisionClassifier"} else [])
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
            marks=[pytest.mark.slow] if type(corruption).__name__ not in TWICE else [],
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


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({}, {"corruptions": [RandomSubset(IMAGES), RandomLabels(seed=1)]}),
        ({}, {"seed": 1}),
        ({}, {"normalisation": "unit"}),
        ({"initialisation": "he_uniform"}, {}),
        ({"optimizer": lambda params: SGD(params, lr=0.0101, momentum=0.9)}, {}),
        ({"optimizer": lambda params: SGD(params, lr=0.01, momentum=0.91)}, {}),
        ({"scheduler": lambda optimizer: ExponentialLR(optimizer, gamma=0.96)}, {}),
    ],
    ids=["labels", "order", "normalisation", "initialisation", "learning rate", "momentum", "schedule"],
)
def test_another_method_is_far_from_golden(settings: dict[str, Any], change: dict[str, Any]) -> None:
    """A thousand tolerances and more."""
    data = data_for(MLP, RandomLabels())
    for name, other in {"batch_size": BATCH, **change}.items():
        setattr(data, name, other)
    assert apart(losses(MLP, data, **settings), stored()["MLP", "RandomLabels"]) > 1000 * TOLERANCE


class FewCrops(CIFAR10):
    """A data set that passes for CIFAR-10, for the corruptions that are for nothing else."""

    def load(self) -> Sets:
        """Draw shapes of the size of CIFAR-10's crops."""
        return Shapes(train_size=IMAGES, test_size=20, size=28).load()


@pytest.mark.parametrize("network", [MLP, pytest.param(SmallAlexNet, marks=pytest.mark.slow)])
def test_corruptions_of_cifar10_are_learnt_as_ever(network: type[Classifier], tmp_path: Path) -> None:
    """The most similar class, and human labels from a file."""
    label = FewCrops().load()["train"].true_label.numpy().astype(np.uint8)
    arrays: dict[str, Any] = {"clean_label": label, "worse_label": (label + 1) % 10}
    np.savez(tmp_path / "labels.npz", **arrays)
    for corruption in (AsymmetricLabels(0.4), HumanLabels(str(tmp_path / "labels.npz"))):
        assert_golden(network, corruption, FewCrops(corruption=corruption, batch_size=BATCH, seed=0))
