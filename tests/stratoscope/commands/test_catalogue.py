"""Tests of stratoscope/commands/catalogue.py."""

import re

import pytest

from stratoscope import callbacks, datamodules, models
from stratoscope.commands.catalogue import listed, parameter_count


@pytest.fixture(scope="module")
def printed() -> str:
    """The list."""
    return listed()


def test_every_public_class_has_its_line(printed: str) -> None:
    """Every class that can be named on the command line is there, once, with what it is."""
    bases = {"Augmentation", "Batch", "Classifier", "Corruption", "ImageDataModule", "ImageLoader", "ImageSet"}
    classes = {
        name
        for package in (models, datamodules, callbacks)
        for name, value in vars(package).items()
        if isinstance(value, type) and name in package.__all__
    }
    plain = {"Sets", "ShiftedSet", "LocalResponseNorm", "AutomaticLabels"}
    for name in classes - bases - plain:
        found = re.findall(rf"^  {name} +(\S.*)$", printed, re.MULTILINE)
        if name[0].isupper() and not _is_module(name):
            assert len(found) == 1, name
            assert found[0].endswith("."), name
    for name in bases:
        assert not re.search(rf"^  {name} ", printed, re.MULTILINE), name


def _is_module(name: str) -> bool:
    """Whether a name of the models is a plain network, which is no option."""
    value = vars(models).get(name)
    return isinstance(value, type) and not issubclass(value, models.Classifier)


def test_networks_are_listed_with_their_parameters(printed: str) -> None:
    """The count is that of the paper, and the image is the one the defaults are made for."""
    assert re.search(r"^  SmallAlexNet +Small AlexNet .* 1,387,786 parameters, 3x28x28 images", printed, re.MULTILINE)


def test_a_network_that_needs_more_has_no_count() -> None:
    """A class that cannot be built from its defaults is listed without a number."""

    class Needy(models.Classifier):
        """Needs an argument."""

        def __init__(self, width: int) -> None:
            raise AssertionError

    assert parameter_count(Needy) is None
    assert parameter_count(models.MLP) == 1_209_866
