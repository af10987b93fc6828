"""Training stops before a NaN or infinite loss spoils the weights."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from stratoscope.errors import NotFinite


class FiniteLoss(Callback):
    """Raises before a loss that is NaN or infinite has updated anything.

    On a CPU, with several processes and under manual optimisation, before the backward pass. Otherwise a single GPU is
    asked then, and its answer read before the optimiser's step: it has the backward pass to do meanwhile, so that
    looking costs it no time.
    """

    def __init__(self) -> None:
        # losses whose answer is under way, with their batches
        self._asked: list[tuple[Tensor, int, Tensor, torch.cuda.Event]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was asked in a training that broke off."""
        self._asked = []

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the loss, or ask the GPU to.

        Raises:
            NotFinite: If it is no finite number.
        """
        finite = torch.isfinite(loss.detach()).all()
        if trainer.world_size > 1:  # all processes stop, or one would wait for the other's gradients
            finite = torch.tensor(trainer.strategy.reduce_boolean_decision(bool(finite), all=True))
        elif loss.is_cuda and pl_module.automatic_optimization:
            answer, told = torch.empty((), dtype=torch.bool, pin_memory=True), torch.cuda.Event()
            answer.copy_(finite, non_blocking=True)
            told.record()
            self._asked.append((loss.detach(), _batch(trainer), answer, told))
            return
        if not finite:
            raise NotFinite(_said(trainer, loss, _batch(trainer)))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Read the GPU's answer.

        Raises:
            NotFinite: If a loss is no finite number.
        """
        asked, self._asked = self._asked, []
        for loss, batch, finite, told in asked:
            told.synchronize()
            if not finite:
                raise NotFinite(_said(trainer, loss, batch))


def _batch(trainer: Trainer) -> int:
    return trainer.fit_loop.epoch_loop.batch_idx + 1


def _said(trainer: Trainer, loss: Tensor, batch: int) -> str:
    epoch = trainer.current_epoch + 1
    mean = float(trainer.strategy.reduce(loss.detach().mean(), reduce_op="mean"))  # this process's may be fine
    return (
        f"the loss is {mean} at step {trainer.global_step + 1} (epoch {epoch}, "
        f"batch {batch}); it has changed no weight; {_last_good(trainer)}; try a smaller learning rate"
    )


def _last_good(trainer: Trainer) -> str:
    saved: list[Any] = [
        callback.best_model_path or callback.last_model_path
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
    ]
    files = [file for file in saved if file]
    return f"the last good checkpoint is {files[-1]}" if files else "there is no checkpoint yet"
