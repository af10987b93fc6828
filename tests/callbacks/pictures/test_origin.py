"""Tests of callbacks/pictures/origin.py."""

import math
from typing import Any

import pytest
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.datamodules import CIFAR100, Digits, PartialLabels, RandomLabels, RandomSubset
from stratoscope.models import MLP, ResNet, TorchvisionClassifier

PLAIN: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}


def trained(module: LightningModule, datamodule: Any = None) -> Origin:
    """What is known of a training."""
    trainer = Trainer(**PLAIN)
    trainer.datamodule = datamodule  # type: ignore[attr-defined]
    return Origin.of_trainer(trainer, module, 7)


def test_a_training_and_its_config_say_the_same() -> None:
    """Class, depth where that is a name, data, corruptions with their shares; RandomLabels has none to tell."""
    data = Digits(corruption=[RandomSubset(1000), PartialLabels(0.5)])
    settings = {
        "model": "ResNet",
        "model.depth": 50,
        "data": "Digits",
        "data.corruption": "RandomSubset, PartialLabels",
        "data.corruption.RandomSubset.n": 1000,
        "data.corruption.PartialLabels.p": 0.5,
        "data.corruption.PartialLabels.seed": 0,
    }
    origin = trained(ResNet(50), data)
    assert origin == Origin.of_settings(settings, ours=True, classes=10)
    assert origin == Origin("ResNet-50", "Digits", "RandomSubset n 1,000 and PartialLabels p 0.5", 10)
    random = trained(MLP(), Digits(corruption=RandomLabels()))
    settings = {"model": "MLP", "model.depth": 1, "data": "Digits", "data.corruption": "RandomLabels"}
    assert random == Origin.of_settings(settings, ours=True, classes=10) == Origin("MLP", "Digits", "RandomLabels", 10)
    assert trained(MLP(), Digits()).corruption == "true labels"


def test_of_other_peoples_data_nothing_is_claimed() -> None:
    """Labels without a corruption of ours are not thereby true; the number of classes is what was counted."""
    assert trained(LightningModule()) == Origin("LightningModule", classes=7)
    assert Origin.of_settings({"model": "Net", "data": "Mine"}, ours=False) == Origin("Net", "Mine")


class Theirs(LightningModule):
    """A module whose hyperparameters have our names, and other kinds of values."""

    def __init__(self, name: str = "a", depth: tuple[int, ...] = (2, 2)) -> None:
        super().__init__()
        self.save_hyperparameters()


class TheirNet(Theirs):
    """With a name that ours have, too."""


class TheirData(LightningDataModule):
    """Likewise."""

    classes = ("cat", "dog")
    corruptions = ("blur",)


def test_other_peoples_attributes_are_not_taken_for_ours() -> None:
    """Whatever their types: drawing must not end a training."""
    assert trained(TheirNet(), TheirData()) == Origin("TheirNet", "TheirData", classes=7)
    named = trained(TorchvisionClassifier("resnet18"), Digits())
    settings = {"model": "TorchvisionClassifier", "model.name": "resnet18", "data": "Digits"}
    assert named == Origin.of_settings(settings, ours=True, classes=10)
    assert named.network == "resnet18"


def test_what_another_run_has_is_not_this_ones() -> None:
    """In a table of several runs an option that one lacks is NaN, or "none"."""
    settings = {"model": "MLP", "data": "Digits", "data.corruption": "none", "data.corruption.p": math.nan}
    assert Origin.of_settings(settings, ours=True).corruption == "true labels"
    settings["data.corruption"] = "RandomLabels"
    assert Origin.of_settings(settings, ours=True).corruption == "RandomLabels"


@pytest.mark.parametrize(("epochs", "words"), [(0, "untrained"), (1, "1 epoch"), (45, "45 epochs")])
def test_headings_tell_length_and_chance(epochs: int, words: str) -> None:
    """Chance is one over the number of classes; what is not known is left out."""
    told = Origin("MLP", classes=CIFAR100.classes).told(epochs)
    assert [part for part in told.values() if part] == ["MLP", words, "chance 1 %"]
    assert Origin(classes=8).told(1)["chance"] == "chance 12.5 %"
    assert Origin().told(1)["chance"] == ""
