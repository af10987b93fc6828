"""Tests of callbacks/controls/pretrained.py."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import Pretrained
from stratoscope.commands.reproduce import reproduce
from stratoscope.errors import Refused
from stratoscope.fit.command import build
from stratoscope.models import MLP, SmallInception
from stratoscope.run.checkpoint import load_checkpoint
from tests.forked_runs import command, finish, fork_runs, forked, said
from tests.small_experiments import OPTIONS, written

DATA = "--data Digits --data.corruption RandomSubset --data.corruption.n 200 --data.batch_size 50"
FIT = f"fit --model MLP --model.width 4 {DATA} --trainer.accelerator cpu --trainer.max_epochs 3 --threads 1"
START = "--trainer.callbacks Pretrained --trainer.callbacks.checkpoint start.ckpt"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def saved(module: LightningModule, name: str = "start.ckpt") -> str:
    """A checkpoint with a network's weights."""
    torch.save({"state_dict": module.state_dict()}, name)
    return name


def differ(one: LightningModule, other: LightningModule) -> set[str]:
    """Names of weights and buffers that are not equal."""
    values = other.state_dict()
    return {name for name, value in one.state_dict().items() if not torch.equal(value, values[name])}


def test_all_weights_but_the_logits_are_taken() -> None:
    """Statistics of batch normalisation too; the logits stay as they were drawn."""
    torch.manual_seed(0)
    source, target = (SmallInception(width_multiplier=0.1) for _ in range(2))
    source(torch.randn(8, 3, 28, 28))  # moves the statistics
    logits = target.state_dict()["network.logits.weight"].clone()
    assert len(differ(target, source)) > 30
    Pretrained(saved(source)).load(target)
    assert differ(target, source) == {"network.logits.weight"}  # biases are zero in both
    assert torch.equal(target.state_dict()["network.logits.weight"], logits)


def test_other_layers_can_be_left_and_logits_taken() -> None:
    """A name is a whole part of a weight's name."""
    source, target = MLP(depth=2, width=4), MLP(depth=2, width=4)
    Pretrained(saved(source), leave=["fc1"]).load(target)
    assert differ(target, source) == {"network.fc1.weight", "network.fc1.bias"}
    Pretrained(saved(source), leave=[]).load(target)
    assert differ(target, source) == set()


def test_logits_of_other_classes_do_not_matter() -> None:
    """They are left."""
    source, target = MLP(width=4, classes=7), MLP(width=4, classes=10)
    Pretrained(saved(source)).load(target)
    assert torch.equal(source.state_dict()["network.fc1.weight"], target.state_dict()["network.fc1.weight"])


def test_checkpoints_that_do_not_fit_are_refused() -> None:
    """Other shapes, other layers, a name that is no layer's; the message has the weight and both shapes."""
    start, target = saved(MLP(depth=1, width=4)), MLP(depth=1, width=5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"network\.fc1\.weight is \(4, 2352\) in start\.ckpt, \(5, 2352\) in the model"
    ):
        Pretrained(start).load(target)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    with pytest.raises(ValueError, match=r"network\.fc2\.weight is missing in start\.ckpt"):
        Pretrained(start).load(MLP(depth=2, width=4))
    with pytest.raises(ValueError, match=r"leave names no layer logit$"):
        Pretrained(start, leave=["logit"]).load(MLP(depth=1, width=4))


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100, b"PK\x03\x04cut off"])
def test_files_that_are_no_checkpoints_are_refused(content: bytes | None) -> None:
    """Missing, empty, or something else."""
    if content is not None:
        Path("odd.ckpt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"Pretrained: (no file odd\.ckpt|odd\.ckpt (is damaged|must hold tensors only), )"
    ):
        Pretrained("odd.ckpt").load(MLP(width=4))
    torch.save([1, 2], "list.ckpt")
    with pytest.raises(ValueError, match=r"list\.ckpt must hold a state dict.*: it is a list$"):
        Pretrained("list.ckpt").load(MLP(width=4))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "backbone.", "model.", "network."])
@pytest.mark.parametrize("inside", ["state_dict", "model", "model_state_dict", None])
def test_weights_of_other_trainers_are_found(prefix: str, inside: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Under the keys and prefixes of DistributedDataParallel, torch.compile and usual training scripts."""
    source, target = MLP(depth=2, width=4), MLP(depth=2, width=4)
    weights = {f"{prefix}{name}": value for name, value in source.network.state_dict().items()}
    torch.save(weights if inside is None else {inside: weights, "epoch": 3, "args": {"lr": 0.1}}, "theirs.pt")
    with caplog.at_level("INFO"):
        Pretrained("theirs.pt", leave=[]).load(target)
    assert differ(target, source) == set()
    assert (f"read {prefix}fc1.weight as network.fc1.weight (and 5 more)" in caplog.text) == (prefix != "network.")


def test_a_compiled_part_keeps_its_place() -> None:
    """What torch.compile puts into the middle of names is no hindrance, in either direction."""
    source, target = MLP(depth=1, width=4), MLP(depth=1, width=4)
    weights = {f"network._orig_mod.{name}": value for name, value in source.network.state_dict().items()}
    torch.save(weights, "theirs.pt")
    Pretrained("theirs.pt", leave=[]).load(target)
    assert differ(target, source) == set()


def test_names_that_two_layers_could_have_are_not_guessed() -> None:
    """Where both encoder and network hold a layer of the name, a bare name is nobody's."""

    class Two(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.backbone = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    torch.save({"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}, "theirs.pt")
    with pytest.raises(ValueError, match=r"network\.weight is missing in theirs\.pt, which has weight, bias$"):
        Pretrained("theirs.pt", leave=[]).load(Two())


def test_a_file_without_weights_says_what_it_has() -> None:
    """The keys that are there."""
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, "theirs.pt")
    with pytest.raises(ValueError, match=r"theirs\.pt must hold a state dict.*: its keys are epoch, optimizer$"):
        Pretrained("theirs.pt").load(MLP(width=4))


def test_a_run_is_refused_before_it_begins() -> None:
    """In one line, without leaving a run directory."""
    with pytest.raises(Refused, match=r"Pretrained: no file start\.ckpt"):
        build(f"{FIT} {START} --run a".split())
    saved(MLP(width=5))
    with pytest.raises(Refused, match=r"fc1\.weight is \(5, 2352\)"):
        build(f"{FIT} {START} --run a".split())
    assert not Path("runs").exists()


class StopIn(Callback):
    """Asks the run to end in the middle of an epoch.

    Args:
        epoch: Which.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Send the signal."""
        if (trainer.current_epoch, batch_idx) == (self.epoch, 1):
            signal.raise_signal(signal.SIGTERM)


def test_a_run_that_goes_on_does_not_load_again() -> None:
    """It ends like an uninterrupted one, even if the checkpoint it started from has changed or gone."""
    saved(MLP(width=4))
    line = f"{FIT} {START}"
    assert finish(forked(command(f"{line} --run whole".split()))) == 0, said()
    assert finish(forked(command(f"{line} --run stopped".split(), StopIn(1)))) == 143, said()
    Path("start.ckpt").unlink()
    assert finish(forked(command(f"{line} --run stopped".split()))) == 0, said()
    whole, stopped = (load_checkpoint(f"runs/{name}/checkpoints/last.ckpt") for name in ("whole", "stopped"))
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, stopped["state_dict"][name])
    assert Path("runs/whole/metrics.csv").read_text() == Path("runs/stopped/metrics.csv").read_text()


def test_an_experiment_in_two_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second stage starts from what the first has learnt, and does better after one epoch than from scratch."""
    fork_runs(monkeypatch.setattr)
    start = {"class_path": "Pretrained", "init_args": {"checkpoint": "{run:stage=first}/checkpoints/last.ckpt"}}
    axes = {
        "stage": {
            "second": {"trainer.callbacks": [start], "trainer.max_epochs": 1},
            "first": {"trainer.max_epochs": 15, "model.optimizer": "SGD", "model.optimizer.lr": 0.1},
            "scratch": {"trainer.max_epochs": 1},
        }
    }
    options = {**OPTIONS, "model.width": 32}
    claims = [
        {
            "text": "It helps",
            "quantity": "error",
            "of": {"stage": "second"},
            "minus": {"stage": "scratch"},
            "at_most": 0,
        }
    ]
    file = written(tmp_path / "my", axes=axes, options=options, runs=[{"stage": "all"}], claims=claims)
    assert reproduce(["reproduce", str(file), "--jobs", "2"]) == 0
    folder = Path("runs/my_small/full")
    assert json.loads((folder / "report" / "verdicts.json").read_text())[0]["verdict"] == "holds"
    ends = {
        name: load_checkpoint(str(folder / name / "checkpoints" / "last.ckpt"))["state_dict"]
        for name in ("first", "second", "scratch")
    }
    distance = {
        name: float((ends[name]["network.fc1.weight"] - ends["first"]["network.fc1.weight"]).norm()) for name in ends
    }
    assert distance["second"] < distance["scratch"] / 2
    started = [json.loads((folder / name / "run.json").read_text())["started"] for name in ("first", "second")]
    ended = json.loads((folder / "first" / "run.json").read_text())["ended"]
    assert started[0] <= ended <= started[1]
