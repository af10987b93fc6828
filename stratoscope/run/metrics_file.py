"""The metrics of a run as CSV: the record that needs no account and survives every other logger."""

import csv
import time
from argparse import Namespace
from io import StringIO
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from stratoscope.files.atomic import replacing

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
        self._take({})
        self._epoch_began = time.monotonic()
        if self.file.is_file():
            with self.file.open(newline="") as text:
                rows = [{name: _number(cell) for name, cell in row.items() if cell} for row in csv.DictReader(text)]
            self._take({int(row["step"]): dict(row) for row in rows})

    def _take(self, rows: dict[int, dict[str, Any]]) -> None:
        self.rows = rows
        # in an order that does not depend on what was logged first, which an interruption changes
        self._names = sorted({name for row in rows.values() for name in row if name not in FIRST})
        self._lines: dict[int, str] = {}  # of the file, by step, as long as they are right

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
        self._put(step or 0, {**self.rows.get(step or 0, {}), **metrics})
        if any(name.startswith("train/") for name in metrics):
            self._say(self.rows[step or 0])

    @rank_zero_only
    def go_on_behind(self, step: int) -> None:
        """Forget what was logged behind a step of an epoch that goes on: it will be logged again, or not at all."""
        self._take({at: row for at, row in self.rows.items() if at < step})

    @rank_zero_only
    def complete(self, metrics: dict[str, float], step: int) -> None:
        """Add what an interruption kept from being logged to the row of a step."""
        self._put(step, {**metrics, **self.rows.get(step, {})})
        self.save()

    def _put(self, step: int, metrics: dict[str, Any]) -> None:
        self.rows[step] = {**metrics, "step": step}
        self._lines.pop(step, None)
        if new := set(metrics) - set(self._names) - set(FIRST):
            self._names, self._lines = sorted([*self._names, *new]), {}

    @rank_zero_only
    def save(self) -> None:
        """Write the file, whole or not at all; only lines that are new are made, which takes longer than writing."""
        columns = [*FIRST, *self._names]
        for step, row in self.rows.items():
            if step not in self._lines:
                self._lines[step] = _line([row.get(name, "") for name in columns])
        with replacing(self.file) as part, part.open("w", newline="") as text:
            text.write(_line(columns))
            text.writelines(line for _, line in sorted(self._lines.items()))

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


def _line(cells: list[Any]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _number(cell: str) -> int | float:
    """A cell as it was logged, so that it is written again as it stood there."""
    try:
        return int(cell)
    except ValueError:
        return float(cell)
