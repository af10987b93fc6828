"""What instruments share that freeze the network and run it on whole sets: when, on what, and what a failure costs."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from stratoscope.callbacks.guards.exact_loops import finished_epochs
from stratoscope.callbacks.instruments.instrument import Instrument, costs_rows
from stratoscope.callbacks.samples.probed_sets import ProbedSet, as_validated, labelled_batch
from stratoscope.probes import Call, LabelledBatch, Shard, frozen
from stratoscope.probes.reading.batches import BatchReading, check_reading
from stratoscope.probes.reading.calls import Forward

FIRST = 100  # samples looked at before all are read


class FrozenInstrument(Instrument):
    """An instrument that measures the network between two epochs, or a stored one (`validate`).

    The network is frozen meanwhile and put back as it was, bit for bit. What goes wrong after the first epoch costs
    rows of a table, never the training; on several processes all fail alike.

    Args:
        name: See `Instrument`.
        batch: What batches consist of, where it is not found out, see `read_batch`.
        forward: How the network is run, where it is not found out, see `choose_call`.
    """

    def __init__(self, name: str | None, batch: BatchReading | None = None, forward: Forward | None = None) -> None:
        super().__init__(name)
        check_reading(batch)
        self.batch, self.forward = batch, forward
        self._call: Call | None = None
        self._stored_epoch = 0
        self._compared, self._put_back = False, True  # is the network what it was after the first measurement?

    @abstractmethod
    def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Measure the frozen network, and file what is found."""

    @abstractmethod
    def _file_failure(self, epoch: int, reason: str) -> None:
        """File that, and why, there are no results of an epoch."""

    @abstractmethod
    def _publish(self, trainer: Trainer, epoch: int) -> None:
        """Write tables, and pass numbers and pictures to the loggers."""

    @abstractmethod
    def _begin_stored(self, trainer: Trainer, module: LightningModule) -> None:
        """Forget what a checkpoint remembers, before a stored network is measured."""

    @abstractmethod
    def _print(self, trainer: Trainer) -> None:
        """Print what was found."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that a stored network will be measured.

        Raises:
            ValueError: If no batch is validated, as nothing comes behind the last one then.
        """
        super().setup(trainer, pl_module, stage)
        if stage == "validate" and trainer.limit_val_batches == 0:
            raise ValueError(f"limit_val_batches is 0: {type(self).__name__} measures behind the last batch validated")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure a stored network (`validate`)."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._call = None
            self.files.forget()
            self._begin_stored(trainer, pl_module)
            self.measure(trainer, pl_module, self._stored_epoch)
            self._print(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many epochs a stored network was trained for."""
        self._stored_epoch = finished_epochs(checkpoint)

    def measure(self, trainer: Trainer, pl_module: LightningModule, epoch: int, fails: bool = True) -> None:
        """Measure the network, now.

        Args:
            trainer: The trainer, whose data loaders give training and validation sets.
            pl_module: The network.
            epoch: Number of finished epochs, to file the results under.
            fails: Whether what goes wrong is an error; otherwise it costs the rows of the epoch, which say why.
        """
        if not self._put_back:
            return
        with self.watch.running(), self._left_as_it_is(trainer, pl_module):
            try:
                self._measure(trainer, pl_module, epoch)
            except Exception as error:
                self._file_failure(epoch, costs_rows(self, trainer, epoch, error, fails))
            self._publish(trainer, epoch)

    @contextmanager
    def _left_as_it_is(self, trainer: Trainer, module: LightningModule) -> Iterator[None]:
        """Freeze the network and, the first time, see whether it is what it was afterwards."""
        with frozen(module, compare=not self._compared) as changed, as_validated(trainer):
            yield
        self._compared = True
        self._put_back = trainer.strategy.reduce_boolean_decision(not changed)
        if not self._put_back:
            where = f"{', '.join(changed[:5])}{', ...' * (len(changed) > 5)}"
            rank_zero_warn(
                f"{type(self).__name__} changes {type(module).__name__} in {where}, "
                "which cannot be put back: it does not measure again, and training goes on"
            )

    def _some(self, trainer: Trainer, part: ProbedSet, size: int = FIRST) -> LabelledBatch:
        """Some samples of a set."""
        batch = next(iter(part.blocks([part.indices[:size]])))
        return labelled_batch(trainer, batch, part.place, self.batch, type(self).__name__)


def shard_of(trainer: Trainer) -> Shard:
    """This process's share of the work.

    Args:
        trainer: Whose processes.
    """
    return Shard(trainer.global_rank, trainer.world_size, trainer.strategy.root_device)
