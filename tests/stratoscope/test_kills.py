"""Runs of any kind, ended at any moment, go on and end as if nothing had happened: weights, tables, files.

A run is drawn from all the ways there are to bound, validate, watch and save it, so that every two of them come
together; then it is ended, by `kill -9` or by a signal, when a drawn number of Python functions has been called, and
started again. What is drawn follows from STRATOSCOPE_TEST_KILL_SEED; `make test-all` ends runs STRATOSCOPE_TEST_KILLS
times.
"""

import os
import random
import signal
import sys
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from stratoscope.datamodules import Batch
from stratoscope.fit.command import Command, build
from tests.forked_runs import command, finish, forked, said
from tests.interrupted_runs import assert_same_runs

SEED = int(os.environ.get("STRATOSCOPE_TEST_KILL_SEED", "0"))
KILLS = int(os.environ.get("STRATOSCOPE_TEST_KILLS", "200"))
FEW, TWICE, OFTEN = 10, 2, 4  # kinds of runs in `make test`, and kills of each; the same in `make test-all`
SHAPES = "--data Shapes --data.size 8 --data.train_size 64 --data.test_size 40 --data.batch_size 16"
DATA = f"{SHAPES} --data.corruption RandomSubset --data.corruption.n 64"  # 4 batches an epoch
FIT = f"fit {DATA} --trainer.accelerator cpu --threads 1"
ENDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StepByStep(LightningModule):
    """Somebody's module, which logs at every step, over steps and over validation batches; with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 10))
        self.accuracy = MulticlassAccuracy(num_classes=10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy, logged in several ways."""
        logits = self(batch.image)
        loss = nn.functional.cross_entropy(logits, batch.given_label)
        self.accuracy(logits, batch.given_label)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log("train/largest", logits.abs().max(), reduce_fx="max")
        self.log("train/accuracy", self.accuracy, on_step=False, on_epoch=True)
        if batch_idx == 1:
            self.log("train/second", loss, on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss."""
        self.log("test/loss", nn.functional.cross_entropy(self(batch.image), batch.given_label))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, which has a state for every weight."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


LINEAR = "--trainer.callbacks+ LinearProbes --trainer.callbacks.taps *1 --trainer.callbacks.tolerance 0.1"
ONLINE = "--trainer.callbacks+ OnlineProbes --trainer.callbacks.taps *1"
SAVE = "--trainer.callbacks+ ModelCheckpoint"
MLP = "--model MLP --model.width 8 --model.inputs 192"
ONE_CYCLE = "--model.scheduler OneCycleLR --model.scheduler.max_lr 0.1 --model.scheduler.total_steps 999"
CHOICES: dict[str, dict[str, str]] = {
    "bound": {
        "epochs": "--trainer.max_epochs 3",
        "steps": "--trainer.max_epochs -1 --trainer.max_steps 9",
        "steps first": "--trainer.max_epochs 9 --trainer.max_steps 7",
        "epochs first": "--trainer.max_epochs 3 --trainer.max_steps 1000",
        "time and epochs": "--trainer.max_epochs 3 --trainer.max_time 01:00:00:00",
        "time and steps": "--trainer.max_epochs -1 --trainer.max_steps 8 --trainer.max_time 01:00:00:00",
        "minima": "--trainer.max_epochs 4 --trainer.min_epochs 2 --trainer.min_steps 6",
    },
    "stop": {
        "": "",
        "early": "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor train/loss "
        "--trainer.callbacks.check_on_train_epoch_end true --trainer.callbacks.patience 1 "
        "--trainer.callbacks.min_delta 0.3",
        "early, by the test set": "--trainer.callbacks+ EarlyStopping --trainer.callbacks.monitor test/loss "
        "--trainer.callbacks.patience 1 --trainer.callbacks.min_delta 0.3 --trainer.callbacks.strict false",
    },
    "batches": {
        "": "",
        "three": "--trainer.limit_train_batches 3",
        "a share": "--trainer.limit_train_batches 0.5",
        "no validation": "--trainer.limit_val_batches 0",
        "overfit": "--trainer.overfit_batches 2",
    },
    "validation": {
        "": "",
        "every second epoch": "--trainer.check_val_every_n_epoch 2",
        "twice an epoch": "--trainer.val_check_interval 0.5",
        "every second batch": "--trainer.val_check_interval 2",
        "every third of all": "--trainer.val_check_interval 3 --trainer.check_val_every_n_epoch null",
        "every sixth of all": "--trainer.val_check_interval 6 --trainer.check_val_every_n_epoch null",
    },
    "steps": {
        "": "",
        "of two batches": "--trainer.accumulate_grad_batches 2",
        "of three batches": "--trainer.accumulate_grad_batches 3",
    },
    "probes": {
        "": "",
        "linear": LINEAR,
        "online": ONLINE,
        "both": f"{LINEAR} {ONLINE}",
        "rare": f"{LINEAR} --trainer.callbacks.every_n_epochs 2 --trainer.callbacks.measures [rank,similarity]",
    },
    "averages": {
        "": "",
        "exponential": "--trainer.callbacks+ EMAWeightAveraging --trainer.callbacks.decay 0.7",
    },
    "saves": {
        "": "",
        "the best": f"{SAVE} --trainer.callbacks.monitor train/loss --trainer.callbacks.save_top_k 2 "
        "--trainer.callbacks.save_on_train_epoch_end true",
        "by steps": f"{SAVE} --trainer.callbacks.every_n_train_steps 3 --trainer.callbacks.save_top_k -1",
        "under one name": f"{SAVE} --trainer.callbacks.filename best",
    },
    "network": {
        "MLP": MLP,
        "MLP, one cycle": f"{MLP} {ONE_CYCLE}",
        "MLP, on a plateau": f"{MLP} --model.scheduler torch.optim.lr_scheduler.ReduceLROnPlateau "
        "--model.scheduler.patience 0 --model.scheduler.threshold 0.5",
        "own, by step": f"--model {StepByStep.__module__}.StepByStep --trainer.log_every_n_steps 1",
        "own, now and then": f"--model {StepByStep.__module__}.StepByStep --trainer.log_every_n_steps 3",
    },
}
Kind = tuple[str, ...]  # one of every row
Pair = tuple[int, str, int, str]


def pairs(kind: Kind) -> set[Pair]:
    """All pairs of choices in a kind of run."""
    return {(i, kind[i], j, kind[j]) for i, j in combinations(range(len(kind)), 2)}


EVERY = {
    (i, one, j, other)
    for (i, first), (j, second) in combinations(enumerate(CHOICES.values()), 2)
    for one in first
    for other in second
}


@cache
def kinds(seed: int, number: int) -> list[Kind]:
    """So many kinds of runs, each with as many pairs of choices that were not there before as can be found quickly."""
    draws, missing, found, options = random.Random(seed), set(EVERY), list[Kind](), list(map(list, CHOICES.values()))
    for _ in range(number):
        drawn = [_kind(draws, missing, options) for _ in range(5)]
        best = max(drawn, key=lambda kind: len(pairs(kind) & missing))
        missing -= pairs(best)
        found.append(best)
    return found


def _kind(draws: random.Random, missing: set[Pair], options: list[list[str]]) -> Kind:
    """A kind of run, chosen row by row."""
    kind: dict[int, str] = {}
    if missing:
        i, kind[i], j, kind[j] = draws.choice(sorted(missing))
    rest = [row for row in range(len(options)) if row not in kind]
    for row in draws.sample(rest, len(rest)):

        def new(choice: str, row: int = row) -> tuple[int, float]:
            both = (
                (other, there, row, choice) if other < row else (row, choice, other, there)
                for other, there in kind.items()
            )
            return sum(pair in missing for pair in both), draws.random()

        kind[row] = max(options[row], key=new)
    return tuple(kind[row] for row in range(len(options)))


def words(kind: Kind) -> list[str]:
    """The command line of a kind of run."""
    chosen = [options[name] for options, name in zip(CHOICES.values(), kind, strict=True)]
    return " ".join([FIT, *chosen]).split()


class Calls:
    """Counts the Python functions that are called in a run, and sends this process a signal at one of them.

    Args:
        at: At which.
        number: The signal.
    """

    def __init__(self, at: int = 0, number: int = 0) -> None:
        self.at, self.number, self.count = at, number, 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        """Count one."""
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), self.number)

    def watch(self, built: Command) -> None:
        """Run a command and leave in a file how many functions were called; a finished run is left alone."""
        if not built.directory.finished:
            sys.settrace(self)
            built.start()
            sys.settrace(None)
            Path("calls").write_text(str(self.count))

    def watch_line(self, line: list[str]) -> None:
        """The same for a command line."""
        self.watch(build(line))


def ended_and_gone_on(kind: Kind, kills: int, draws: random.Random) -> int:
    """End a run so many times and compare it with one that was let alone; return how often it was ended."""
    line = [*words(kind), "--run", "ended"]
    built = build(line)  # once for both: nothing is written, and half of the time of such a run goes into it
    assert finish(forked(partial(Calls().watch, built))) == 0, said()
    Path("runs/ended").rename("runs/whole")
    every = int(Path("calls").read_text())
    places, ended = sorted(draws.sample(range(1, every), kills)), 0
    for before, place in zip([0, *places], places, strict=False):
        number = draws.choice(ENDS)
        calls = Calls(place - before, number)
        code = finish(forked(partial(calls.watch, built) if before == 0 else partial(calls.watch_line, line)))
        assert code in {0, -number, 128 + number, 1}, said()
        ended += code != 0
    assert finish(forked(command(line))) == 0, said()
    assert_same_runs("whole", "ended")
    return ended


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("number", range(FEW))
def test_a_run_of_any_kind_ended_twice_goes_on(number: int) -> None:
    """At moments that were drawn."""
    kind = kinds(SEED, FEW)[number]
    ended_and_gone_on(kind, TWICE, random.Random(f"{SEED} {number}"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(max(1, KILLS // OFTEN)))
def test_a_run_of_any_kind_ended_again_and_again_goes_on(number: int) -> None:
    """Wherever it happens to be, each time."""
    kind = kinds(SEED, KILLS // OFTEN)[number]
    ended_and_gone_on(kind, OFTEN, random.Random(f"{SEED} {number} again"))


def test_all_pairs_of_choices_are_drawn() -> None:
    """In the long test."""
    assert set().union(*map(pairs, kinds(SEED, 200 // OFTEN))) == EVERY
