"""Tests of probes/linear/probing.py."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.probes.linear.probing import LayerScores, probe
from stratoscope.probes.linear.separability import LabelledFeatures, Separability, separability


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
    with pytest.raises(TypeError, match=r"probe, in the set train, needs batches \(image, label\).*got float32 \(3,\)"):
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


class InPlace(nn.Module):
    """Normalises its input in place, as people's networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Overwrite the input."""
        x.sub_(0.5).mul_(2)
        logits: Tensor = self.last(self.first(x).relu_())
        return logits


def test_a_network_that_works_in_place_is_read_on_copies() -> None:
    """Row A4: the data are what they were, and the rows those of a network that takes a copy itself."""
    torch.manual_seed(0)
    network, train = InPlace(), data(90, 0)
    before = train.tensors[0].clone()
    found = probe(network, {"train": [train.tensors], "test": [data(40, 1).tensors]})
    assert torch.equal(train.tensors[0], before)
    apart = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3))
    apart.load_state_dict({"0.weight": network.first.weight, "0.bias": network.first.bias}, strict=False)
    moved = {
        name: [((set_.tensors[0] - 0.5) * 2, set_.tensors[1])]
        for name, set_ in (("train", train), ("test", data(40, 1)))
    }
    assert probe(apart, moved, taps="0")["0"] == found["first"]
    assert probe(network, {"train": DataLoader(train, 30), "test": DataLoader(data(40, 1), 7)}) == found


class Tokens(nn.Module):
    """Layers of tokens, (n, t, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Average the tokens."""
        logits: Tensor = self.head(self.norm(x).mean(1))
        return logits


def test_a_direction_in_channel_space_is_found_in_tokens() -> None:
    """Row A10: the class is a direction of 192 channels; the mean over 64 tokens, the default, tells it in all."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 64, 192, generator=generator), torch.randint(2, (400,), generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(192, generator=generator), dim=0)
    x += (2 * y[:, None, None] - 1) * 1.5 * direction
    found = probe(Tokens(), {"train": [(x[:300], y[:300])], "test": [(x[300:], y[300:])]}, taps=["input", "norm"])
    assert [(row.split, row.accuracy, row.features) for rows in found.values() for row in rows] == [
        ("train", 1.0, 192),
        ("test", 1.0, 192),
    ] * 2


class Experts(nn.Module):
    """A router sends every sample to one of two experts; a gate runs on large batches only."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(8, 6), nn.Linear(8, 6)])
        self.gate, self.last = nn.Softplus(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Route by the sign of the first entry."""
        hidden = torch.zeros(len(x), 6)
        for expert, wanted in zip(self.experts, (x[:, 0] > 0, x[:, 0] <= 0), strict=True):
            if wanted.any():
                hidden[wanted] = expert(x[wanted])
        logits: Tensor = self.last(self.gate(hidden) if len(x) > 20 else hidden)
        return logits


def test_layers_that_do_not_see_every_sample_cost_their_rows() -> None:
    """Row B9: the first samples go to one expert, so it looks like any layer; what follows says that it is not."""
    inputs, label = data(100, 0).tensors
    inputs[:25, 0] = inputs[:25, 0].abs() + 0.1
    with pytest.warns(UserWarning, match=r"leaves out what it cannot read: experts\.1 \(did not run\)"):
        found = probe(Experts(), {"train": DataLoader(TensorDataset(inputs, label), 25)})
    assert [(layer, rows[0].failed == "", rows[0].count) for layer, rows in found.items()] == [
        ("input", True, 100),
        ("experts.0", False, None),
        ("gate", True, 100),
        ("last", True, 100),
    ]
    assert "no row for each of 25 samples" in found["experts.0"][0].failed
    with pytest.warns(UserWarning, match=r"experts\.1"):
        found = probe(Experts(), {"train": [(inputs[:25], label[:25]), (inputs[:9], label[:9])]}, taps=["gate", "last"])
    assert "was not reached" in found["gate"][0].failed
    assert found["last"][0].accuracy is not None


def test_a_function_of_the_users_reduces() -> None:
    """It gets a copy of the activation, and what it gives is checked."""
    train = data(60, 0)

    def halves(activation: Tensor) -> Tensor:
        return activation.mul_(0)[:, :2] if activation.shape[1] == 6 else activation[:, :2]

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3))
    found = probe(network, {"train": [train.tensors]}, reduce=halves)
    assert {row.features for rows in found.values() for row in rows} == {2}
    assert found["1"] == probe(network, {"train": [train.tensors]}, reduce=lambda x: x[:, :2])["1"]
    with pytest.raises(
        ValueError, match=r"<lambda> must turn an activation \(60, 8\) into features \(60, d\), got \(8,\)"
    ):
        probe(network, {"train": [train.tensors]}, reduce=lambda x: x[0])


def test_what_cannot_be_put_back_is_named_in_a_warning() -> None:
    """An iterator that the network reads on in."""

    class Reading(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 3)
            self.numbers = iter(range(1000))

        def forward(self, input: Tensor) -> Tensor:
            """Read one."""
            return super().forward(input) + next(self.numbers)

    with pytest.warns(UserWarning, match="has changed the network in 0.numbers"):
        probe(nn.Sequential(Reading()), {"train": [data(60, 0).tensors]})


def test_what_was_found_shows_itself(network: nn.Sequential) -> None:
    """It is the dictionary it was, with a line per layer, the same in a notebook, and a frame that pandas can read."""
    found = probe(network, {"train": [data(90, 0).tensors], "test": [data(50, 1).tensors]}, taps=["input", "4"])
    assert isinstance(found, dict)
    assert found == dict(found)
    assert (found.network, found.classes) == ("Sequential", 3)
    lines = repr(found).splitlines()
    assert lines[0] == "Linear probes of Sequential, accuracy in %, chance 33.3"
    assert lines[1].split() == ["layer", "features", "train", "test"]
    first = found["input"][1]
    assert first.accuracy is not None
    assert first.low is not None
    assert first.high is not None
    cell = f"{100 * first.accuracy:.1f} ({100 * first.low:.1f} to {100 * first.high:.1f})"
    assert lines[2].split()[:2] == ["input", "8"]
    assert lines[2].endswith(cell)
    assert len({len(line) for line in lines[1:]}) == 1
    html = found._repr_html_()
    assert "<caption>Linear probes of Sequential" in html
    assert "<tr><th>input</th><td>8</td><td>" in html
    assert f"<td>{cell}</td></tr>" in html
    frame = found.frame()
    assert frame[["layer", "split"]].to_numpy().tolist() == [
        [layer, split] for layer in ("input", "4") for split in ("train", "test")
    ]
    assert frame.accuracy.tolist() == [row.accuracy for rows in found.values() for row in rows]
    assert frame["count"].tolist() == [90, 50] * 2
    assert pickle.loads(pickle.dumps(found)).frame().equals(frame)


def test_failures_and_several_ridges_show_too() -> None:
    """The chosen ridge in the table, all in the frame; what failed says so, as missing numbers."""
    rows = [
        Separability("true_label", "train", 0.5, 0.25, 0.75, 1, 2, ridge=ridge, chosen=ridge > 1)
        for ridge in (1.0, 2.0)
    ]
    scores = LayerScores("Net", 2, {"<a>": rows, "b": [Separability("true_label", "train", failed="NaN")]})
    assert repr(scores).splitlines()[2:] == [
        "<a>              50.0~ (25.0 to 75.0)",
        "b                              failed",
    ]
    assert "<th>&lt;a&gt;</th>" in scores._repr_html_()
    frame = scores.frame()
    assert frame.accuracy.isna().tolist() == [False, False, True]
    assert frame.correct.isna().tolist() == [False, False, True]
    assert frame.failed.tolist() == ["", "", "NaN"]
