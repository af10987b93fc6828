"""The LightningModule around every network: cross-entropy on the given labels, and the metrics."""

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stratoscope.datamodules import Batch
from stratoscope.models.label_metrics import LabelMetrics


class Classifier(LightningModule):
    """Trains a network to give the given labels, as Zhang et al. 2017 do.

    Logs `train/...` and `test/...` once an epoch (see `LabelMetrics`), with `epoch` counting finished epochs. Training
    metrics are sums over the epoch, so the weights change under them.

    Args:
        network: Maps images (n, channels, height, width) to logits (n, classes).
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the learning-rate schedule from the optimiser; stepped once an epoch.
    """

    def __init__(self, network: nn.Module, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network", "optimizer", "scheduler"])
        self.network = network
        self.optimizer, self.scheduler = optimizer, scheduler
        self.train_metrics, self.test_metrics = LabelMetrics(), LabelMetrics()

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (n, classes) of a batch of images."""
        logits: Tensor = self.network(image)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy on the given labels."""
        logits = self(batch.image)
        self.train_metrics.update(logits, batch)
        return cross_entropy(logits, batch.given_label)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self.test_metrics.update(self(batch.image), batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self.test_metrics.update(self(batch.image), batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return index, true label (n) and class probabilities (n, classes) of a batch."""
        return {"index": batch.index, "true_label": batch.true_label, "probability": self(batch.image).softmax(1)}

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_epoch("train", self.train_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_epoch("test", self.test_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_epoch("test", self.test_metrics)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimiser and the schedule of the config."""
        optimizer = self.optimizer(self.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}

    def _log_epoch(self, split: str, metrics: LabelMetrics) -> None:
        means: dict[str, Any] = {f"{split}/{name}": mean for name, mean in metrics.compute().items()}
        metrics.reset()
        if self.trainer.state.fn == "fit":
            means |= {"epoch": float(self.current_epoch + 1), "step": float(self.global_step)}  # read by the loggers
        self.log_dict(means)
