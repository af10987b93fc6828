"""The metrics of a run as CSV: the record that needs no account and survives every other logger."""

import csv
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from stratoscope.callbacks.atomic import replacing

FIRST = ["epoch", "step"]


class MetricsFile(Logger):
    """Keeps `metrics.csv` in the run directory, one row per logged step, and prints a line per epoch.

    A step logged again, as after an interruption, replaces what was there.

    Args:
        folder: The run directory. An earlier `metrics.csv` in it is continued.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        self._epoch_began = time.monotonic()
        if self.file.is_file():
            with self.file.open(newline="") as text:
                self.rows = {int(row["step"]): {k: v for k, v in row.items() if v} for row in csv.DictReader(text)}

    @property
    def name(self) -> str:
        """Nothing: Lightning puts checkpoints below save_dir/name/version, which is the run directory itself."""
        return ""

    @property
    def version(self) -> str:
        """Nothing, as for the name."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.file.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the run directory has the whole config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add metrics to the row of a step."""
        self.rows.setdefault(step or 0, {}).update({**metrics, "step": step or 0})
        if any(name.startswith("train/") for name in metrics):
            self._say(self.rows[step or 0])

    @rank_zero_only
    def complete(self, metrics: dict[str, float], step: int) -> None:
        """Add what an interruption kept from being logged to the row of a step."""
        self.rows[step] = {**metrics, "step": step, **self.rows.get(step, {})}
        self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole or not at all."""
        # in an order that does not depend on what was logged first, which an interruption changes
        names = sorted({name for row in self.rows.values() for name in row if name not in FIRST})
        with replacing(self.file) as part, part.open("w", newline="") as text:
            writer = csv.DictWriter(text, FIRST + names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for _, row in sorted(self.rows.items()))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what was logged last."""
        if self.rows:
            self.save()

    def _say(self, row: dict[str, Any]) -> None:
        seconds, self._epoch_began = time.monotonic() - self._epoch_began, time.monotonic()
        parts = []
        for split in ("train", "val", "test"):
            means = {name.removeprefix(f"{split}/"): v for name, v in row.items() if name.startswith(f"{split}/")}
            if "loss" in means and "accuracy" in means:
                named = {k.removeprefix("accuracy_"): v for k, v in means.items() if k.startswith("accuracy_")}
                apart = ", ".join(f"{name} {100 * value:.1f}" for name, value in named.items())
                accuracy = f"{100 * means['accuracy']:.1f} %" + (f" ({apart})" if apart else "")
                parts.append(f"{split} loss {means['loss']:.4f}, accuracy {accuracy}")
        if parts:
            rank_zero_info(f"epoch {row.get('epoch', 0):.0f}: {'; '.join(parts)} ({seconds:.0f} s)")
