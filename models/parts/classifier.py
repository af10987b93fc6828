"""The LightningModule around every network: cross-entropy on the given labels, and the metrics."""

from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from stratoscope.datamodules import Batch
from stratoscope.datamodules.set_names import named_sets
from stratoscope.models.parts.initialisation import initialise
from stratoscope.models.parts.label_metrics import LabelMetrics
from stratoscope.models.parts.loss import batch_loss
from stratoscope.models.schedules import Interval, when_stepped


class Classifier(LightningModule):
    """Trains a network to give the given labels, as Zhang et al. 2017 do.

    Logs `train/...` and `test/...` once an epoch (see `LabelMetrics`), and the same for every further test set under
    its name, with `epoch` counting finished epochs. Training metrics are sums over the epoch, so the weights change
    under them.

    Args:
        network: Maps images (n, channels, height, width) to logits (n, classes).
        optimizer: Makes the optimiser from the parameters.
        scheduler: Makes the learning-rate schedule from the optimiser.
        initialisation: Draws the weights anew: he_normal, glorot_uniform, orthogonal, simple, zero, ... (all of them in
            `initialise`); as_built leaves them as they are.
        channels_last: Whether images and convolutions lie in memory with the channels last: faster on most devices.
        compile: Whether torch.compile makes the network faster; needs a C++ compiler, and some time at the start.
            Probes run the network as it is written.
        interval: When the schedule is stepped: after every epoch or every step. None: every step for OneCycleLR and
            CyclicLR, which are made for it, and every epoch for others.
        monitor: Name of the metric that ReduceLROnPlateau watches, such as test/loss; None: train/loss.

    Attributes:
        image_shape: Channels, height and width of the images the defaults are made for.
    """

    image_shape: ClassVar[tuple[int, int, int]] = (3, 28, 28)

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable,
        initialisation: str = "as_built",
        channels_last: bool = False,
        compile: bool = False,
        interval: Interval | None = None,
        monitor: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network", "optimizer", "scheduler"])
        initialise(network, initialisation)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.memory_format)
        if compile:
            self.network.compile()  # in place: the names of its parts stay
        self.optimizer, self.scheduler = optimizer, scheduler
        self.interval: Interval | None = interval
        self.monitor = monitor
        self.train_metrics = LabelMetrics()
        self.test_metrics: dict[str, LabelMetrics] = {}  # by the name of the test set

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits (n, classes) of a batch of images."""
        logits: Tensor = self.network(image.contiguous(memory_format=self.memory_format))
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy on the given labels."""
        logits = self(batch.image)
        self.train_metrics.update(logits, batch)
        return batch_loss(logits, batch)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Measure a batch of a test set and return its logits, for callbacks."""
        logits: Tensor = self(batch.image)
        list(self.test_metrics.values())[dataloader_idx].update(logits, batch)
        return logits

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Measure a batch of a test set and return its logits, for callbacks."""
        return self.validation_step(batch, batch_idx, dataloader_idx)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Return index, true label (n) and class probabilities (n, classes) of a batch."""
        return {"index": batch.index, "true_label": batch.true_label, "probability": self(batch.image).softmax(1)}

    def on_train_epoch_end(self) -> None:
        """Log the training metrics of the epoch."""
        self._log_epoch("train", self.train_metrics)

    def on_validation_epoch_start(self) -> None:
        """Make metrics for every test set."""
        self._measure(self.trainer.val_dataloaders, "val")

    def on_test_epoch_start(self) -> None:
        """Make metrics for every test set."""
        self._measure(self.trainer.test_dataloaders, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all test sets."""
        for name, metrics in self.test_metrics.items():
            self._log_epoch(name, metrics)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all test sets."""
        self.on_validation_epoch_end()

    def make_optimizer(self) -> Optimizer:
        """Make the optimiser of the config."""
        return self.optimizer(self.parameters())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimiser and the schedule of the config."""
        optimizer = self.make_optimizer()
        schedule: Any = when_stepped(self.scheduler(optimizer), self.interval, self.monitor)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _measure(self, loaders: Any, default: str) -> None:
        """Make metrics for every set that is validated or tested; those without a name are called as given."""
        self.test_metrics = {name: LabelMetrics().to(self.device) for name in named_sets(loaders, default)}

    def _log_epoch(self, split: str, metrics: LabelMetrics) -> None:
        means: dict[str, Any] = {f"{split}/{name}": mean for name, mean in metrics.compute().items()}
        metrics.reset()
        if self.trainer.state.fn == "fit":
            means |= {"epoch": float(self.current_epoch + 1), "step": float(self.global_step)}  # read by the loggers
        self.log_dict(means)
