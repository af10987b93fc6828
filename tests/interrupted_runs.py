"""Runs that are ended at a moment of their training, and compared to the bit with what they would have left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from stratoscope.datamodules import Batch
from stratoscope.results.record import load_run
from stratoscope.run.checkpoint import load_checkpoint
from tests.forked_runs import command, finish, forked


def run(line: str, *callbacks: Callback) -> int:
    """Run a command line in a process of its own, with further callbacks in front, and return its exit code."""
    return finish(forked(command(line.split(), *callbacks)))


class At(Callback):
    """Sends this process a signal at a moment of its training.

    Args:
        moment: The hook.
        epoch: In which epoch.
        batch: At which batch, for hooks of batches.
        number: The signal.
    """

    def __init__(self, moment: str, epoch: int, batch: int = 0, number: int = signal.SIGKILL) -> None:
        def hook(trainer: Trainer, module: LightningModule, *rest: Any) -> None:
            if trainer.current_epoch == epoch and (not rest or rest[-1] == batch or moment.endswith("checkpoint")):
                os.kill(os.getpid(), number)

        setattr(self, moment, hook)


class Own(LightningModule):
    """Somebody's module: dropout, batch normalisation, and a schedule of steps.

    Args:
        inputs: Numbers of an image.
        steps: Length of the schedule; None asks the trainer how many steps there will be.
        rate: The largest learning rate.
    """

    def __init__(self, inputs: int = 192, steps: int | None = None, rate: float = 0.1) -> None:
        super().__init__()
        self.steps, self.rate = steps, rate
        layers = [nn.Flatten(), nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 10)]
        self.network = nn.Sequential(*layers)
        self.accuracy, self.loss = MulticlassAccuracy(num_classes=10), MeanMetric("disable")

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy."""
        logits = self(batch.image)
        loss = nn.functional.cross_entropy(logits, batch.given_label)
        self.accuracy.update(logits, batch.given_label)
        self.loss.update(loss)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the epoch."""
        self.log_dict({"train/accuracy": self.accuracy.compute(), "train/loss": self.loss.compute()})
        self.accuracy.reset()
        self.loss.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss."""
        self.log("test/loss", nn.functional.cross_entropy(self(batch.image), batch.given_label))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD whose learning rate changes after every step, up and down again over the whole run."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        total = self.steps or int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=self.rate, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


# dropout, batch normalisation, momentum, a learning rate and a momentum that change at every step
DATA = "--data Shapes --data.size 8 --data.train_size 50 --data.test_size 20 --data.batch_size 10"
OPTIONS = f"{DATA} --data.corruption RandomLabels --data.augmentation RandomFlip --trainer.accelerator cpu"
PLAIN = f"fit --model {Own.__module__}.Own {OPTIONS} --trainer.max_epochs 3"
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps network.3 --trainer.callbacks.tolerance 0.1"
FIT = f"{PLAIN} {PROBES}"
STEPS = 5  # of an epoch


PARTS = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "epoch", "global_step")
LOOPS = ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict")


def saved(name: str) -> dict[str, Any]:
    """The last checkpoint of a run."""
    return load_checkpoint(f"runs/{name}/checkpoints/last.ckpt")


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """The places at which two nested values are not equal to the bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            yield from differences(one.get(name), other.get(name), f"{where}/{name}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}/{number}")
    elif not (torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other):
        yield where


def assert_same_runs(one: str, other: str) -> None:
    """All that two finished runs have left is the same: files, tables, weights; but for their names and times."""
    runs = Path("runs", one), Path("runs", other)
    files = [sorted(str(file.relative_to(run)) for file in run.rglob("*")) for run in runs]
    files = [[name for name in names if "previous.ckpt" not in name] for names in files]  # more may have been saved
    assert files[0] == files[1], files
    for name in files[0]:
        if name.endswith(".csv"):
            assert (runs[0] / name).read_text() == (runs[1] / name).read_text(), name
        if name.endswith(".ckpt"):
            apart = list(differences(_kept(runs[0] / name), _kept(runs[1] / name)))
            assert not apart, (name, apart)
    for folder in runs:
        assert load_run(folder).status == "finished"
        assert all(file.stat().st_nlink == 1 for file in folder.rglob("*.ckpt"))


def _kept(file: Path) -> dict[str, Any]:
    """The parts of a checkpoint that do not depend on when and how often a run was ended."""
    checkpoint = load_checkpoint(str(file))
    loops = checkpoint["loops"]["fit_loop"]
    return {part: checkpoint.get(part) for part in PARTS} | {part: loops[part] for part in LOOPS}
