"""Tests of probes/probing.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.probes.probing import probe
from stratoscope.probes.separability import LabelledFeatures, separability


def data(n: int, seed: int) -> TensorDataset:
    """Three overlapping clusters in eight dimensions."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (n,), generator=generator)
    return TensorDataset(torch.randn(n, 8, generator=generator) + 2 * torch.eye(3, 8)[label], label)


@pytest.fixture
def network() -> nn.Sequential:
    """Two layers with dropout and batch normalisation, in training mode."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3))


def test_rows_are_those_of_the_features_by_hand(network: nn.Sequential) -> None:
    """Every layer's rows are what `separability` says of its output in evaluation mode, whatever the batches."""
    train, test = data(90, 0), data(50, 1)
    found = probe(network, {"train": DataLoader(train, 32), "test": DataLoader(test, 17)}, ridge=1e-2)
    assert list(found) == ["input", "0", "1", "2", "4"]
    network.eval()
    sets = {}
    for name, part in (("train", train), ("test", test)):
        features, label = part.tensors
        sets[name] = LabelledFeatures(network[:3](features).detach(), {"true_label": label})
    expected, _ = separability(sets["train"], sets, 3, 1e-2)
    assert [(row.split, row.correct, row.count) for row in found["2"]] == [
        (row.split, row.correct, row.count) for row in expected
    ]
    assert all(row.converged for rows in found.values() for row in rows)


def test_the_network_and_the_generators_do_not_notice(network: nn.Sequential) -> None:
    """Modes, buffers and torch's random state are what they were."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    probe(network, {"train": DataLoader(data(90, 0), 30)}, taps="0")
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_several_ridges_have_rows_of_their_own(network: nn.Sequential) -> None:
    """One row per ridge and set."""
    found = probe(network, {"train": [data(90, 0).tensors]}, taps="4", ridge=[1e-1, 1e-3])
    assert [(row.ridge, row.split) for row in found["4"]] == [(1e-1, "train"), (1e-3, "train")]


def test_what_cannot_be_probed_is_refused(network: nn.Sequential) -> None:
    """No training set, no batches, no pairs, no such layer: each in one line."""

    def labels_only() -> Iterator[Tensor]:
        yield torch.zeros(3)

    with pytest.raises(ValueError, match="needs a set called train to fit on; got test"):
        probe(network, {"test": [data(5, 0).tensors]})
    with pytest.raises(ValueError, match="the set train has no batches"):
        probe(network, {"train": []})
    with pytest.raises(ValueError, match=r"needs batches \(input, label\) of tensors; train gives Tensor"):
        probe(network, {"train": labels_only()})
    with pytest.raises(ValueError, match="no tap matches 'conv'"):
        probe(network, {"train": [data(5, 0).tensors]}, taps="conv")


def test_wrapped_and_compiled_networks_are_read_as_what_they_wrap(
    network: nn.Sequential, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """DistributedDataParallel, DataParallel and torch.compile change neither names nor rows."""
    sets = {"train": [data(90, 0).tensors]}
    expected = probe(network, sets)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(network)
        assert probe(wrapped, sets) == expected
    finally:
        distributed.destroy_process_group()
    assert probe(nn.DataParallel(network), sets) == expected
    compiled: Any = torch.compile(network)
    assert probe(compiled, sets) == expected
