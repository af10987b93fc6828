"""Tests of stratoscope/fit/classes.py: which classes there are, and what they take."""

from typing import Any

import pytest
from torch import nn
from torch.optim import SGD, Optimizer

from stratoscope import models
from stratoscope.callbacks import LinearProbes
from stratoscope.datamodules import Corruption, Digits, ImageDataModule, PartialLabels
from stratoscope.fit.classes import BASES, OPTIONS, parameters, subclasses


class Base:
    """Of the classes below.

    Args:
        depth: A number.
        network: What subclasses make themselves.
        size: Another number.
    """

    def __init__(self, depth: int, network: nn.Module, size: int = 3) -> None:
        raise NotImplementedError


class Plain(Base):
    """Takes what its base takes."""


class _Hidden(Base):
    """Is nobody's option."""


class BelowHidden(_Hidden):
    """Is one all the same."""


class Passing(Base):
    """Passes on what it does not know.

    Args:
        width: A number of its own.
        depth: In another place than its base has it.
        *more: Of the base.
        **settings: Of the base.
    """

    def __init__(self, width: int, depth: int, *more: Any, **settings: Any) -> None:
        raise NotImplementedError


class Closed(Passing):
    """Passes on nothing.

    Args:
        width: A number.
        params: What only an optimiser is given, by the network.
    """

    def __init__(self, params: Any, width: int) -> None:
        raise NotImplementedError


def test_classes_are_found_at_any_depth() -> None:
    """All but those whose names begin with an underscore."""
    assert set(subclasses([Base])) == {Plain, BelowHidden, Passing, Closed}
    assert set(subclasses([Passing, Plain])) == {Closed}


@pytest.mark.parametrize(
    ("child", "names"),
    [
        (Base, ["depth", "network", "size"]),
        (Plain, ["depth", "network", "size"]),
        (Passing, ["width", "depth", "size"]),  # each once, and not the network, which it makes itself
        (Closed, ["width"]),
    ],
)
def test_a_class_takes_its_arguments_and_those_it_passes_on(child: type, names: list[str]) -> None:
    """In their order."""
    assert parameters(child) == names


def test_ours_and_torchs_classes_are_known_with_their_arguments() -> None:
    """Whoever asks has imported none of them."""
    assert {models.MLP, models.SmallAlexNet} <= set(subclasses([OPTIONS["--model"]]))
    assert {Digits} <= set(subclasses([ImageDataModule]))
    assert {PartialLabels} <= set(subclasses([Corruption]))
    assert {LinearProbes, SGD} <= set(subclasses(BASES))
    assert parameters(models.MLP)[:2] == ["depth", "width"]
    assert {"optimizer", "scheduler", "monitor"} <= set(parameters(models.MLP))
    assert "network" not in parameters(models.MLP)
    assert {"batch_size", "corruption", "seed"} <= set(parameters(Digits))
    assert "params" not in parameters(SGD)
    assert "lr" in parameters(SGD)
    assert Optimizer in BASES
