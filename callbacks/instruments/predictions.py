"""What `predict` leaves: one row per test image."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from stratoscope.files.atomic import replacing
from stratoscope.probes import Shard


class Predictions(Callback):
    """Writes `predictions.csv` to the logger's folder: index, true label, predicted label and class probabilities."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Tensor]] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the predictions of a batch."""
        self.batches.append({name: part.cpu() for name, part in outputs.items()})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions of all processes, in the original order."""
        mine = (
            {name: torch.cat([batch[name] for batch in self.batches]) for name in self.batches[0]}
            if self.batches
            else {}
        )
        parts = Shard(trainer.global_rank, trainer.world_size).share({trainer.global_rank: mine})
        file = Path(trainer.log_dir or trainer.default_root_dir) / "predictions.csv"
        if not trainer.is_global_zero:
            return
        whole = [part for part in parts.values() if part]
        index, true_label, probability = (
            torch.cat([part[name] for part in whole]) for name in ("index", "true_label", "probability")
        )
        with replacing(file) as part_file, part_file.open("w", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["index", "true_label", "predicted_label", *(f"p{c}" for c in range(probability.shape[1]))])
            for row in index.argsort().tolist():
                shares = probability[row].tolist()
                writer.writerow([int(index[row]), int(true_label[row]), int(probability[row].argmax()), *shares])
