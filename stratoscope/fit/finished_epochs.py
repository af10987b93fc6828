"""Every number of a run is filed under the number of finished epochs, whoever logs it."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from stratoscope.callbacks.guards.exact_loops import finished_epochs
from stratoscope.models import Classifier


class FinishedEpochs(Callback):
    """Tells the loggers the number of finished epochs with the metrics of every epoch, as our Classifier does.

    Lightning would count the epochs before the one under way, and so file the metrics of the first epoch under 0, where
    the probes of the untrained network are; and all that is measured on a stored network.
    """

    def __init__(self) -> None:
        self.stored = 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many epochs a stored network was trained for."""
        self.stored = finished_epochs(checkpoint)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell it with what is logged at the end of the epoch."""
        self._tell(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell it with what is logged of the validation."""
        self._tell(trainer, pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell it with what is logged of the test."""
        self._tell(trainer, pl_module)

    def _tell(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            module.log("epoch", float(self.stored))
        elif not isinstance(module, Classifier):
            module.log_dict({"epoch": float(trainer.current_epoch + 1), "step": float(trainer.global_step)})
