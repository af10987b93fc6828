"""What every instrument is: it measures a network while that trains, and changes nothing."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor

from stratoscope.callbacks.instruments.own_files import NAME, OwnFiles
from stratoscope.callbacks.samples.probed_sets import GIVEN, TRAIN, TRUE


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

    @classmethod
    def prefix(cls) -> str:
        """How its metrics begin: a row of the table probes is a probe."""
        return cls.TABLE.removesuffix("s")

    @property
    def state_key(self) -> str:
        """A key for each name, under which checkpoints have this callback's state."""
        return super().state_key if self.name is None else f"{super().state_key}[{self.name}]"

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
