"""What every instrument is: it measures a network while that trains, and changes nothing."""

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from stratoscope.callbacks.instruments.loggers import tabulate_to_all
from stratoscope.callbacks.instruments.own_files import NAME, OwnFiles
from stratoscope.callbacks.progress.above import messages_above
from stratoscope.callbacks.progress.time_left import Stopwatch
from stratoscope.callbacks.samples.probed_sets import GIVEN, TRAIN, TRUE
from stratoscope.files.table import EpochTable
from stratoscope.probes import FailedTogether

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # a disk


@dataclass(frozen=True)
class Planned:
    """A run that is about to begin.

    Attributes:
        module: The network.
        batch: A few samples.
        sets: The training set, called train, and the test sets by name: each has a length, and in `data` the tensors
            `given_label` and `true_label`.
        classes: Number of classes.
        epochs: How many epochs will be trained; None if there is no bound, 0 if nothing is trained.
    """

    module: LightningModule
    batch: Any
    sets: Mapping[str, Any]
    classes: int
    epochs: int | None

    @property
    def kinds(self) -> list[str]:
        """The kinds of labels: given ones where they are not the true ones."""
        train = self.sets[TRAIN].data
        return [TRUE, GIVEN] if bool((train.given_label != train.true_label).any()) else [TRUE]


class Instrument(Callback, ABC):
    """A callback that measures, and leaves training bit for bit as it is.

    The command line, expected times, `load_runs`, `show`, reports and loggers ask an instrument what they have to
    know; none of them knows one by name. Rows go into tables (`EpochTable`), which are written by and read from the
    files of their names.

    Args:
        name: Tells several instruments of one class in a run apart, in file names and metrics.
    """

    TABLE: ClassVar[str] = ""  # name of its (first) table, such as probes

    def __init__(self, name: str | None) -> None:
        if not self.TABLE:
            raise TypeError(f"{type(self).__name__} has no TABLE: give the class the name of its table")
        if name is not None and not re.fullmatch(NAME, name):
            raise ValueError(f"name must be letters, digits and '_', starting with a letter; got {name!r}")
        self.name, self.files = name, OwnFiles(name, f"{self.TABLE}.csv")
        self.watch, self._above = Stopwatch(), ExitStack()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have what is said come to stand above the trainer's bar."""
        self._above.close()
        self._above.enter_context(messages_above(trainer.progress_bar_callback))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Pass tables to the trainer's loggers, and leave those of Python as they were."""
        if trainer.is_global_zero and stage in {"fit", "validate"}:
            tables = {self.files.path(f"{name}.csv"): table for name, table in self.tables.items()}
            tabulate_to_all(trainer, {file: table for file, table in tables.items() if table.epochs})
        self._above.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the loggers as they were."""
        self._above.close()

    @classmethod
    def prefix(cls) -> str:
        """How its metrics begin: a row of the table probes is a probe."""
        return cls.TABLE.removesuffix("s")

    @property
    def state_key(self) -> str:
        """A key for each name, under which checkpoints have this callback's state."""
        return super().state_key if self.name is None else f"{super().state_key}[{self.name}]"

    @property
    def tables(self) -> dict[str, EpochTable]:
        """Its tables by name, which is that of the file: an attribute `table` is the first."""
        table = getattr(self, "table", None)
        return {self.TABLE: table} if isinstance(table, EpochTable) else {}

    def due(self, epoch: int) -> bool:
        """Whether there is something to measure after this number of epochs; 0 is the untrained network."""
        return epoch > 0

    def refuse(self, planned: Planned) -> list[str]:
        """Look for what would keep a run from being measured.

        Args:
            planned: The run.

        Returns:
            What is to be said of it, a line each.

        Raises:
            ValueError: If it cannot be measured; the text says why.
        """
        return []

    @abstractmethod
    def metric_names(self, planned: Planned) -> Iterator[str]:
        """Names of the metrics that other callbacks may watch.

        Args:
            planned: The run.
        """

    def comes_too_late(self, at_epoch_end: bool) -> str:
        """What to change where a metric is looked at, in the first epoch, before it is there; empty if it is there.

        Args:
            at_epoch_end: Whether it is looked at when the epoch has ended, instead of after a validation.
        """
        return "" if at_epoch_end else "let it look at the end of the training epoch"

    def expected_seconds(self, planned: Planned, look: float) -> float:
        """How long it will take in a whole run, in seconds, beside training and validation.

        Args:
            planned: The run; its network is on the device, and runs with the precision, of the training.
            look: Seconds of a forward pass of one sample.
        """
        return 0.0

    def seconds_ahead(self, epochs: Sequence[int]) -> float:
        """How long it will still take, in seconds, as long each time as last time.

        Args:
            epochs: Numbers of epochs to come, without the one behind which it may be at work.
        """
        to_come = epochs[1:] if self.watch.now else epochs
        rest = max(0.0, self.watch.last - self.watch.now) if self.watch.now else 0.0
        return rest + (self.watch.last * sum(map(self.due, to_come)) if self.watch.last else 0.0)

    def metric(self, *parts: str) -> str:
        """The name that loggers and other callbacks know a metric by, such as probe/true_label/test/fc1.

        Args:
            *parts: What comes behind the instrument's own name.
        """
        return "/".join([self.prefix(), *([self.name] if self.name else []), *parts])

    def accuracies(self, epoch: int) -> dict[str, float]:
        """Metrics of an epoch by name.

        Args:
            epoch: Number of finished epochs.
        """
        return {}

    def watched(self, epoch: int) -> dict[str, Tensor]:
        """The same as Lightning's callbacks take them."""
        return {name: torch.tensor(value) for name, value in self.accuracies(epoch).items()}


def costs_rows(instrument: Instrument, trainer: Trainer, epoch: int, error: Exception, fails: bool = False) -> str:
    """What went wrong between two epochs costs rows of a table, not the training; it is said in a warning.

    Args:
        instrument: Whose rows.
        trainer: The trainer.
        epoch: Number of finished epochs.
        error: What went wrong.
        fails: Whether it is an error all the same, as when a stored network is measured.

    Returns:
        The reason, for the rows.

    Raises:
        Exception: The error, where nothing else could be written either, or other processes are waiting for this one.
    """
    if getattr(error, "errno", None) in FULL:
        raise error  # the run ends, and goes on when there is room
    if fails or (trainer.world_size > 1 and not isinstance(error, FailedTogether)):
        raise error
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    what = instrument.TABLE.replace("_", " ")
    rank_zero_warn(f"{what} of epoch {epoch} failed, and training goes on: {reason}")
    return reason
