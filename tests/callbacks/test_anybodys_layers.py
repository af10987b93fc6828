"""Tests of the callbacks on layers of other people's kinds: tokens, experts, merged weights, state of their own."""

import logging
from pathlib import Path
from typing import Self

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from stratoscope.callbacks import LinearProbes, OnlineProbes
from tests.callbacks.small_layers import fit, rows

pytestmark = pytest.mark.usefixtures("no_pictures")


class Transformer(nn.Module):
    """Tokens first, then samples, and an expert that sees some of the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.expert = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Read (n, t, 8)."""
        hidden = self.encoder(x.transpose(0, 1)).mean(0)
        some = x[:, 0, 0] > 0
        hidden = hidden.index_put((some,), self.expert(hidden[some]))
        logits: Tensor = self.head(hidden)
        return logits


class Merging(nn.Linear):
    """As LoRA's layers: merged in evaluation, unmerged in training, not quite what it was."""

    def __init__(self) -> None:
        super().__init__(8, 3)
        self.low, self.merged = nn.Parameter(torch.randn(3, 8) / 3), False

    def train(self, mode: bool = True) -> Self:
        """Merge or unmerge."""
        if self.merged == mode:
            self.weight.data += -self.low.data if mode else self.low.data
            self.merged = not mode
        return super().train(mode)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply with the sum."""
        return nn.functional.linear(input, self.weight if self.merged else self.weight + self.low, self.bias)


class Counting(nn.Linear):
    """Reads on in an iterator that nobody can turn back."""

    def __init__(self) -> None:
        super().__init__(8, 3)
        self.numbers = iter(range(10_000))

    def forward(self, input: Tensor) -> Tensor:
        """Take a number."""
        next(self.numbers)
        return super().forward(input)


@pytest.mark.filterwarnings("ignore:.*probes failed")
def test_tables_and_plan_say_what_was_done_to_each_layer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tokens are averaged where they are too wide; a layer that does not see every sample costs its rows, no more."""
    seed_everything(0, verbose=False)
    with caplog.at_level(logging.INFO):
        fit(tmp_path, Transformer(), LinearProbes("all", 32), OnlineProbes("all", 32), shape=(6, 8))
    found = rows(tmp_path / "probes.csv")
    assert list(found[0])[-1] == "reduced"
    layers = {row["layer"]: (row["width"], row["features"], row["reduced"]) for row in found if row["epoch"] == "2"}
    assert layers == {
        "input": ("48", "8", "token_mean"),
        "network.encoder.self_attn": ("48", "8", "token_mean"),
        "network.encoder.norm1": ("48", "8", "token_mean"),
        "network.encoder.linear1": ("96", "16", "token_mean"),
        "network.encoder.linear2": ("48", "8", "token_mean"),
        "network.encoder.norm2": ("48", "8", "token_mean"),
        "network.head": ("3", "3", ""),
    }
    assert all(row["accuracy"] for row in found)
    assert "8 of 48 features by token_mean" in caplog.text
    assert "left out, as they cannot be read: network.expert (gave (" in caplog.text
    online = rows(tmp_path / "online_probes.csv")
    assert {row["layer"]: row["reduced"] for row in online} == {name: how for name, (_, _, how) in layers.items()}
    assert not any(row["failed"] for row in online)


def test_merging_weights_for_a_probe_does_not_change_training(tmp_path: Path) -> None:
    """Row A3: the weights after training are bit for bit those without probes."""
    trained = []
    for callbacks in ([], [LinearProbes(), OnlineProbes()]):
        seed_everything(0, verbose=False)
        trained.append(fit(tmp_path, nn.Sequential(Merging()), *callbacks))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_a_network_that_cannot_be_put_back_is_probed_once(tmp_path: Path) -> None:
    """It is named, and training goes on to its end."""
    seed_everything(0, verbose=False)
    with pytest.warns(
        UserWarning, match=r"LinearProbes changes Module in network\.0\.numbers, which cannot be put back"
    ):
        fit(tmp_path, nn.Sequential(Counting()), LinearProbes())
    assert {row["epoch"] for row in rows(tmp_path / "probes.csv")} == {"0"}
