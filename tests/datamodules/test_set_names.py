"""Tests of datamodules/set_names.py."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.datamodules import Digits
from stratoscope.datamodules.set_names import distinct, named_sets


def loader(name: Any = None) -> DataLoader[Any]:
    """A loader of a data set that may have something called `name`."""
    data = TensorDataset(torch.zeros(3))
    if name is not None:
        data.name = name  # type: ignore[attr-defined]
    return DataLoader(data)


@pytest.mark.parametrize(
    ("loaders", "names"),
    [
        (loader(), ["val"]),
        ([loader(), loader()], ["val", "val#2"]),
        ([loader("clean"), loader(), loader("clean")], ["clean", "val", "clean#2"]),
        ([loader("train"), loader("held_out"), loader("val"), loader()], ["train#2", "held_out#2", "val", "val#2"]),
        ([loader("a#2"), loader("a"), loader("a")], ["a#2", "a", "a#3"]),
        ({"noisy": loader(), "train": loader("clean")}, ["noisy", "train#2"]),
        ([loader(lambda: "a"), loader(7), loader("")], ["val", "val#2", "val#3"]),
    ],
)
def test_every_set_has_a_name_of_its_own(loaders: Any, names: list[str]) -> None:
    """Its own or its loader's, unless it is taken, by another set or by us; else `val`."""
    assert list(named_sets(loaders)) == names


def test_loaders_keep_their_order() -> None:
    """The n-th name is that of the n-th loader."""
    loaders = [loader("b"), loader("a"), loader("b")]
    assert list(named_sets(loaders).values()) == loaders


def test_our_test_sets_stay_test() -> None:
    """Whatever is done with them."""
    data = Digits()
    data.setup()
    assert list(named_sets(data.val_dataloader())) == list(named_sets(data.test_dataloader(), "test")) == ["test"]


def test_another_name_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the sets are asked for."""
    said: list[str] = []
    monkeypatch.setattr("stratoscope.datamodules.set_names.rank_zero_info", said.append)
    for _ in range(3):
        named_sets([loader("said once"), loader("said once")])
    assert said == ["another set is called said once already: this one is said once#2 in metrics and tables"]


def test_names_are_made_distinct() -> None:
    """Any names, any that are taken."""
    assert distinct(["a", "b", "a", "a#2", "a"], taken=["b"]) == ["a", "b#2", "a#2", "a#2#2", "a#3"]
