"""Tests of callbacks/instruments/loggers.py, and of what instruments lose when a logger fails: nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from stratoscope.callbacks import LinearProbes, OnlineProbes


class Away(CSVLogger):
    """A logger whose server is away when probes are logged."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Fail.

        Raises:
            ConnectionError: Always.
        """
        if any("probe/" in name for name in metrics):
            raise ConnectionError("server away")
        super().log_metrics(metrics, step)


class Small(LightningModule):
    """A network of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.hidden(image).relu())
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:Away has not taken the probes")  # of the other epochs
@pytest.mark.parametrize("probes", [LinearProbes("hidden"), OnlineProbes("hidden")], ids=["linear", "online"])
def test_a_logger_that_fails_costs_neither_rows_nor_training(
    probes: LinearProbes | OnlineProbes, tmp_path: Path
) -> None:
    """It is named in a warning; the table has the numbers of every epoch, and so have other callbacks."""
    image = torch.randn(40, 4)
    loader = DataLoader(TensorDataset(image, (image[:, 0] > 0).long()), batch_size=10)
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=Away(tmp_path),
        callbacks=[probes],
        enable_checkpointing=False,
        log_every_n_steps=1,
        **quiet,
    )
    with pytest.warns(UserWarning, match="Away has not taken the probes of epoch 1: ConnectionError: server away"):
        trainer.fit(Small(), loader)
    assert trainer.current_epoch == 2
    epochs = {0, 1, 2} if isinstance(probes, LinearProbes) else {1, 2}
    assert {row["epoch"] for row in probes.table.rows} == epochs
    assert all(row["accuracy"] is not None and not row["failed"] for row in probes.table.rows)
    assert any("probe/" in name for name in trainer.callback_metrics)
