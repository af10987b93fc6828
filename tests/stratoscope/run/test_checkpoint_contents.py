"""Tests of stratoscope/run/checkpoint_contents.py: what is written can be read, and what is read is what it says."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics import CatMetric

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.callbacks.guards.exact_resume import _on, _summed
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.fit.checks import check_going_on
from stratoscope.fit.command import Command, build
from stratoscope.models import MLP
from stratoscope.run.checkpoint import WholeFiles, check_weights, load_checkpoint
from stratoscope.run.checkpoint_contents import (
    check_callbacks,
    check_contents,
    check_readable,
    check_restorable,
    plain_numbers,
)

SMALL = (
    "--data Digits --data.corruption RandomSubset --data.corruption.n 64 --threads 1 --trainer.accelerator cpu "
    "--trainer.max_epochs 1 --trainer.enable_progress_bar false"
)

WATCHED = (
    f"--model MLP --model.width 4 {SMALL} --trainer.callbacks LinearProbes --trainer.callbacks.epochs [1] "
    "--trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.1 --trainer.callbacks+ EarlyStopping "
    "--trainer.callbacks.monitor test/loss"
)


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)


class Mean(MLP):
    """A network that keeps an array of NumPy's among its hyper-parameters."""

    def __init__(self, width: int = 4) -> None:
        super().__init__(width=width)
        self.hparams["mean"] = np.arange(3)


class Late(Callback):
    """A callback whose state is of a class of its own, from some epoch on."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch, self.kept = epoch, Path()

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        return {"list": [1, {"where": self.kept}]} if self.epoch == 0 else {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add something that nobody could know of before."""
        if self.epoch and trainer.current_epoch + 1 >= self.epoch:
            checkpoint["mine"] = np.arange(3)


class Best(Callback):
    """A callback whose state is there behind a validation only."""

    best: float

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make it."""
        self.best = 1.0

    def state_dict(self) -> dict[str, Any]:
        """It."""
        return {"best": self.best}


class NeedsSetup(Callback):
    """A callback whose state goes into what `setup` makes, under keys that ours have, too."""

    def state_dict(self) -> dict[str, Any]:
        """It."""
        return {"rows": 5, "kept": {"a": 1}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Not before `setup`."""
        self.kept.update(state_dict["kept"])  # type: ignore[attr-defined]


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is refused with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("INFO")]
    assert len(said) == 1
    return said[0]


@pytest.fixture
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])


@pytest.mark.usefixtures("_known")
def test_what_could_not_be_read_again_is_named_before_anything_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An array of NumPy's in the hyper-parameters, a path in a callback's state: with key, class and what helps."""
    said = refused(f"fit --model mine.Mean {SMALL}", capsys)
    assert "hyper_parameters.mean, a numpy.ndarray, could be written but not read again" in said
    assert ".tolist()" in said
    said = refused(f"fit --model MLP {SMALL} --trainer.callbacks mine.Late", capsys)
    assert "callbacks.Late.list.1.where, a pathlib.PosixPath" in said
    for option in ("--trainer.enable_checkpointing false", "--trainer.fast_dev_run true"):  # nothing is saved
        build(f"fit --model mine.Mean --trainer.callbacks mine.Late {SMALL} {option}".split())
    assert not Path("runs").exists()


@pytest.mark.usefixtures("_known")
def test_a_state_that_only_a_validation_makes_does_not_end_a_run() -> None:
    """There is no place within the epoch to go on from then, which is said once; the epoch is saved."""
    with pytest.warns(UserWarning, match=r"goes on from the end of the last one \(AttributeError") as said:
        main(f"fit --model MLP --model.width 4 {SMALL} --trainer.callbacks mine.Best --run r".split())
    assert len([one for one in said if "goes on from" in str(one.message)]) == 1
    states = load_checkpoint("runs/r/checkpoints/last.ckpt")["callbacks"]
    assert states["Best"] == {"best": 1.0}


@pytest.mark.usefixtures("_known")
def test_what_comes_late_is_named_at_the_first_save(capsys: pytest.CaptureFixture[str]) -> None:
    """Known at the end of the first epoch, or of the third: no such file is written, and the one before stays."""
    line = f"fit --model MLP --model.width 4 {SMALL.replace('max_epochs 1', 'max_epochs 4')} --run r"
    for epoch in (1, 3):
        said = refused(f"{line}{epoch} --trainer.callbacks mine.Late --trainer.callbacks.epoch {epoch}", capsys)
        assert "mine, a numpy.ndarray" in said
        last = Path(f"runs/r{epoch}/checkpoints/last.ckpt")
        assert last.exists() == (epoch > 1)
    assert load_checkpoint(str(last))["epoch"] == 1


def test_a_file_that_is_whole_is_never_called_damaged(tmp_path: Path) -> None:
    """One of an earlier release, whose digest fits: its class is named, without escape sequences."""
    file, content = tmp_path / "old.ckpt", {"state_dict": {}, "hyper_parameters": {"mean": np.float64(0.5)}}
    torch.save(content, file)
    with pytest.raises(Refused) as raised:
        load_checkpoint(str(file))
    assert "damaged" not in str(raised.value)
    assert "numpy" in str(raised.value)
    assert "\x1b" not in str(raised.value)
    with pytest.raises(Refused, match=r"hyper_parameters\.mean"):
        WholeFiles().save_checkpoint({**content, "hyper_parameters": {"mean": np.arange(2)}}, tmp_path / "new.ckpt")
    assert not (tmp_path / "new.ckpt").exists()


def test_numbers_of_numpy_are_written_as_pythons(tmp_path: Path) -> None:
    """Such as a learning rate that a function of NumPy's gave; what has none is not copied."""
    states: list[dict[str, Any]] = [
        {"base_lrs": [0.1], "_last_lr": [np.float64(0.5)], "shape": (np.int64(3), OrderedDict(a=np.True_))}
    ]
    WholeFiles().save_checkpoint({"state_dict": {}, "lr_schedulers": states}, tmp_path / "x.ckpt")
    (state,) = load_checkpoint(str(tmp_path / "x.ckpt"))["lr_schedulers"]
    assert state == states[0]
    assert [type(one) for one in (state["_last_lr"][0], state["shape"][0], state["shape"][1]["a"])] == [
        float,
        int,
        bool,
    ]
    assert type(states[0]["_last_lr"][0]) is np.float64
    whole: dict[str, Any] = {"a": [1, (2.0,)], "b": OrderedDict(c=torch.ones(1))}
    assert plain_numbers(whole) is whole


def test_what_a_metric_lists_of_every_batch_goes_through_a_checkpoint() -> None:
    """Tensors, and plain values of metrics that keep such; a state that is neither a sum nor a list is refused."""
    metric: Any = CatMetric()
    metric.update(torch.arange(3.0))
    metric.update(torch.arange(2.0))
    listed = _summed(metric)
    metric.value = [("a", 1), "text"]
    check_contents({"exact_resume": {"sums": {"m": listed, "n": _summed(metric), "o": {"total": torch.ones(1)}}}})
    assert [part.tolist() for part in listed["value"]] == [[0, 1, 2], [0, 1]]
    assert _summed(metric)["value"] == [("a", 1), "text"] == _on(torch.device("cpu"), [("a", 1), "text"])
    for strange in ("text", 3):
        with pytest.raises(ValueError, match=r"sums\.m\.value must be a tensor"):
            check_contents({"exact_resume": {"sums": {"m": {"value": strange}}}})


def test_callbacks_are_only_tried_where_they_are_known(checkpoint: dict[str, Any]) -> None:
    """Others' may have to be set up before; ours are looked at as copies, all their tables."""
    probes, others, online = LinearProbes(epochs=[1]), NeedsSetup(), OnlineProbes()
    trainer: Any = SimpleNamespace(callbacks=[probes, others, online])
    states = {**checkpoint["callbacks"], others.state_key: others.state_dict()}
    check_callbacks({"callbacks": states}, trainer)
    assert not probes.table.epochs
    rows = {"latest": [{"epoch": "x", "layer": 3}]}
    for callback, state in ((online, rows), (probes, rows), (probes, {"measured": {"rows": [{"epoch": "x"}]}})):
        with pytest.raises(ValueError, match=r"(latest|rows)\.epoch must be a whole number"):
            check_callbacks({"callbacks": {callback.state_key: state}}, trainer)


def test_what_an_optimiser_of_others_remembers_is_of_any_shape(checkpoint: dict[str, Any]) -> None:
    """One number for every weight (NvNovoGrad of timm)."""
    network = MLP(width=4)
    novograd: Any = import_module("timm.optim").NvNovoGrad
    optimizer = novograd(network.parameters(), lr=0.1)
    network.zero_grad()
    sum(weight.sum() for weight in network.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    assert next(iter(optimizer.state.values()))["exp_avg_sq"].shape == ()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    states = {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": []}
    check_restorable({**checkpoint, **states}, trainer, novograd(network.parameters(), lr=0.1))


def test_tensors_and_plain_values_are_readable() -> None:
    """Of every kind that checkpoints hold."""
    nested = {"a": [1, 2.5, None, True, "x", (3,), {4: torch.ones(2, dtype=torch.bfloat16)}], "b": {1, 2}, "c": b"x"}
    check_readable(nested)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of one epoch leaves."""
    runs = tmp_path_factory.mktemp("runs")
    line = f"fit {WATCHED} --run one"
    main([*line.split(), "--runs", str(runs)])
    return load_checkpoint(str(runs / "one" / "checkpoints" / "last.ckpt"))


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value; a value of Ellipsis deletes it."""

    def change(content: Any) -> None:
        for name in path[:-1]:
            content = content[name]
        if value is ...:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


CURRENT = ("loops", "fit_loop", "epoch_progress", "current")
CHANGES = [
    put("stratoscope_format", value="new"),
    put("stratoscope_config", value=[1]),
    put("loops", value=3),
    put("loops", value=...),
    put("loops", "fit_loop", value="x"),
    put(*CURRENT, value=[]),
    put(*CURRENT, "processed", value="three"),
    put(*CURRENT, "processed", value=-1),
    put(*CURRENT, "processed", value=float("nan")),
    put("loops", "fit_loop", "epoch_progress", "total", value=...),
    put("callbacks", value=[]),
    put("callbacks", "LinearProbes", value=7),
    put("callbacks", "LinearProbes", "latest", value=...),
    put("optimizer_states", value=[]),
    put("optimizer_states", value={}),
    put("optimizer_states", 0, "state", value="x"),
    put("optimizer_states", 0, "param_groups", value=[]),
    put("optimizer_states", 0, "param_groups", 0, "weight_decay", value="x"),
    put("optimizer_states", 0, "param_groups", 0, "lr", value=...),
    put("optimizer_states", 0, "param_groups", 0, "momentum", value=None),
    put("optimizer_states", 0, "state", 0, "momentum_buffer", value=torch.zeros(3)),
    put("lr_schedulers", value=[]),
    put("lr_schedulers", 0, "last_epoch", value="x"),
    put("global_step", value=-3),
    put("epoch", value="x"),
    put("pytorch-lightning_version", value="x"),
    put("state_dict", "network.fc1.bias", value=3),
    put("state_dict", value=[]),
    put("callbacks", "LinearProbes", "latest", value=[{"epoch": "x", "layer": 3}]),
    put("callbacks", "LinearProbes", "measured", "rows", value=[{"epoch": 1, "layer": 3}]),
    put("stratoscope_cut", value=[1]),
    put("stratoscope_cut", value={"loops": 3}),
    put("exact_resume", value=[]),
    put("exact_resume", "watched", value=5),
    put("exact_resume", "logged", value={"a": "b"}),
]


@pytest.fixture(scope="module")
def going_on(checkpoint: dict[str, Any]) -> Command:
    """A command that could go on from that checkpoint."""
    return build(f"fit {WATCHED} --trainer.max_epochs 2".split())


def look(command: Command) -> None:
    """What `fit` looks at before it goes on from x.ckpt."""
    check_weights("x.ckpt", command.model)
    check_going_on("x.ckpt", command.trainer, command.model, fits=True)


def copied(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint to be changed."""
    torch.save(checkpoint, "x.ckpt")
    content: dict[str, Any] = torch.load("x.ckpt", weights_only=True)
    return content


@pytest.mark.parametrize("change", CHANGES)
def test_parts_of_another_kind_are_refused(
    change: Callable[[dict[str, Any]], None], checkpoint: dict[str, Any], going_on: Command
) -> None:
    """By what `fit` looks at before it goes on from a file."""
    content = copied(checkpoint)
    change(content)
    torch.save(content, "x.ckpt")
    with pytest.raises(Refused, match=r"^--ckpt_path: "):
        look(going_on)


def test_a_checkpoint_that_is_as_it_was_is_gone_on_from(checkpoint: dict[str, Any], going_on: Command) -> None:
    """By the same looks."""
    torch.save(checkpoint, "x.ckpt")
    look(going_on)


@pytest.mark.parametrize(
    "change", [put("loops", value=3), put("loops", value=...), put("callbacks", "LinearProbes", value=7)]
)
def test_fit_refuses_parts_of_another_kind(
    change: Callable[[dict[str, Any]], None], checkpoint: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line that names the file, and nothing is written."""
    content = copied(checkpoint)
    change(content)
    torch.save(content, "x.ckpt")
    said = refused("fit --ckpt_path x.ckpt --trainer.max_epochs 2 --run two", capsys)
    assert "--ckpt_path: x.ckpt" in said
    assert not Path("runs").exists()
