"""Tests of the callbacks on layers of other people's kinds: tokens, experts, merged weights, state of their own."""

import csv
import logging
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks import LinearProbes, OnlineProbes

pytestmark = pytest.mark.usefixtures("no_pictures")


class Module(LightningModule):
    """Trains whatever network it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(x)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Run the network."""
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


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


def loader(n: int, shape: tuple[int, ...] = (8,)) -> DataLoader[Any]:
    """Data in three classes, drawn without touching the global generator."""
    generator = torch.Generator().manual_seed(n)
    y = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, *shape, generator=generator)
    x[..., :3] += nn.functional.one_hot(y, 3).view(n, *[1] * (len(shape) - 1), 3)
    return DataLoader(TensorDataset(x, y), batch_size=16)


def fit(
    folder: Path,
    network: nn.Module,
    *callbacks: Callback,
    shape: tuple[int, ...] = (8,),
    sizes: tuple[int, int] = (128, 64),
    **options: Any,
) -> dict[str, Tensor]:
    """Train for two epochs; return the weights."""
    run = Trainer(
        accelerator="cpu",
        max_epochs=2,
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    module = Module(network)
    train, val = sizes
    run.fit(module, loader(train, shape), loader(val, shape))
    return module.state_dict()


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


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
    with pytest.warns(UserWarning, match=r"a probe changes Module in network\.0\.numbers, which cannot be put back"):
        fit(tmp_path, nn.Sequential(Counting()), LinearProbes())
    assert {row["epoch"] for row in rows(tmp_path / "probes.csv")} == {"0"}


class Uneven(nn.Module):
    """A layer that answers with as many numbers per sample as the batch allows; or a network that answers with more."""

    def __init__(self, codebook: int | None = None) -> None:
        super().__init__()
        self.wide, self.cut, self.head = nn.Linear(8, 6), Cut(), nn.Linear(6, 3)
        self.codebook = None if codebook is None else torch.randn(codebook, 7)

    def forward(self, x: Tensor) -> Any:
        """Logits, in evaluation with the codebook if there is one."""
        hidden = self.wide(x)
        logits = self.head(hidden) + self.cut(hidden).sum(1, keepdim=True)
        return logits if self.codebook is None or self.training else (logits, self.codebook)


class Cut(nn.Module):
    """Cuts its input to a width that depends on the batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Fewer columns for fewer samples."""
        return x[:, : 2 + min(4, len(x) // 50)]


@pytest.mark.filterwarnings("ignore:.*probes failed")
def test_a_layer_of_another_width_in_another_block_costs_its_rows_only(tmp_path: Path) -> None:
    """Blocks of 125 and, of the validation set, of 5: a width in the one, another in the other."""
    seed_everything(0, verbose=False)
    fit(tmp_path, Uneven(), LinearProbes("all"), sizes=(250, 130))
    found = rows(tmp_path / "probes.csv")
    assert {row["epoch"] for row in found} == {"0", "1", "2"}
    cut = [row for row in found if row["layer"] == "network.cut"]
    assert cut
    assert {(row["failed"], row["accuracy"]) for row in cut} == {("it gave 2 features, 4 before", "")}
    assert all(row["accuracy"] and not row["failed"] for row in found if row["layer"] != "network.cut")


@pytest.mark.parametrize("codebook", [50, 300])
def test_answers_that_are_not_clear_in_every_block_are_none(tmp_path: Path, codebook: int) -> None:
    """A codebook with as many rows as the last block of 300 samples may be the logits there: then none are read."""
    seed_everything(0, verbose=False)
    fit(tmp_path, Uneven(codebook), LinearProbes(["network.wide"], epochs=[0], measures=["collapse"]), sizes=(300, 64))
    found = {row["measure"]: row["value"] for row in rows(tmp_path / "measures.csv")}
    assert "nc1" in found
    assert found["nc4"].startswith("failed: the network answers with no logits") == (codebook == 50)


@pytest.mark.filterwarnings("ignore:.*probes failed", "ignore:.*sync_dist=True")
def test_processes_agree_on_what_another_one_is_without(tmp_path: Path) -> None:
    """Of 175 samples one process has a block of 125, the other one of 50: a width and logits that only it has."""
    seed_everything(0, verbose=False)
    probes = LinearProbes(["network.wide", "network.cut"], epochs=[0], measures=["collapse"])
    fit(tmp_path, Uneven(50), probes, sizes=(175, 175), devices=2, strategy="ddp_fork")
    found = rows(tmp_path / "probes.csv")
    failed = {row["layer"]: row["failed"] for row in found}
    assert failed == {"network.wide": "", "network.cut": "it gave 3 and 4 features"}
    measures = {row["measure"]: row["value"] for row in rows(tmp_path / "measures.csv")}
    assert "nc1" in measures
    assert measures["nc4"].startswith("failed: the network answers with no logits")
