"""Training stops before a loss that is no number spoils the weights."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


class NotFinite(ArithmeticError):
    """A loss that is NaN or infinite."""


class FiniteLoss(Callback):
    """Raises before the backward pass of a loss that is NaN or infinite, so nothing has been updated by it.

    Looking at the loss makes an accelerator wait once a step.
    """

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the loss.

        Raises:
            NotFinite: If it is no finite number.
        """
        finite = bool(torch.isfinite(loss).all())
        if trainer.world_size > 1:  # all processes stop, or one would wait for the other's gradients
            finite = trainer.strategy.reduce_boolean_decision(finite, all=True)
        if not finite:
            epoch, batch = trainer.current_epoch + 1, trainer.fit_loop.epoch_loop.batch_idx + 1
            mean = float(trainer.strategy.reduce(loss.detach().mean(), reduce_op="mean"))  # this process's may be fine
            raise NotFinite(
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
