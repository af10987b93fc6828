"""Tests of probes/reading/snapshot.py; what holds of a block in which a network is frozen is in test_isolation.py."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from stratoscope.probes.reading.snapshot import Snapshot, fingerprint, reachable


def holding(**things: Any) -> nn.Module:
    """A network that holds some things as attributes."""
    network = nn.Linear(2, 2)
    vars(network).update(things)
    return network


def test_what_is_reachable_has_its_name_and_comes_once() -> None:
    """Through modules in lists, dictionaries and plain objects; a thing held twice has the name found first."""
    shared = torch.zeros(2)
    network = holding(bank=[shared, {"deep": torch.ones(1)}], box=SimpleNamespace(inner=nn.Linear(1, 1), same=shared))
    names = [name for name, _ in reachable(network)]
    assert {"weight", "bias", "bank[0]", "bank[1]['deep']", "box.inner.weight", "box.inner.bias"} <= set(names)
    assert sum(held is shared for _, held in reachable(network)) == 1
    assert len(set(map(id, (held for _, held in reachable(network))))) == len(names)


def test_what_is_not_the_networks_is_not_followed() -> None:
    """Functions, optimisers and loggers are others'; a generator of random numbers is its own."""
    generator = torch.Generator()
    own = torch.nn.Parameter(torch.zeros(1))
    network = holding(act=torch.relu, optimizer=torch.optim.SGD([own], 0.1), generator=generator)
    held = [thing for _, thing in reachable(network)]
    assert not any(thing is torch.relu or thing is own for thing in held)
    assert any(thing is generator for thing in held)


def test_depth_and_length_bound_what_is_followed() -> None:
    """The container itself is still among what is seen."""
    network = holding(nested=[[[["end"], torch.ones(1)]]], long=[torch.ones(1) for _ in range(9)])
    shallow = dict(reachable(network, depth=1, most=5))
    assert "nested[0]" in shallow
    assert "nested[0][0][0]" not in shallow
    assert "long" in shallow
    assert "long[0]" not in shallow
    assert {"nested[0][0][1]", "long[8]"} <= dict(reachable(network)).keys()


def test_values_are_put_back_bit_for_bit_and_views_with_them() -> None:
    """NaN and -0.0 too; the tensors are the same objects in the same memory."""
    memory = torch.tensor([0.0, -0.0, torch.nan, 4.0])
    network = holding(memory=memory, view=memory[1:3])
    before, places = memory.view(torch.int32).clone(), [memory.data_ptr(), network.get_parameter("weight").data_ptr()]
    snapshot = Snapshot(network)
    network.view.fill_(7)  # type: ignore[operator]
    network.get_parameter("weight").data = torch.ones(2, 2)
    network.get_parameter("bias").requires_grad_(False).grad = torch.ones(2)
    snapshot.put_back()
    assert torch.equal(memory.view(torch.int32), before)
    assert [memory.data_ptr(), network.get_parameter("weight").data_ptr()] == places
    assert network.get_parameter("bias").requires_grad
    assert network.get_parameter("bias").grad is None


def test_containers_and_generators_are_put_back() -> None:
    """Entries by identity, in order; every kind of generator goes on from where it was."""
    items, table, few = [1, 2], {"a": 1, "b": 2}, {1}
    generators = torch.Generator(), random.Random(0), np.random.RandomState(0), np.random.default_rng(0)
    network = holding(items=items, table=table, few=few, generators=list(generators))

    def draws() -> list[float]:
        own, python, old, new = generators
        return [float(torch.rand(1, generator=own)), python.random(), float(old.rand()), float(new.random())]

    snapshot = Snapshot(network)
    expected = draws()
    items.append(3)
    table.pop("a")
    few.clear()
    network.more = nn.Linear(1, 1)
    snapshot.put_back()
    assert (items, list(table.items()), few) == ([1, 2], [("a", 1), ("b", 2)], {1})
    assert not hasattr(network, "more")
    assert draws() == expected


def test_attributes_of_a_modules_class_are_put_back() -> None:
    """Changed ones get their value, new ones go."""

    class Counted(nn.Linear):
        passes: Any = 5

    snapshot = Snapshot(Counted(1, 1))
    Counted.passes = 6
    Counted.fresh = 1  # type: ignore[attr-defined]
    snapshot.put_back()
    assert Counted.passes == 5
    assert not hasattr(Counted, "fresh")


@pytest.mark.parametrize("change", ["weight", "attribute", "array", "list", "generator", "hook"])
def test_a_fingerprint_changes_with_whatever_changes(change: str) -> None:
    """Only in the entry that changed, or in that of its container; twice it is the same."""
    network = holding(count=0, array=np.zeros(3), items=[0], random=random.Random(1))
    before = fingerprint(network)
    assert fingerprint(network) == before
    if change == "weight":
        network.get_parameter("weight").data[0, 0] += 1
    elif change == "attribute":
        vars(network)["count"] += 1
    elif change == "array":
        vars(network)["array"][1] = 1
    elif change == "list":
        vars(network)["items"].append(1)
    elif change == "generator":
        vars(network)["random"].random()
    else:
        network.register_forward_hook(lambda *_: None)
    names = {"attribute": "", "list": "items", "generator": "random", "hook": "_forward_hooks"}
    after = fingerprint(network)
    assert {name for name in after if before.get(name) != after[name]} >= {names.get(change, change)}


class Recorded(np.ndarray[Any, Any]):
    """An array that tells when it is written to."""

    writes: ClassVar[list[Any]] = []

    def __setitem__(self, place: Any, value: Any) -> None:
        self.writes.append(value)
        super().__setitem__(place, value)


def test_arrays_that_are_as_they_were_are_not_written(tmp_path: Path) -> None:
    """Data that are mapped to be read are not even copied; changes are put back to the bit, in any layout and kind."""
    np.arange(1000.0).tofile(tmp_path / "data")
    mapped = np.memmap(tmp_path / "data", np.float64, "r")
    same = np.array([[0.0, np.nan], [1.0, 2.0]]).T.view(Recorded)
    things, turned, single = np.array([None, object(), "a"]), np.arange(6).reshape(2, 3).T, np.array(0.0)
    network = nn.Linear(2, 2)
    vars(network).update(mapped=mapped, same=same, things=things, turned=turned, single=single)
    snapshot = Snapshot(network)
    assert [id(held) for held, _ in snapshot.arrays] == [id(held) for held in (same, things, turned, single)]
    things[2], turned[1, 1], single[()] = 7, 9, -0.0
    snapshot.put_back()
    assert things[2] == "a"
    assert turned[1, 1] == 4
    assert not np.signbit(single)
    assert same.writes == []
    np.asarray(same)[0, 0] = -0.0
    snapshot.put_back()
    assert len(same.writes) == 1
    assert not np.signbit(same[0, 0])
