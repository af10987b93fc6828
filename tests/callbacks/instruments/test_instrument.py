"""Tests of callbacks/instruments/instrument.py: what holds for every instrument there is, and for one more."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from stratoscope import load_runs
from stratoscope.callbacks import LinearProbes
from stratoscope.callbacks.instruments.instrument import Instrument, Planned
from stratoscope.callbacks.progress.time_left import Stopwatch
from stratoscope.commands.table import main
from stratoscope.experiments.experiment import Quantity
from stratoscope.experiments.measured import reading
from stratoscope.files.table import EpochTable
from stratoscope.fit.checks import planned_run
from stratoscope.fit.classes import subclasses
from stratoscope.fit.command import build
from stratoscope.results import load_run
from stratoscope.run.checkpoint import load_checkpoint
from tests.interrupted_runs import differences

pytestmark = pytest.mark.usefixtures("no_pictures")
DATA = "--data Digits --data.batch_size 64 --data.corruption RandomSubset --data.corruption.n 128"
FIT = f"fit --model MLP --model.width 4 {DATA} --trainer.accelerator cpu --threads 1 --trainer.max_epochs 2"
ADD = "--trainer.callbacks+"
# what an instrument has to be given, or is quicker with, as words behind its name
GIVEN: dict[str, list[str]] = {
    "HumanUncertainty": ["--trainer.callbacks.file", "shares.npy"],
    "LinearProbes": ["--trainer.callbacks.width", "32"],
    "LossPath": ["--trainer.callbacks.to", "other.pt", "--trainer.callbacks.points", "2"],
}


class SomebodysNorms(Instrument):
    """Somebody's instrument: the norm of the weights of every layer; a table with a column that no other has."""

    TABLE = "norms"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.table = EpochTable({"epoch": int, "layer": str, "of": str, "norm": float})

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """One for each layer."""
        yield from (self.metric(name) for name, _ in planned.module.named_parameters())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure."""
        epoch = trainer.current_epoch + 1
        rows = [
            {"epoch": epoch, "layer": name, "of": "weights", "norm": float(weight.detach().norm())}
            for name, weight in pl_module.named_parameters()
        ]
        self.table.replace(epoch, rows)
        self.files.find(Path(trainer.default_root_dir))
        self.table.write(self.files.path("norms.csv"))


class Generators(Callback):
    """Notes the state of the generators of random numbers at every step, after the validation and at the end."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def note(self, *_args: Any, **_kwargs: Any) -> None:
        """Note it."""
        # not that of Python, from which the tests' own checks of types draw
        states = torch.get_rng_state().tolist(), str(np.random.get_state())
        self.states.append(hashlib.sha256(str(states).encode()).hexdigest())

    on_train_batch_start = on_train_batch_end = on_validation_epoch_end = on_train_epoch_end = on_train_end = note


def trained(line: list[str]) -> list[str]:
    """Train, and return the states of the generators."""
    command, generators = build(line), Generators()
    command.trainer.callbacks.append(generators)  # type: ignore[attr-defined]
    command.start()
    return generators.states


OURS = [kind for kind in subclasses([Instrument]) if kind.__module__.startswith("stratoscope.")]
INSTRUMENTS: list[type[Instrument]] = [*OURS, SomebodysNorms]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run without instruments, called plain."""
    folder = tmp_path_factory.mktemp("instruments")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STRATOSCOPE_RUN", "")
        command = build([*FIT.split(), "--seed_everything", "1", "--run", "none"])
        data = command.datamodule
        torch.save(command.model.state_dict(), "other.pt")
        labels = data.sets["test"].data.true_label
        np.save("shares.npy", torch.eye(10, dtype=torch.float64)[labels].numpy())
        Path("generators").write_text("\n".join(trained([*FIT.split(), "--run", "plain"])))
        yield folder


def words(kind: type[Instrument]) -> list[str]:
    """The command line with an instrument."""
    path = f"{kind.__module__}.{kind.__name__}"
    return [*FIT.split(), ADD, path, *GIVEN.get(kind.__name__, []), "--run", kind.__name__]


@pytest.mark.parametrize("kind", INSTRUMENTS, ids=lambda kind: kind.__name__)
def test_training_is_what_it_is_without(kind: type[Instrument], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, optimiser, random numbers and metrics, to the bit."""
    monkeypatch.chdir(folder)
    assert trained(words(kind)) == Path("generators").read_text().splitlines()
    ends = [load_checkpoint(f"runs/{name}/checkpoints/last.ckpt") for name in ("plain", kind.__name__)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert not list(differences(ends[0][part], ends[1][part], part))
    plain, own = (load_run(f"runs/{name}") for name in ("plain", kind.__name__))
    for before, after in zip(plain.metrics, [row for row in own.metrics if row["epoch"]], strict=True):
        assert before == {name: after[name] for name in before}
    assert kind.TABLE in own.tables or kind.__name__ == "HumanUncertainty"  # which logs alone
    logged = {name for name in own.metric_names if name.startswith(f"{kind.prefix()}/")}
    command = build([*words(kind), "--run", "asked"])
    batch = command.datamodule.sets["test"].__getitems__(range(2))
    planned = planned_run(command.trainer, command.model, command.datamodule, batch, fits=True)
    (instrument,) = (one for one in command.trainer.callbacks if isinstance(one, kind))  # type: ignore[attr-defined]
    said = set(instrument.metric_names(planned))
    assert logged <= said
    assert said - logged <= {"human/entropy_correlation"} or kind is SomebodysNorms  # which has a table alone


@pytest.mark.parametrize("kind", INSTRUMENTS, ids=lambda kind: kind.__name__)
def test_every_instrument_says_what_it_will_log(
    kind: type[Instrument], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a metric which it will not log is refused with the nearest one, before anything is written."""
    monkeypatch.chdir(folder)
    line = [*words(kind), ADD, "ModelCheckpoint", "--trainer.callbacks.monitor", f"{kind.prefix()}/nothing"]
    with pytest.raises(SystemExit) as ended:
        main([*line, "--run", "refused"])
    assert ended.value.code == 2
    assert f"no metric {kind.prefix()}/nothing" in capsys.readouterr().err
    assert not Path("runs/refused").exists()


class Told(CSVLogger):
    """A logger that takes tables."""

    def __init__(self) -> None:
        super().__init__("told")
        self.tables: dict[str, tuple[list[str], int]] = {}

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], step: int) -> None:
        """Note its columns, and how many rows there are."""
        self.tables[key] = columns, len(data)


def test_what_an_instrument_leaves_is_found_everywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In load_runs, show, quantities of experiments and W&B: nothing there knows it."""
    monkeypatch.chdir(folder)
    if not Path("runs/SomebodysNorms").exists():
        main(words(SomebodysNorms))
    frame = load_runs("runs/SomebodysNorms")
    found = frame[frame.source == "norms"]
    layers = ["network.fc1.weight", "network.fc1.bias", "network.logits.weight", "network.logits.bias"]
    assert list(found.layer) == layers * 2
    assert set(found["name"]) == {"norm"}
    assert set(found["of"]) == {"weights"}
    assert list(found.step) == [2] * 4 + [4] * 4
    capsys.readouterr()
    main(["show", "SomebodysNorms"])
    assert "norms at epoch 2" in capsys.readouterr().out
    told = Told()
    command = build([*words(SomebodysNorms)[:-1], "told"])
    command.trainer.loggers.append(told)
    command.start()
    assert told.tables == {"norms": (["epoch", "layer", "of", "norm"], 8)}


def test_online_probes_are_read_like_other_probes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their layers, label kinds and intervals, once; and an experiment can ask for them."""
    monkeypatch.chdir(folder)
    if not Path("runs/OnlineProbes").exists():
        main(words(next(kind for kind in INSTRUMENTS if kind.__name__ == "OnlineProbes")))
    frame = load_runs("runs/OnlineProbes")
    assert not [name for name in frame["name"][frame.source == "metrics"] if str(name).startswith("online_probe/")]
    accuracies = frame[(frame.source == "online_probes") & (frame.name == "accuracy")]
    assert accuracies.layer.notna().all()
    assert set(accuracies.labels) == {"true_label"}
    assert (accuracies.low < accuracies.value).all()
    assert (accuracies.high > accuracies.value).all()
    capsys.readouterr()
    main(["show", "OnlineProbes"])
    assert "online_probes: best layer for" in capsys.readouterr().out
    run = load_run("runs/OnlineProbes")
    quantity = Quantity(probe="true_label test network.fc1", table="online_probes")
    rows = [row for row in run.tables["online_probes"].rows if (row["layer"], row["split"]) == ("network.fc1", "test")]
    assert getattr(reading(run, quantity, {}), "value", None) == rows[-1]["accuracy"]


def test_two_of_a_name_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever instruments they are: their files and metrics would be the same."""
    monkeypatch.chdir(folder)
    one = [ADD, f"{SomebodysNorms.__module__}.SomebodysNorms"]
    with pytest.raises(SystemExit):
        main([*FIT.split(), *one, *one, "--run", "refused"])
    assert "two SomebodysNorms without a name" in capsys.readouterr().err


def test_an_instrument_without_a_table_is_refused() -> None:
    """Its files would have no names."""

    class Nameless(SomebodysNorms):
        TABLE = ""

    with pytest.raises(TypeError, match="Nameless has no TABLE"):
        Nameless()


def test_an_instrument_takes_as_long_as_last_time() -> None:
    """After every epoch to come that it is due after; what is under way has come so far already."""
    time = [0.0]
    probes = LinearProbes(every_n_epochs=2)
    probes.watch = Stopwatch(lambda: time[0])
    assert probes.seconds_ahead(range(1, 11)) == 0
    with probes.watch.running():
        time[0] = 30.0
    assert probes.seconds_ahead(range(1, 11)) == 5 * 30
    with probes.watch.running():
        time[0] += 10.0
        assert probes.seconds_ahead(range(2, 11)) == 20 + 4 * 30
        time[0] += 30.0
        assert probes.seconds_ahead(range(2, 11)) == 4 * 30
    assert SomebodysNorms().seconds_ahead(range(1, 11)) == 0
