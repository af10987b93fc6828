"""Tests of datamodules/shifted_set.py; those of CIFAR-10 are in test_cifar10_shifted.py."""

from pathlib import Path

import pytest
import torch

from stratoscope.datamodules import CIFAR10, CIFAR100, Batch, ShiftedSet, labelled
from stratoscope.datamodules.cifar10_shifted import CIFAR10_1, CIFAR10_2, CIFAR10C


class Painted(ShiftedSet):
    """Somebody's paintings of a hundred things."""

    name, classes = "painted", 100

    def load(self) -> Batch:
        """One of each."""
        return labelled(torch.zeros(100, 3, 32, 32, dtype=torch.uint8), torch.arange(100))


def test_a_set_has_to_say_how_it_is_loaded() -> None:
    """One that does not cannot be made; ten classes are what is assumed."""

    class Unloadable(ShiftedSet):
        name = "unloadable"

    with pytest.raises(TypeError, match=r"abstract method '?load"):
        Unloadable()  # type: ignore[abstract]
    assert Unloadable.classes == 10


def test_ours_are_of_cifar10s_classes() -> None:
    """And each has a name."""
    for made in (CIFAR10_1("x"), CIFAR10_2("x"), CIFAR10C("x")):
        assert isinstance(made, ShiftedSet)
        assert made.classes == CIFAR10.classes
        assert made.name


def test_sets_of_other_classes_are_refused(tmp_path: Path) -> None:
    """In both directions."""
    folder = str(tmp_path)
    assert CIFAR100(folder, shifted=Painted()).shifted[0].name == "painted"
    with pytest.raises(ValueError, match="painted has 100 classes, CIFAR10 10"):
        CIFAR10(folder, shifted=[CIFAR10_1(folder), Painted()])
