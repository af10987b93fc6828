"""A small network with dropout in a plain Trainer, without the command line: 4 steps an epoch, then a validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from stratoscope.datamodules import Batch, Digits, RandomSubset

STEPS = 4


class Logging(LightningModule):
    """Logs a mean, a metric and a value of every step, in training and validation.

    Attributes:
        drawn: What dropout's generator gave at every step, as (epoch, step, number).
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 8), nn.Dropout(), nn.Linear(8, 10))
        self.accuracy = MulticlassAccuracy(10)
        self.drawn: list[tuple[int, int, float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Draw, and log in every way."""
        self.drawn.append((self.current_epoch, batch_idx, float(torch.rand(()))))
        logits = self.network(batch.image)
        loss = cross_entropy(logits, batch.given_label)
        self.accuracy(logits, batch.given_label)
        self.log("mean", loss, on_epoch=True, on_step=False)
        self.log("most", loss, on_epoch=True, on_step=False, reduce_fx="max")
        self.log("accuracy", self.accuracy, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Draw, which is to change nothing."""
        torch.rand(7)
        self.log("val", cross_entropy(self.network(batch.image), batch.true_label))

    def configure_optimizers(self) -> Any:
        """An optimiser with state, and a schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


def trainer(callbacks: Sequence[Callback], **settings: Any) -> Trainer:
    """A quiet one for two epochs."""
    names = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    whole = {**dict.fromkeys(names, False), "max_epochs": 2, "num_sanity_val_steps": 0, **settings}
    return Trainer(accelerator="cpu", callbacks=list(callbacks), **whole)


def data() -> Digits:
    """200 images, in batches of 50."""
    return Digits(batch_size=50, corruption=RandomSubset(200))


class Saving(Callback):
    """Saves a checkpoint in a hook, and stops there.

    Args:
        file: Where to.
        hook: In which.
        epoch: When.
        step: Of the epoch, if the hook is one of batches.
    """

    def __init__(self, file: Path, hook: str, epoch: int, step: int = STEPS - 1) -> None:
        def save(trainer: Trainer, module: LightningModule, *rest: Any) -> None:
            if trainer.current_epoch == epoch and (not rest or rest[-1] == step):
                trainer.save_checkpoint(file)
                raise RuntimeError("stopped")

        setattr(self, hook, save)


def stopped(
    file: Path, hook: str, epoch: int, step: int = STEPS - 1, guards: Sequence[Callback] = (), **more: Any
) -> Path:
    """The checkpoint of a training from seed 0 that is stopped in a hook."""
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match="stopped"):
        trainer([*guards, Saving(file, hook, epoch, step)], **more).fit(Logging(), datamodule=data())
    return file
