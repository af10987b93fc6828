"""Tests of callbacks/instruments/online_probes.py."""

import csv
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.datamodules import Digits, PartialLabels, RandomSubset
from stratoscope.models import MLP
from stratoscope.probes import LayerReduction, Layout, wilson
from stratoscope.probes.linear.online_probe import OnlineProbe
from stratoscope.probes.reading.reduction import Flatten

pytestmark = pytest.mark.usefixtures("no_pictures")
LAYERS = ["input", "first", "norm", "relu", "last"]


class Somebody(LightningModule):
    """Anybody's module: dropout, batch normalisation, an in-place ReLU, an optimiser with state, no idea of probes.

    Args:
        rate: Learning rate.
    """

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.3)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Linear(16, 3)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.last(self.drop(self.relu(self.norm(self.first(x)))))
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        """Run the network."""
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """An optimiser with state."""
        return torch.optim.Adam(self.parameters(), lr=self.rate)


class ByHand(Somebody):
    """Two optimisers, stepped by hand, and two passes in a step."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:  # type: ignore[override]
        """A step of each optimiser."""
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
            self.manual_backward(cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        """One for each half."""
        return [torch.optim.Adam(part.parameters(), lr=0.01) for part in (self.first, self.last)]


class Wrong(nn.Module):
    """A layer that goes wrong in training in the given runs."""

    def __init__(self, runs: range) -> None:
        super().__init__()
        self.runs, self.run = runs, 0

    def forward(self, x: Tensor) -> Tensor:
        """NaN, or the input."""
        if not self.training:
            return x + 0
        self.run += 1
        return x * math.nan if self.run in self.runs else x + 0


class Faulty(Somebody):
    """A layer that overflows, one that rests and one that changes its shape, in training; the network does well.

    Args:
        runs: The batches in which one overflows, from 1.
    """

    def __init__(self, runs: range = range(1, 10**6)) -> None:
        super().__init__()
        self.wrong, self.resting, self.changing = Wrong(runs), nn.Linear(12, 4), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        self.wrong(x)
        self.changing(x[:, :4] if self.training else x)
        if not self.training:
            self.resting(x)
        return super().forward(x)


def loader(n: int = 150, shuffle: bool = True, batch_size: int = 16) -> DataLoader[Any]:
    """Separable-ish data in three classes, drawn without touching the global generator."""
    generator = torch.Generator().manual_seed(n)
    y = torch.randint(3, (n,), generator=generator)
    x = torch.randn(n, 12, generator=generator) + 2 * one_hot(y, 12)
    return DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=shuffle)


def trainer(folder: Path, *callbacks: Callback, epochs: int = 2, **options: Any) -> Trainer:
    """A quiet trainer on the CPU."""
    quiet: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
        "log_every_n_steps": 1,
    }
    settings = {**quiet, **options}
    return Trainer(accelerator="cpu", max_epochs=epochs, default_root_dir=folder, callbacks=list(callbacks), **settings)


def fit(
    folder: Path, *callbacks: Callback, module: LightningModule | None = None, epochs: int = 2, **options: Any
) -> Trainer:
    """Train on 150 samples in batches of 16, with a test set of 90."""
    run = trainer(folder, *callbacks, epochs=epochs, **options)
    run.fit(module or Somebody(), loader(), loader(90, shuffle=False))
    return run


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of the run that was the last in a folder, as no run overwrites the table of another."""
    with max(folder.glob("online_probes*.csv"), key=lambda file: file.stat().st_mtime_ns).open(newline="") as text:
        return list(csv.DictReader(text))


def trajectory(folder: Path, kind: type[LightningModule], *callbacks: Callback, **options: Any) -> list[Any]:
    """Train from seed 0; return weights, buffers, the optimisers' moments and the generators' next numbers.

    Not that of Python's own: the run-time type checks of the tests draw from it.
    """
    seed_everything(0, verbose=False)
    module = kind()
    run = fit(folder, *callbacks, module=module, **options)
    moments = [one.state_dict()["state"] for one in run.optimizers]
    found = [value for state in moments for entry in state.values() for value in entry.values()]
    return [*module.state_dict().values(), *found, torch.rand(1), torch.tensor(np.random.rand())]


def assert_same(probes: dict[str, dict[str, Any]], others: dict[str, dict[str, Any]]) -> None:
    """Compare stored probes to the bit."""
    for layer, probe in probes.items():
        for name, value in probe.items():
            torch.testing.assert_close(value, others[layer][name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Somebody, {"precision": "bf16-mixed"}),
        (ByHand, {}),
        (Faulty, {}),
        pytest.param(Somebody, {}, marks=pytest.mark.slow),
        *(pytest.param(kind, {"precision": "bf16-mixed"}, marks=pytest.mark.slow) for kind in (ByHand, Faulty)),
    ],
)
def test_training_is_unchanged_by_probes(tmp_path: Path, kind: type[LightningModule], options: dict[str, Any]) -> None:
    """Weights, buffers, optimiser state and random numbers are bit for bit those of training without the callback."""
    probes = OnlineProbes("all", width=8, reduction="random_projection")
    without = trajectory(tmp_path, kind, **options)
    with_probes = trajectory(tmp_path, kind, probes, **options)
    assert len(without) > 12
    assert all(torch.equal(a, b) for a, b in zip(without, with_probes, strict=True))
    assert {(row["features"], row["count"]) for row in probes.table.rows if row["layer"] == "first"} == {
        (8, 150),
        (8, 90),
    }


def test_training_is_unchanged_when_gradients_accumulate(tmp_path: Path) -> None:
    """Probes step on every batch, whenever the optimiser does."""
    probes = OnlineProbes("all")
    options = {"accumulate_grad_batches": 4, "val_check_interval": 0.5, "check_val_every_n_epoch": 1}
    without, with_probes = (trajectory(tmp_path, Somebody, *some, **options) for some in ([], [probes]))
    assert all(torch.equal(a, b) for a, b in zip(without, with_probes, strict=True))
    assert float(probes.probes["first"].batches) == 20


def test_a_step_reads_nothing_from_the_device(tmp_path: Path) -> None:
    """A step runs on tensors that have no values, so it waits for none; there is nothing to be logged."""
    device, probes, run = torch.device("meta"), OnlineProbes("first"), trainer(tmp_path)
    module, batch = Somebody().to(device), [part.to(device) for part in next(iter(loader()))]
    probes.probes = {"input": OnlineProbe.untrained(12, (1, 3, 12), device)}
    probes.probes["first"] = OnlineProbe.untrained(16, (1, 3, 16), device)
    probes.reduce = {layer: LayerReduction(Flatten(), "none", Layout()) for layer in probes.probes}
    for _ in range(2):
        probes.on_train_batch_start(run, module, batch, 0)
        module(batch[0])
        probes.on_train_batch_end(run, module, None, batch, 0)
    assert probes.tally["train"].shape == (2, 7, 1)


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    """No hook stays, also after an error in the middle of a batch."""

    class Failing(Somebody):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            if batch_idx == 3:
                raise RuntimeError("in the middle")
            return super().training_step(batch, batch_idx)

    for module in (Somebody(), Failing()):
        probes = OnlineProbes("all")
        with pytest.raises(RuntimeError, match="in the middle") if isinstance(module, Failing) else nullcontext():
            fit(tmp_path, probes, module=module)
        assert probes.probes
        assert not any(part._forward_hooks for part in module.modules())


def test_every_layer_epoch_and_set_has_a_row(tmp_path: Path) -> None:
    """The table has one row per epoch, layer in order of execution, and set, of all samples once, with its interval."""
    fit(tmp_path, OnlineProbes())
    found = rows(tmp_path)
    keys = [(row["epoch"], row["layer"], row["labels"], row["split"], row["count"]) for row in found]
    sets = (("train", "150"), ("val", "90"))
    assert keys == [(epoch, layer, "true_label", *of) for epoch in "12" for layer in LAYERS for of in sets]
    columns = "epoch layer width labels split accuracy low high correct count loss features failed reduced"
    assert columns.split() == [*found[0]]
    for row in found:
        assert (row["width"], row["failed"]) == ({"input": "12", "last": "3"}.get(row["layer"], "16"), "")
        low, high = wilson(int(row["correct"]), int(row["count"]))
        assert (float(row["low"]), float(row["high"])) == (low, high)
        assert float(row["accuracy"]) == int(row["correct"]) / int(row["count"])


def test_rows_are_what_probes_by_hand_give(tmp_path: Path) -> None:
    """Training batches are scored before the step on them, the test set after the epoch's last; here of raw input."""
    ours: dict[str, Any] = {"learning_rate": 0.5, "momentum": 0.5, "ridge": 0.01}
    train, test = loader(shuffle=False), loader(90, shuffle=False)
    trainer(tmp_path, OnlineProbes("input", **ours)).fit(Somebody(), train, test)
    probe = OnlineProbe.untrained(12, (1, 3, 12), torch.device("cpu"))
    for epoch in (1, 2):
        scores = torch.zeros(2, 3)
        for x, y in train:
            sums = probe.sums(x, y[None], learn=True)
            probe.step(sums, **ours)
            scores[0] += sums[:3]
        for x, y in test:
            scores[1] += probe.sums(x, y[None], learn=False)
        found = [row for row in rows(tmp_path) if row["epoch"] == str(epoch)]
        assert [[int(row["correct"]), int(row["count"])] for row in found] == scores[:, [0, 2]].tolist()
        assert [float(row["loss"]) for row in found] == pytest.approx((scores[:, 1] / scores[:, 2]).tolist())


def test_features_are_read_before_they_are_overwritten(tmp_path: Path) -> None:
    """The normalised layer has mean 0 in training, though an in-place ReLU follows; and in the network's precision."""
    for precision in ("32-true", "bf16-mixed"):
        probes = OnlineProbes(["norm", "relu"])
        fit(tmp_path, probes, module=Somebody(rate=1e-9), precision=precision)
        assert float(probes.probes["norm"].mean.abs().max()) < 1e-3
        assert float(probes.probes["relu"].mean.min()) > 0.1


@pytest.mark.slow
def test_probes_come_close_to_the_optimum_but_never_certify(tmp_path: Path) -> None:
    """Of a network at rest, accuracies are within some percent of the converged probes', which no loss undercuts."""
    seed_everything(0, verbose=False)
    online, converged = OnlineProbes("all"), LinearProbes("all", epochs=[15])
    run = trainer(tmp_path, online, converged, epochs=15)
    run.fit(Somebody(rate=0.0), loader(600), loader(300, shuffle=False))
    for layer in LAYERS[:-1]:  # what dropout does to the last is another network's
        ours, best = (
            {row["split"]: row for row in table.rows if (row["epoch"], row["layer"]) == (15, layer)}
            for table in (online.table, converged.table)
        )
        assert ours["val"]["accuracy"] == pytest.approx(best["val"]["accuracy"], abs=0.05)
        assert best["train"]["converged"]
        assert not ours["train"]["converged"]
        assert ours["train"]["gap"] is None
        assert layer != "input" or ours["val"]["accuracy"] > 0.7
    assert not any("gap" in row or "converged" in row for row in rows(tmp_path))


def test_given_labels_are_probed_where_they_differ(tmp_path: Path) -> None:
    """With corrupted labels both kinds are probed, each scored on its own; without only the true ones."""
    for corruption, kinds in ((PartialLabels(0.5), ["true_label", "given_label"]), (None, ["true_label"])):
        probes = OnlineProbes("network.relu1")
        trainer(tmp_path, probes, epochs=3).fit(MLP(width=64), datamodule=Digits(corruption=corruption))
        assert probes.table.unique("labels") == kinds
        last = {(row["labels"], row["split"]): row["accuracy"] for row in probes.table.rows if row["epoch"] == 3}
        assert last["true_label", "test"] > 0.6
        if corruption:
            assert last["given_label", "train"] < last["true_label", "train"] - 0.1


def test_a_layer_that_fails_spoils_nothing_else(tmp_path: Path) -> None:
    """NaN, absence or another shape in training give failed rows with the reason; other layers are as without them."""
    alone, together = OnlineProbes(["first"]), OnlineProbes(["first", "wrong", "resting", "changing"])
    for probes in (alone, together):
        seed_everything(0, verbose=False)
        fit(tmp_path, probes, module=Faulty())
    failed = {row["layer"]: row["failed"] for row in together.table.rows if row["accuracy"] is None}
    absent = "the layer did not run or gave another shape in 10 batches of train"
    reasons = {"wrong": "features or loss are not finite in 10 batches of train", "resting": absent, "changing": absent}
    assert failed == reasons
    first = [row for row in together.table.rows if row["layer"] == "first"]
    assert first == alone.table.rows
    assert all(row["accuracy"] == "" for row in rows(tmp_path) if row["layer"] in reasons)


def test_a_layer_recovers_from_a_bad_batch(tmp_path: Path) -> None:
    """A batch that is not finite is left out: the rows of its epoch fail, the probe goes on unspoilt."""
    probes = OnlineProbes(["wrong", "input"])
    fit(tmp_path, probes, module=Faulty(runs=range(4, 5)), epochs=3)
    accuracy = {(row["epoch"], row["layer"], row["split"]): row["accuracy"] for row in probes.table.rows}
    assert [accuracy[epoch, "wrong", "val"] is None for epoch in (1, 2, 3)] == [True, False, False]
    assert float(probes.probes["wrong"].batches) == 29
    assert accuracy[3, "wrong", "val"] == pytest.approx(accuracy[3, "input", "val"], abs=0.05)


def test_labels_beyond_the_classes_fail_and_those_below_are_left_out(tmp_path: Path) -> None:
    """Labels of 2 or more are too many for two classes, and the row says what to do; labels below 0 do not count."""
    probes = OnlineProbes("input", classes=2)
    fit(tmp_path, probes)
    expected = int((loader().dataset[:][1] >= 2).sum())
    assert probes.table.rows[0]["failed"] == f"{expected} labels are 2 or more: set classes"
    x, y = loader().dataset[:]
    unlabelled = torch.where(torch.arange(150) < 50, -1, y)

    class Tolerant(Somebody):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return cross_entropy(self(batch[0]), batch[1].clamp(min=0))

    probes = OnlineProbes("input")
    test = DataLoader(TensorDataset(x, torch.full((150,), -1)), batch_size=50)
    trainer(tmp_path, probes).fit(Tolerant(), DataLoader(TensorDataset(x, unlabelled), batch_size=25), test)
    assert [(row["count"], row["failed"]) for row in probes.table.rows[-2:]] == [
        (100, ""),
        (None, "there are no labels"),
    ]


def test_classes_come_from_the_network(tmp_path: Path) -> None:
    """A first batch of one class only does not hide the others."""
    x, y = loader().dataset[:]
    order = y.argsort()
    probes = OnlineProbes("input")
    ordered = DataLoader(TensorDataset(x[order], y[order]), batch_size=16)
    trainer(tmp_path, probes).fit(Somebody(), ordered, loader(90, shuffle=False))
    assert probes.probes["input"].weight.shape == (1, 3, 13)
    assert probes.table.rows[0]["failed"] == ""


def test_the_last_validation_of_an_epoch_counts(tmp_path: Path) -> None:
    """Several validations in an epoch count once, several sets apart, and an epoch without one has training rows."""
    run = trainer(tmp_path, OnlineProbes("input"), val_check_interval=0.5)
    run.fit(Somebody(), loader(), [loader(90, shuffle=False), loader(60, shuffle=False)])
    keys = [(row["epoch"], row["split"], row["count"]) for row in rows(tmp_path)]
    assert keys == [(e, s, n) for e in "12" for s, n in (("train", "150"), ("val", "90"), ("val#2", "60"))]
    fit(tmp_path, OnlineProbes("input"), check_val_every_n_epoch=2)
    assert [(row["epoch"], row["split"]) for row in rows(tmp_path)] == [("1", "train"), ("2", "train"), ("2", "val")]


class Resumable(DataLoader[Any]):
    """A loader that goes on in the middle of an epoch."""

    start = done = 0

    def __iter__(self) -> Any:
        """The batches that are left."""
        first, self.start = self.start, 0
        for number, batch in enumerate(super().__iter__(), start=1):
            if number > first:
                self.done = number
                yield batch

    def state_dict(self) -> dict[str, int]:
        """How many batches were given."""
        return {"done": self.done % len(self)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leave them out."""
        self.start = state_dict["done"]


class Saving(Callback):
    """Saves a checkpoint whenever something ends."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """After a batch."""
        self.save(trainer, "batch")

    def on_validation_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """After a validation."""
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """After an epoch."""
        self.save(trainer, "epoch")

    def save(self, trainer: Trainer, after: str) -> None:
        """Write `<after> <step>.ckpt`."""
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{after} {trainer.global_step}.ckpt")


def test_a_resumed_run_has_the_table_and_weights_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """From a checkpoint at the end of an epoch, or in its middle, everything goes on to the bit."""

    def run(name: str, *callbacks: Callback, checkpoint: Path | None = None) -> OnlineProbes:
        seed_everything(99 if checkpoint else 1, verbose=False)
        probes = OnlineProbes()
        logger = CSVLogger(tmp_path, name="", version=name)  # of one run, with a folder for every session
        run = trainer(tmp_path, probes, *callbacks, epochs=3, val_check_interval=5, logger=logger)
        train = Resumable(loader().dataset, batch_size=16)  # 10 batches
        module = Somebody()
        module.drop.p = 0.0  # Lightning does not restore the generators
        run.fit(module, train, loader(90, shuffle=False), ckpt_path=checkpoint)
        return probes

    whole = run("whole", Saving())
    for place in ("epoch 10", "batch 13", "batch 15", "validation 15", "validation 20", "batch 10"):
        resumed = run(place, checkpoint=tmp_path / f"{place}.ckpt")
        # after the last batch Lightning goes on with the next epoch, without the validation that was due
        lost = [("1", "val")] if place == "batch 10" else []
        expected, found = (
            [row for row in rows(tmp_path / name) if (row["epoch"], row["split"]) not in lost]
            for name in ("whole", place)
        )
        assert found == expected, place
        assert_same(whole.state_dict()["probes"], resumed.state_dict()["probes"])


def test_a_second_fit_has_a_table_of_its_own(tmp_path: Path) -> None:
    """A callback used again forgets the first network, and so do other settings those of a checkpoint."""
    probes = OnlineProbes("first")
    fit(tmp_path, probes, epochs=2)
    fit(tmp_path, probes, epochs=1)
    assert probes.table.unique("epoch") == [1]
    assert float(probes.probes["first"].batches) == 10
    for other, taken in ((OnlineProbes("first"), True), (OnlineProbes("first", ridge=0.5), False)):
        other.load_state_dict(probes.state_dict())
        assert bool(other.table.rows) == bool(other.probes) == taken


def test_loggers_get_accuracies_once_an_epoch(tmp_path: Path) -> None:
    """Each logger has one line per epoch, with the table's numbers; files go to its folder."""
    logger = CSVLogger(tmp_path, name="", version="")
    fit(tmp_path / "elsewhere", OnlineProbes(["first", "last"]), logger=logger)
    with (tmp_path / "metrics.csv").open(newline="") as text:
        logged = [line for line in csv.DictReader(text) if line.get("online_probe/true_label/train/first")]
    assert [float(line["epoch"]) for line in logged] == [1, 2]
    for row in rows(tmp_path):
        name = f"online_probe/{row['labels']}/{row['split']}/{row['layer']}"
        assert float(logged[int(row["epoch"]) - 1][name]) == pytest.approx(float(row["accuracy"]))


def test_the_whole_run_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table at the end says that it is no fit to the optimum."""
    monkeypatch.undo()  # with its picture
    fit(tmp_path, OnlineProbes(["first", "last"]))
    assert (tmp_path / "online_probes.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "not to the optimum (~)" in printed
    assert "Linear probe accuracy on true labels, val set" in printed
    assert printed.count("~ │") == 4


class InWhole(Somebody):
    """A network that is compiled, though its module is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.compile(self.first)  # type: ignore[assignment]


@pytest.mark.parametrize("module", [lambda: MLP(width=8, compile=True, inputs=12), InWhole])
def test_a_compiled_network_is_refused(tmp_path: Path, module: Any) -> None:
    """As its layers cannot be heard without changing how it runs; the message says what else there is."""
    with pytest.raises(ValueError, match=r"torch\.compile hides the layers: use LinearProbes"):
        trainer(tmp_path, OnlineProbes(), limit_val_batches=0).fit(module(), loader(), loader())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": []}, "taps must name at least one layer"),
        ({"width": 0}, "width must be 1 or more, got 0"),
        ({"classes": 0}, "classes must be 1 or more, got 0"),
        ({"reduction": "pool"}, "unknown reduction 'pool'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0, got inf"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"ridge": -1.0}, "ridge must be 0 or more, got -1.0"),
        ({"ridge": math.nan}, "ridge must be 0 or more, got nan"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    """Each bad argument is named with its value."""
    with pytest.raises(ValueError, match=message):
        OnlineProbes(**options)


def test_an_unknown_tap_is_named(tmp_path: Path) -> None:
    """A name that matches nothing stops the run at its first batch and names the nearest tap."""
    with pytest.raises(ValueError, match=r"no tap matches 'frist'.*first"):
        fit(tmp_path, OnlineProbes(["input", "frist"]))


class Samples(Dataset[Any]):
    """Samples of any form.

    Args:
        sample: The one there is.
    """

    def __init__(self, sample: Any) -> None:
        self.sample = sample

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        """The sample."""
        return self.sample


@pytest.mark.parametrize(
    "sample", [{"x": 1}, (torch.ones(12), 0.5), (torch.ones(12), torch.arange(3)), [torch.ones(12)]]
)
def test_batches_of_another_form_are_named(tmp_path: Path, sample: Any) -> None:
    """Dictionaries, real numbers or vectors as labels, and images without one are refused with what would be right."""
    with pytest.raises(TypeError, match=r"OnlineProbes needs batches \(image, label\).*got (dict|list)"):
        trainer(tmp_path, OnlineProbes(), limit_val_batches=0).fit(Somebody(), DataLoader(Samples(sample)), loader())


class Kept(OnlineProbes):
    """Probes that every process leaves in a file."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the state."""
        torch.save(self.state_dict(), Path(trainer.default_root_dir) / f"{trainer.global_rank}.pt")


class Uneven(MLP):
    """A network with a layer beside it that overflows in the second batch, on the second process only."""

    def __init__(self) -> None:
        picklable: dict[str, Any] = {
            "optimizer": partial(torch.optim.SGD, lr=0.01),
            "scheduler": partial(ConstantLR, factor=1.0),
        }
        super().__init__(width=32, **picklable)
        self.wrong = Wrong(range(2, 3))

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        if self.trainer.global_rank == 0:
            self.wrong.run = 10
        self.wrong(image[:, 0])
        return super().forward(image)


def test_two_processes_train_the_probes_of_one(tmp_path: Path) -> None:
    """Both have the same probes, and with half of every batch each the table is that of one process."""
    folders = tmp_path / "one", tmp_path / "two"
    options: dict[str, Any] = {"use_distributed_sampler": False, "strategy": "ddp_fork"}
    for devices, folder in enumerate(folders, start=1):
        seed_everything(0, verbose=False)
        probes = Kept(["network.*", "wrong"], width=64)
        run = trainer(folder, probes, devices=devices, **(options if devices > 1 else {}))
        run.fit(Uneven(), datamodule=Digits(corruption=[RandomSubset(640), PartialLabels(0.5)], seed=1))
    states = [torch.load(folders[1] / f"{rank}.pt", weights_only=False) for rank in (0, 1)]
    assert_same(states[0]["probes"], states[1]["probes"])
    assert states[0]["latest"] == states[1]["latest"] != []
    for alone, shared in zip(*map(rows, folders), strict=True):
        key = ("epoch", "layer", "labels", "split")
        assert [alone[name] for name in key] == [shared[name] for name in key]
        if (shared["layer"], shared["epoch"]) == ("wrong", "1"):
            assert shared["failed"] == "features or loss are not finite in 1 batches of train"
        elif shared["layer"] != "wrong":
            assert alone["count"] == shared["count"]
            assert int(alone["correct"]) == pytest.approx(int(shared["correct"]), abs=1)
            assert float(alone["loss"]) == pytest.approx(float(shared["loss"]), rel=1e-3)
