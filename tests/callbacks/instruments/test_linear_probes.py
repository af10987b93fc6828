"""Tests of callbacks/instruments/linear_probes.py."""

import csv
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, SubsetRandomSampler, TensorDataset

from stratoscope import plot_layers
from stratoscope.callbacks import LinearProbes
from stratoscope.commands.table import main
from stratoscope.datamodules import Digits, RandomLabels, RandomSubset
from stratoscope.models import MLP
from stratoscope.probes import LabelledFeatures, Separability, average_pool, separability
from tests.pictures import draw_nothing

pytestmark = pytest.mark.usefixtures("no_pictures")


class Somebody(LightningModule):
    """Anybody's module: dropout, batch normalisation, an optimiser with state, no idea of probes."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(16, 3)
        self.dead = nn.Identity() if not broken else NotANumber()

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        hidden = torch.relu_(self.drop(self.norm(self.first(x))))
        self.dead(hidden)
        logits: Tensor = self.last(hidden)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Nothing to measure."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """An optimiser with state."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


class NotANumber(nn.Module):
    """A layer that overflows."""

    def forward(self, x: Tensor) -> Tensor:
        """NaN of the shape of the input."""
        return x * math.nan


def loader(n: int = 150, shuffle: bool = True) -> DataLoader[Any]:
    """Separable-ish data in three classes, drawn without touching the global generator."""
    generator = torch.Generator().manual_seed(n)
    y = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, 12, generator=generator) + nn.functional.one_hot(y, 12)
    return DataLoader(TensorDataset(x, y), batch_size=16, shuffle=shuffle)


def trainer(folder: Path, *callbacks: Callback, epochs: int = 2, **options: Any) -> Trainer:
    """A quiet trainer on the CPU."""
    quiet: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        "log_every_n_steps": 1,
    }
    chosen = {**quiet, "enable_checkpointing": False, **options}
    return Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=folder, callbacks=list(callbacks), **chosen)


def fit(folder: Path, *callbacks: Callback, epochs: int = 2) -> tuple[dict[str, Tensor], Tensor]:
    """Train from seed 0; return all weights, buffers and optimiser moments, and the generator's next number."""
    seed_everything(0, verbose=False)
    module = Somebody()
    run = trainer(folder, *callbacks, epochs=epochs)
    run.fit(module, loader(), loader(90, shuffle=False))
    moments = {
        f"{place}.{name}": value
        for place, state in run.optimizers[0].state_dict()["state"].items()
        for name, value in state.items()
    }
    return {**module.state_dict(), **moments}, torch.rand(1)


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the run that was the last in a folder, as no run overwrites the table of another."""
    with max(folder.glob("probes*.csv"), key=lambda file: file.stat().st_mtime_ns).open(newline="") as text:
        return list(csv.DictReader(text))


class FailingProbes(LinearProbes):
    """Probes that raise in the middle of every measurement."""

    def _fit(self, *args: Any, **kwargs: Any) -> Any:
        torch.rand(3)
        raise RuntimeError("in the middle")


@pytest.mark.filterwarnings("ignore:.*probes failed")
@pytest.mark.parametrize("kind", [LinearProbes, FailingProbes])
def test_training_is_unchanged_by_probes(tmp_path: Path, kind: type[LinearProbes]) -> None:
    """Weights, buffers, optimiser state and random numbers are bit for bit those of training without the callback."""
    probes = kind()
    without, draw_without = fit(tmp_path)
    with_probes, draw_with = fit(tmp_path, probes)
    assert without.keys() == with_probes.keys()
    assert all(torch.equal(without[name], with_probes[name]) for name in without)
    assert torch.equal(draw_without, draw_with)
    assert probes.table.unique("epoch") == [0, 1, 2]
    assert probes.table.unique("failed") == (["RuntimeError: in the middle"] if kind is FailingProbes else [""])


class OnceFailingProbes(LinearProbes):
    """Probes of which one has too little memory."""

    def _fit(self, tap: str, *rest: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if tap == "norm":
            raise torch.OutOfMemoryError("out of memory")
        return super()._fit(tap, *rest)


def test_a_layer_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    """Its rows say why, the others are as they would have been, and a warning counts the failures."""
    taps = ["first", "norm", "last"]
    whole, partly = LinearProbes(taps), OnceFailingProbes(taps)
    fit(tmp_path, whole)
    with pytest.warns(UserWarning, match="3 probes failed: norm at epoch 0: OutOfMemoryError: out of memory"):
        fit(tmp_path, partly)
    fine = [row for row in partly.table.rows if row["layer"] != "norm"]
    assert fine == [row for row in whole.table.rows if row["layer"] != "norm"]
    rest = [row for row in partly.table.rows if row["layer"] == "norm"]
    assert {row["failed"] for row in rest} == {"OutOfMemoryError: out of memory"}


def test_the_callback_shows_itself(tmp_path: Path) -> None:
    """In a line, in a notebook as the picture with its numbers, as a frame, and drawn by plot_layers."""
    probes = LinearProbes(["first", "last"], name="deep")
    assert repr(probes) == "LinearProbes(taps=['first', 'last'], ridge=0.001, name='deep'): no probes yet"
    assert probes._repr_html_() == f"<p>{escape(repr(probes))}</p>"
    with pytest.raises(ValueError, match="no probes to draw yet"):
        plot_layers(probes)
    fit(tmp_path, probes)
    assert repr(probes).partition(": ")[2].startswith("2 layers x 3 epochs; epoch 2: true labels, val set ")
    html = probes._repr_html_()
    assert html.startswith("<svg")
    assert "Linear probes: Somebody, 2 epochs, chance 33.3 %" in html
    assert html.count("<title>") == 2 * 3
    frame = probes.frame()
    assert frame.accuracy.tolist() == [float(row["accuracy"]) for row in rows(tmp_path)]
    figure = plot_layers(probes)
    assert figure.get_suptitle() == "Linear probes: Somebody, 2 epochs, chance 33.3 %"
    shades = figure.axes[0].images[0].get_array()
    assert shades is not None
    expected = frame[(frame.split == "val") & (frame.layer == "last")].accuracy
    assert shades[1].tolist() == (100 * expected).tolist()


def test_every_layer_epoch_and_set_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has one row per epoch, layer in order of execution, and set, on a plain (image, label) loader."""
    monkeypatch.undo()  # with its picture
    fit(tmp_path, LinearProbes())
    keys = [(row["epoch"], row["layer"], row["labels"], row["split"]) for row in rows(tmp_path)]
    layers = ["input", "first", "norm", "last"]
    assert keys == [(e, layer, "true_label", split) for e in "012" for layer in layers for split in ("train", "val")]
    assert (tmp_path / "separability.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "separability.svg").read_text().count("<title>") == 3 * 4


def test_rows_are_what_a_fit_by_hand_gives(tmp_path: Path) -> None:
    """The rows of the input layer are those of `separability` on the raw data."""
    fit(tmp_path, LinearProbes("input", ridge=0.02, epochs=[1]))
    sets = {}
    for split, data in {"train": loader().dataset, "val": loader(90).dataset}.items():
        assert isinstance(data, TensorDataset)
        sets[split] = LabelledFeatures(average_pool(data.tensors[0], None), {"true_label": data.tensors[1]})
    expected, _ = separability(sets["train"], sets, classes=3, ridge=0.02)
    found = rows(tmp_path)
    assert [int(row["correct"]) for row in found] == [row.correct for row in expected]
    assert [float(row["objective"]) for row in found] == pytest.approx([row.objective for row in expected], abs=1e-9)
    assert {row["epoch"] for row in found} == {"1"}


def test_both_label_kinds_are_probed_when_they_differ(tmp_path: Path) -> None:
    """With corrupted labels true and given labels are probed; without, only the true ones."""
    few = RandomSubset(300)
    for corruption, kinds in (([few, RandomLabels()], ["true_label", "given_label"]), (few, ["true_label"])):
        probes = LinearProbes("network.relu1", epochs=[0])
        run = trainer(tmp_path, probes, epochs=1)
        run.fit(MLP(width=8), datamodule=Digits(corruption=corruption))
        assert probes.table.unique("labels") == kinds
        given = [row for row in probes.table.rows if row["labels"] == "given_label" and row["split"] == "test"]
        assert all(row["accuracy"] < 0.3 for row in given)  # random labels say nothing about the test set


@pytest.mark.filterwarnings("ignore:.*probes failed")
def test_a_layer_that_fails_spoils_nothing_else(tmp_path: Path) -> None:
    """NaN in one layer gives failed cells with the reason; the others are fitted and training goes on."""
    probes = LinearProbes(["dead", "first"])
    run = trainer(tmp_path, probes)
    run.fit(Somebody(broken=True), loader(), loader(90, shuffle=False))
    assert run.current_epoch == 2
    cells = {(row["layer"], row["accuracy"] is None, row["failed"]) for row in probes.table.rows}
    reasons = {failed for layer, _, failed in cells if layer == "dead"}
    assert all("NaN" in reason for reason in reasons)
    assert all(not empty and not failed for layer, empty, failed in cells if layer == "first")
    assert all(row["accuracy"] == "" for row in rows(tmp_path) if row["layer"] == "dead")


def fitted(folder: Path, epochs: int, seed: int, checkpoint: Path | None = None, **options: Any) -> Trainer:
    """A run on 100 digits, or what is left of it."""
    probes = LinearProbes(["*relu1", "*logits"], ridge=0.01, tolerance=0.1, measures=["similarity", "collapse"])
    seed_everything(seed, verbose=False)
    run = trainer(folder, probes, epochs=epochs, **options)
    data = Digits(corruption=[RandomSubset(100, seed=0), RandomLabels(seed=0)], seed=1)
    run.fit(MLP(width=8), datamodule=data, ckpt_path=checkpoint)
    return run


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch with its checkpoint, called part, and the same run of three, called whole."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        fitted(folder / "whole", 3, 1)
        fitted(folder / "part", 1, 1).save_checkpoint(folder / "part" / "one.ckpt")
    shutil.copytree(folder / "part", folder / "as it was")
    return folder


@pytest.fixture
def begun(once: Path) -> tuple[Path, Path, Callable[..., object]]:
    """The whole run, the part as it was, and how to go on with it."""
    part = once / "part"
    shutil.rmtree(part)
    shutil.copytree(once / "as it was", part)
    return once / "whole", part, lambda **options: fitted(part, 3, 99, part / "one.ckpt", **options)


@pytest.mark.parametrize("happened", ["nothing", "probes after the checkpoint", "another folder"])
def test_a_resumed_run_has_the_table_of_an_uninterrupted_one(
    begun: tuple[Path, Path, Callable[..., object]], happened: str
) -> None:
    """After resuming both tables are the same to the byte, whatever was written after the checkpoint."""
    whole, part, go_on = begun
    tables = [part / "probes.csv", part / "measures.csv"]
    if happened == "probes after the checkpoint":
        for table in tables:
            lines = table.read_text().splitlines(keepends=True)
            table.write_text("".join([*lines, *(f"2{line[1:]}" for line in lines if line[0] == "1")]) + "3,in")
    to = part
    if happened == "another folder":  # as of a logger that has a new one for every session
        to = part / "to"
        go_on(logger=CSVLogger(part, name="", version="to"))
    else:
        go_on()
    for table in tables:
        assert (whole / table.name).read_text() == (to / table.name).read_text()


def test_a_run_that_was_moved_has_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From wherever it goes on, and wherever its directory has come to: of its checkpoint it knows where it was."""
    words = (
        "fit --model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 60 --run one "
        "--trainer.accelerator cpu --threads 1 --trainer.callbacks LinearProbes --trainer.callbacks.taps *relu1"
    )
    for name in "abc":
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    main([*words.split(), "--trainer.max_epochs", "1"])
    before = rows(Path("runs/one"))
    for epochs, to in ((2, tmp_path / "b"), (3, tmp_path / "c")):
        shutil.move("runs", to / "runs")
        monkeypatch.chdir(tmp_path)
        main([*words.split(), "--trainer.max_epochs", str(epochs), "--runs", str(to / "runs")])
        monkeypatch.chdir(to)
        found = rows(Path("runs/one"))
        assert found[: len(before)] == before
        assert {row["epoch"] for row in found} == set("0123"[: epochs + 1])
        before = found


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_a_lost_table_is_said_and_what_is_there_of_it_kept(
    begun: tuple[Path, Path, Callable[..., object]], lost: str
) -> None:
    """The checkpoint has the last epoch alone; nothing that cannot be read is overwritten."""
    whole, part, go_on = begun
    file = part / "probes.csv"
    if lost == "gone":
        file.unlink()
    else:
        file.write_text("epoch,layer\n0\n")
    with pytest.warns(UserWarning, match="rows before epoch 1 are"):
        go_on()
    header, *lines = (whole / "probes.csv").read_text().splitlines()
    assert file.read_text().splitlines() == [header, *(line for line in lines if line[0] != "0")]
    if lost == "damaged":
        assert (part / "probes.csv.damaged").read_text() == "epoch,layer\n0\n"


def test_what_a_checkpoint_has_does_not_grow(tmp_path: Path) -> None:
    """However many epochs there were, a checkpoint has the rows of the last one."""
    probes = LinearProbes(["first", "last"], measures=["rank"])
    fit(tmp_path, probes, epochs=4)
    state = probes.state_dict()
    assert [row["epoch"] for row in state["latest"]] == [4] * 4
    assert {row["epoch"] for row in state["measured"]["rows"]} == {4}


def test_probes_are_fitted_on_a_fixed_random_part(tmp_path: Path) -> None:
    """`train_samples` takes that many training samples, the same at every epoch, and all of the test set."""
    fit(tmp_path, LinearProbes("input", train_samples=60))
    found = rows(tmp_path)
    assert {row["count"] for row in found if row["split"] == "train"} == {"60"}
    assert {row["count"] for row in found if row["split"] == "val"} == {"90"}
    assert len({row["correct"] for row in found if row["split"] == "train"}) == 1


@pytest.mark.parametrize(("options", "epochs"), [({"every_n_epochs": 2}, [0, 2, 4]), ({"epochs": [1, 3]}, [1, 3])])
def test_probes_run_when_they_are_due(tmp_path: Path, options: dict[str, Any], epochs: list[int]) -> None:
    """At initialisation and every n epochs, or exactly at the listed ones."""
    probes = LinearProbes("input", **options)
    fit(tmp_path, probes, epochs=4)
    assert probes.table.unique("epoch") == epochs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be 1 or more, got 0"),
        ({"ridge": 0.0}, "ridge must be above 0, got 0.0"),
        ({"ridge": math.nan}, "ridge must be above 0, got nan"),
        ({"every_n_epochs": 0}, "every_n_epochs must be 1 or more, got 0"),
        ({"epochs": [-1]}, r"epochs must be numbers from 0, got \[-1\]"),
        ({"epochs": []}, r"epochs must be numbers from 0, got \[\]"),
        ({"taps": []}, "taps must name at least one layer"),
        ({"train_samples": -5}, "train_samples must be 1 or more, got -5"),
        ({"tolerance": -1e-6}, "tolerance must be above 0"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    """Each bad argument is named with its value."""
    with pytest.raises(ValueError, match=message):
        LinearProbes(**options)


def test_an_unknown_tap_is_named_before_anything_is_fitted(tmp_path: Path) -> None:
    """A name that matches nothing stops the run at its start and names the nearest tap."""
    with pytest.raises(ValueError, match=r"no tap matches 'frist'.*first"):
        fit(tmp_path, LinearProbes(["input", "frist"]))
    assert not (tmp_path / "probes.csv").exists()


class Dictionaries(Dataset[dict[str, int]]):
    """Samples that are neither pairs nor our batches."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, int]:
        """A dictionary."""
        return {"x": index}


def test_batches_of_another_form_are_named(tmp_path: Path) -> None:
    """A loader of dictionaries is refused with what would be right."""
    with pytest.raises(TypeError, match=r"needs batches \(image, label\).*got dict"):
        trainer(tmp_path, LinearProbes(), limit_val_batches=0).fit(Somebody(), DataLoader(Dictionaries()), loader())


def test_a_subset_sampler_decides_the_set(tmp_path: Path) -> None:
    """Train and test loaders that share a data set and differ in their samplers are different sets."""
    data = loader(300).dataset
    train = DataLoader(data, batch_size=16, sampler=SubsetRandomSampler(range(40)))
    held_out = DataLoader(data, batch_size=16, sampler=SubsetRandomSampler(range(200, 300)))
    trainer(tmp_path, LinearProbes("input"), epochs=1).fit(Somebody(), train, held_out)
    assert {(row["split"], row["count"]) for row in rows(tmp_path)} == {("train", "40"), ("val", "100")}


def test_a_sampler_of_unknown_samples_is_refused(tmp_path: Path) -> None:
    """A sampler that takes some samples without saying which is named."""
    some = RandomSampler(loader().dataset, num_samples=10)  # type: ignore[arg-type]
    train = DataLoader(loader().dataset, sampler=some)
    with pytest.raises(TypeError, match="cannot tell which 10 of 150 samples RandomSampler takes"):
        trainer(tmp_path, LinearProbes("input"), limit_val_batches=0).fit(Somebody(), train, loader())


def test_the_test_set_is_probed_when_validation_is_rare(tmp_path: Path) -> None:
    """Also before Lightning has asked for the validation loaders, and with several of them, by number."""
    run = trainer(tmp_path, LinearProbes("input"), check_val_every_n_epoch=2)
    run.fit(Somebody(), loader(), [loader(90, shuffle=False), loader(60, shuffle=False)])
    keys = [(row["epoch"], row["split"], row["count"]) for row in rows(tmp_path)]
    assert keys == [(e, s, n) for e in "012" for s, n in (("train", "150"), ("val", "90"), ("val#2", "60"))]


class LateData(LightningDataModule):
    """A data module that makes its training set for fit only."""

    def setup(self, stage: str) -> None:
        """Make what the stage needs."""
        if stage == "fit":
            self.train = loader()

    def train_dataloader(self) -> DataLoader[Any]:
        """The training set."""
        return self.train

    def val_dataloader(self) -> DataLoader[Any]:
        """The held-out set."""
        return loader(90, shuffle=False)


def test_validate_probes_anybodys_network(tmp_path: Path) -> None:
    """With a data module it probes; without any training set it says what is missing."""
    run = trainer(tmp_path, LinearProbes("first"))
    run.validate(Somebody(), datamodule=LateData(), verbose=False)
    assert [(row["epoch"], row["split"]) for row in rows(tmp_path)] == [("0", "train"), ("0", "val")]
    with pytest.raises(ValueError, match="needs the training set"):
        trainer(tmp_path, LinearProbes("first")).validate(Somebody(), loader(90, shuffle=False), verbose=False)


def test_a_second_fit_has_a_table_of_its_own(tmp_path: Path) -> None:
    """A callback used again forgets the first network, and so do other settings those of a checkpoint."""
    probes = LinearProbes("first")
    fit(tmp_path, probes, epochs=2)
    fit(tmp_path, probes, epochs=1)
    assert probes.table.unique("epoch") == [0, 1]
    other = LinearProbes("first", ridge=0.5)
    other.load_state_dict(probes.state_dict())
    assert other.table.rows == []


def test_the_seed_decides_the_random_part(tmp_path: Path) -> None:
    """Another seed fits the probes on other samples."""
    objectives = set()
    for seed in (0, 1):
        fit(tmp_path, LinearProbes("input", train_samples=60, epochs=[0], seed=seed))
        objectives |= {row["objective"] for row in rows(tmp_path)}
    assert len(objectives) == 2


def test_the_network_is_probed_in_the_precision_it_trains_in(tmp_path: Path) -> None:
    """In bf16-mixed training the features are those of bf16 arithmetic, not of float32."""
    objectives = []
    for precision in ("32-true", "bf16-mixed"):
        seed_everything(0, verbose=False)
        trainer(tmp_path, LinearProbes("first", epochs=[0]), epochs=1, precision=precision).fit(
            Somebody(), loader(), loader(90, shuffle=False)
        )
        objectives.append(float(rows(tmp_path)[0]["objective"]))
    assert objectives[0] != objectives[1]
    assert objectives[0] == pytest.approx(objectives[1], rel=0.05)


def test_held_out_samples_choose_the_ridge(tmp_path: Path) -> None:
    """With several ridges the table has all of them; held-out samples are no training samples, and choose one."""
    fit(tmp_path, LinearProbes("input", ridge=[1e-1, 1e-3], train_samples=100, held_out=50, epochs=[0]))
    found = rows(tmp_path)
    assert {(row["split"], row["ridge"]) for row in found} == {
        (split, ridge) for split in ("train", "held_out", "val") for ridge in ("0.1", "0.001")
    }
    assert {row["split"]: row["count"] for row in found}["held_out"] == "50"
    loss = {row["ridge"]: float(row["loss"]) for row in found if row["split"] == "held_out"}
    assert {row["ridge"] for row in found if row["chosen"] == "True"} == {min(loss, key=lambda ridge: loss[ridge])}
    with pytest.raises(ValueError, match="cannot take 5000 held-out and 100 training samples from"):
        fit(tmp_path, LinearProbes("input", train_samples=100, held_out=5000, epochs=[0]))


def test_samples_held_out_of_the_test_set_are_not_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They choose the ridge, and no accuracy is of them: their rows and those of the set share all of its samples."""
    fit(tmp_path / "all", LinearProbes("input", ridge=[1e-1, 1e-3], epochs=[0]))
    (whole,) = {row["count"] for row in rows(tmp_path / "all") if row["split"] == "val"}
    probes = LinearProbes("input", ridge=[1e-1, 1e-3], held_out=30, held_out_from="test", epochs=[0])
    with caplog.at_level(logging.INFO):
        fit(tmp_path / "part", probes)
    found = rows(tmp_path / "part")
    counts = {row["split"]: int(row["count"]) for row in found}
    assert (counts["held_out"], counts["val"]) == (30, int(whole) - 30)
    assert counts["train"] == int(rows(tmp_path / "all")[0]["count"])  # all of them are fitted on
    loss = {row["ridge"]: float(row["loss"]) for row in found if row["split"] == "held_out"}
    assert {row["ridge"] for row in found if row["chosen"] == "True"} == {min(loss, key=lambda ridge: loss[ridge])}
    for ridge in loss:  # the fits are those on all training samples, so the two parts add up to the whole
        parts = [row for row in found if row["ridge"] == ridge and row["split"] != "train"]
        (one,) = [row for row in rows(tmp_path / "all") if row["ridge"] == ridge and row["split"] == "val"]
        assert sum(int(row["correct"]) for row in parts) == int(one["correct"])
    assert f"of the val samples {counts['val']} of {whole}, as the others are held out" in caplog.text
    with pytest.raises(ValueError, match=f"cannot hold 5000 of {whole} val samples out: some must be left to score on"):
        fit(tmp_path / "none", LinearProbes("input", held_out=5000, held_out_from="test", epochs=[0]))
    with pytest.raises(ValueError, match="held_out_from must be train or test, got val"):
        LinearProbes(held_out_from="val")  # type: ignore[arg-type]


@pytest.mark.parametrize("taps", ["input", ["input", "dead"]])
def test_why_there_is_no_nc3_is_said(taps: str | list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no layer that is probed is the classifier's input, in the table and once in words."""
    with caplog.at_level(logging.INFO):
        fit(tmp_path, LinearProbes(taps, measures=["collapse"], epochs=[0, 1]))
    with (tmp_path / "measures.csv").open(newline="") as text:
        found = [row["value"] for row in csv.DictReader(text) if row["measure"] == "nc3"]
    said = caplog.text.count("there is no NC3: the input of the network's classifier")
    assert len(found) == 2  # one for every epoch
    assert said == (taps == "input")
    assert all(
        value.startswith("failed: the input of the network's classifier") == (taps == "input") for value in found
    )


def test_measures_come_into_a_table_of_their_own(tmp_path: Path) -> None:
    """Every measure asked for has rows for every layer; probes of control labels are fitted beside the others."""
    everything = ["neighbours", "rank", "collapse", "control", "similarity"]
    fit(tmp_path, LinearProbes(["all", "dead"], measures=everything, epochs=[0, 2]))
    with (tmp_path / "measures.csv").open(newline="") as text:
        found = list(csv.DictReader(text))
    layers = {row["layer"] for row in rows(tmp_path)}
    expected = {"neighbour_accuracy", "effective_rank", "participation_ratio", "nc1", "nc2_norms", "nc2_angles", "nc4"}
    for layer in layers:
        assert expected | {"selectivity"} <= {row["measure"] for row in found if row["layer"] == layer}
    assert {row["epoch"] for row in found} == {"0", "2"}
    assert all(math.isfinite(float(row["value"])) for row in found)
    assert {row["labels"] for row in rows(tmp_path)} == {"true_label", "control_label"}
    assert {row["layer"] for row in found if row["measure"] == "nc3"} == {"dead"}  # the classifier's input
    pairs = [row for row in found if row["measure"].startswith("cka with ") and row["epoch"] == "0"]
    assert len(pairs) == len(layers) * (len(layers) - 1) // 2
    probes = {(row["epoch"], row["layer"], row["labels"], row["split"]): row["accuracy"] for row in rows(tmp_path)}
    for row in found:
        if row["measure"] == "selectivity":
            own, control = (probes[row["epoch"], row["layer"], k, "train"] for k in ("true_label", "control_label"))
            assert float(row["value"]) == pytest.approx(float(own) - float(control))


@pytest.mark.parametrize("measures", [None, ["rank", "similarity", "control"]])
def test_measures_change_neither_training_nor_probes(tmp_path: Path, measures: list[str] | None) -> None:
    """Weights and the rows of the true labels are what they are without measures."""
    weights, draw = fit(tmp_path / "with", LinearProbes("all", measures=measures, epochs=[1]))
    plain_weights, plain_draw = fit(tmp_path / "without", LinearProbes("all", epochs=[1]))
    assert torch.equal(draw, plain_draw)
    assert all(torch.equal(value, plain_weights[name]) for name, value in weights.items())
    true = [row for row in rows(tmp_path / "with") if row["labels"] == "true_label"]
    assert [row["correct"] for row in true] == [row["correct"] for row in rows(tmp_path / "without")]


@pytest.mark.parametrize(
    ("name", "features"),
    [("average_pool", 4), ("feature_subset", 4), ("random_projection", 4), ("none", None)],
)
def test_wide_layers_are_reduced_as_asked(tmp_path: Path, name: str, features: int | None) -> None:
    """The table has the width before and the number of features after."""
    fit(tmp_path, LinearProbes("input", width=4, reduction=name, epochs=[0]))
    assert {int(row["features"]) for row in rows(tmp_path)} == {features or int(rows(tmp_path)[0]["width"])}


def test_unknown_measures_and_reductions_are_refused() -> None:
    """The message names what there is."""
    with pytest.raises(ValueError, match=r"measures must be of neighbours, control, .*; got cka"):
        LinearProbes(measures=["cka"])
    with pytest.raises(ValueError, match="unknown reduction 'pool': choose one of none, average_pool"):
        LinearProbes(reduction="pool")


def test_a_memory_budget_changes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With most layers kept in files table and weights are the same to the bit, and no file is left."""
    # which is larger than these sets
    monkeypatch.setattr("stratoscope.probes.linear.budget.working_memory", lambda *_: 0)
    free, bound = LinearProbes(), LinearProbes(memory=3e-6)
    fit(tmp_path / "free", free)
    messages: list[str] = []
    monkeypatch.setattr("stratoscope.callbacks.instruments.linear_probes.rank_zero_info", messages.append)
    fit(tmp_path / "bound", bound)
    assert "in a file" in next(message for message in messages if "to be probed" in message)
    assert free.table.rows == bound.table.rows
    assert all(torch.equal(bound.weights[name], weights) for name, weights in free.weights.items())
    assert not list((tmp_path / "bound").rglob(".features-*"))


def test_the_plan_is_said_before_the_first_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers, what is probed of them, and the size of their features; once."""
    messages: list[str] = []
    monkeypatch.setattr("stratoscope.callbacks.instruments.linear_probes.rank_zero_info", messages.append)
    fit(tmp_path, LinearProbes(taps=["first", "last"], width=8))
    assert sum("to be probed" in message for message in messages) == 1
    assert messages[0] == "LinearProbes reads batches as (image, label) and runs forward(image)"
    lines = messages[1].splitlines()
    assert lines[0].startswith("reading 240 samples took")
    assert [line.split()[0] for line in lines[1:3]] == ["first", "last"]
    assert "8 of 16 features" in lines[1]
    assert "3 features" in lines[2]


DYING = """
import os, sys, torch
from lightning.pytorch import Trainer
from test_linear_probes import LinearProbes, Somebody, loader

class Dying(LinearProbes):
    def _fit(self, *layer):
        if os.environ.get("LOCAL_RANK", "0") == sys.argv[1]:
            os._exit(9)  # as when the system kills it
        return super()._fit(*layer)

quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
probes = Dying(taps=["input", "first"])
run = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, callbacks=[probes], **quiet)
run.fit(Somebody(), loader())
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others(rank: int, tmp_path: Path) -> None:
    """Whichever it is, in the middle of the fits: the command ends, not well, with all its processes."""
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    places = [str(Path(__file__).parent), str(Path.cwd())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, str(script), str(rank)]
    group = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        _, said = group.communicate(timeout=120)  # ends when the last of them has closed its end
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)
    assert group.returncode == 9 if rank == 0 else group.returncode != 0 and b"RuntimeError" in said, said


def test_a_layer_is_compared_with_itself_at_earlier_epochs(tmp_path: Path) -> None:
    """With the first epoch measured and the last before, once each; the input stays what it is."""
    probes = LinearProbes(["input", "first", "last"], measures=["similarity"])
    run = trainer(tmp_path, probes, epochs=3)
    seed_everything(0, verbose=False)
    run.fit(Somebody(), loader(shuffle=False), loader(90, shuffle=False))
    found = {(row["epoch"], row["layer"], row["measure"]): row["value"] for row in probes.measured.rows}
    with_epochs = {(epoch, measure) for epoch, layer, measure in found if layer == "first" and "epoch" in measure}
    assert with_epochs == {
        (1, "cka with epoch 0"),
        (2, "cka with epoch 0"),
        (2, "cka with epoch 1"),
        (3, "cka with epoch 0"),
        (3, "cka with epoch 2"),
    }
    assert found[3, "input", "cka with epoch 0"] == pytest.approx(1)
    assert found[3, "last", "cka with epoch 0"] < found[3, "last", "cka with epoch 2"] < 1


def _with_a_third(scale: int, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch["x"] * scale, batch["y"]


def test_a_state_of_the_first_release_is_taken() -> None:
    """Rows of a run begun then stay; there were no options channels, batch and forward."""
    settings: dict[str, Any] = {"train_samples": None, "held_out": 0, "taps": "natural", "width": 1024}
    settings |= {"ridges": [1e-3], "reduction": "average_pool", "tolerance": 1e-6, "seed": 0, "measures": []}
    rows = [{"epoch": 0, "layer": "input", "width": 3, **asdict(Separability("true_label", "train", 0.5))}]
    state = {"rows": rows, "measured": {"rows": [], "first": {}, "last": {}}, "weights": {}, "settings": settings}
    probes = LinearProbes()
    probes.load_state_dict(state)
    assert [row["accuracy"] for row in probes.table.rows] == [0.5]
    other = LinearProbes(channels="last")
    other.load_state_dict(state)
    assert not other.table.rows


def test_functions_of_any_kind_are_plain_text_in_checkpoints(tmp_path: Path) -> None:
    """So that a run with one can go on: what is stored needs no code, and equal functions are equal."""
    read = partial(_with_a_third, 3)
    probes = LinearProbes(batch=read, forward="encode")
    torch.save(probes.state_dict(), tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    assert state["settings"] == LinearProbes(batch=partial(_with_a_third, 3), forward="encode").state_dict()["settings"]
