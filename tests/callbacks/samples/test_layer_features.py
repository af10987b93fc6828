"""Tests of callbacks/samples/layer_features.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from stratoscope.callbacks import LinearProbes
from stratoscope.callbacks.samples.layer_features import LayerFeatures
from stratoscope.callbacks.samples.probed_sets import ProbedSet
from stratoscope.probes import Call, Shard, find_taps, frozen
from stratoscope.probes.reading.reduction import by_layer
from tests.callbacks.small_layers import Module, fit, loader, rows

pytestmark = pytest.mark.usefixtures("no_pictures")
ORDER = [7, 3, 150, *range(20, 160)]  # more than a block


def read(module: Module, folder: Path, in_files: set[str]) -> LayerFeatures:
    """Of two sets, in an order of their own."""
    run = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=folder)
    run.strategy._lightning_module = module
    sets = {"train": ProbedSet(loader(160), ORDER), "val": ProbedSet(loader(64), [5, 4, 3])}
    with frozen(module):
        taps = find_taps(module, module, torch.randn(2, 8))
        reduce = by_layer("none", taps, None)
        return LayerFeatures(run, module, Call(), None, reduce, sets, Shard(), in_files, folder)


@pytest.mark.parametrize("in_files", [set(), {"network.0", "network.2"}], ids=["in memory", "in files"])
def test_features_are_those_of_the_layers_in_the_order_of_the_samples(in_files: set[str], tmp_path: Path) -> None:
    """With labels and logits; over blocks, and wherever they are kept, of which nothing is left."""
    torch.manual_seed(0)
    module = Module(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)))
    found = read(module, tmp_path, in_files)
    for split, size, order in (("train", 160, ORDER), ("val", 64, [5, 4, 3])):
        image, label = (part[order] for part in loader(size).dataset.tensors)  # type: ignore[attr-defined]
        assert torch.equal(found.labels[split]["true_label"], label)
        assert torch.equal(found.labels[split]["given_label"], label)
        assert found.counts[split] == len(order)
        logits = found.logits(split, 0)
        assert logits is not None
        torch.testing.assert_close(logits, module(image).detach())
    image, label = (part[ORDER] for part in loader(160).dataset.tensors)  # type: ignore[attr-defined]
    layers: dict[str, Tensor] = {"input": image}
    for number, layer in enumerate(module.network.children()):
        layers[f"network.{number}"] = image = layer(image).detach()
    for item, (name, expected) in enumerate(layers.items()):
        if name in found.rows["train"]:
            taken = found.take(name, item, ["true_label"])
            assert taken is not None
            assert list(taken) == ["train", "val"]
            torch.testing.assert_close(taken["train"].features, expected)
            assert taken["train"].labels.keys() == {"true_label"}
    assert not found.missing
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_features_are_handed_out_once(tmp_path: Path) -> None:
    """Whoever takes them has them alone, so that their memory is free when they are done with."""
    found = read(Module(nn.Sequential(nn.Linear(8, 3))), tmp_path, set())
    assert found.take("network.0", 0, ["true_label"]) is not None
    with pytest.raises(KeyError):
        found.take("network.0", 0, ["true_label"])
    assert found.take("input", 1, ["given_label"]) is not None


def test_what_goes_wrong_while_reading_goes_wrong_at_once(tmp_path: Path) -> None:
    """With its own error, of one process."""

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise RuntimeError("no more than two")
            return x

    with pytest.raises(RuntimeError, match="no more than two"):
        read(Module(nn.Sequential(Broken(), nn.Linear(8, 3))), tmp_path, set())


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
