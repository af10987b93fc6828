"""How far training has come in the space of weights: norms, distances, length of the trajectory (Keskar 2017)."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from stratoscope.callbacks.guards.exact_loops import finished_epochs
from stratoscope.callbacks.instruments.instrument import Instrument, Planned, costs_rows
from stratoscope.callbacks.instruments.loggers import log_to_all, show_to_all
from stratoscope.callbacks.instruments.own_files import distinct, folder, goes_on
from stratoscope.callbacks.pictures.distances_figure import draw_distances
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.seldom import Seldom
from stratoscope.files.table import EpochTable, Row, kinds_of
from stratoscope.models.parts.weights import weights_of_same
from stratoscope.probes.landscape.distances import WHOLE, norms
from stratoscope.probes.landscape.parameters import FlatParameters

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = kinds_of("epoch", "layer", "measure", "value")
NORM, START, TRAJECTORY = "norm", "from_start", "trajectory"


class Distances(Instrument):
    """Norms of the weights, their distance from the start and the length of the way there, for the network and layers.

    All are Euclidean, of trainable weights, tied ones once. The trajectory's length is the sum of the distances between
    one measurement and the next, so it is measured the better the more often. The start is where training began, or
    where it was first measured. On a stored run (`validate --ckpt_path FILE`) there are norms, and distances to other
    solutions. A checkpoint of a run has two copies of the weights more, to go on from.

    Writes `distances.csv` (one row per epoch, layer and measure: `norm`, `from_start`, `trajectory`, and `to NAME` for
    every other solution; the layer `(all)` is the whole network) and `distances.png`; passes what is of the whole
    network to every logger, as `distance/norm` and so on.

    Args:
        to: Checkpoints of other solutions of the same network, such as runs/NAME/checkpoints/last.ckpt, to measure the
            distance to. No code from them is ever run.
        every_n_epochs: Measure at initialisation and after every so many epochs.
        epochs: Measure after these numbers of epochs instead (0 is at initialisation).
        name: Tells several Distances in one run apart: of `other`, the files are `distances_other.csv` and so on.
    """

    TABLE = "distances"

    def __init__(
        self,
        to: str | list[str] | None = None,
        every_n_epochs: int = 1,
        epochs: list[int] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be 1 or more, got {every_n_epochs}")
        if epochs is not None and min(epochs, default=-1) < 0:
            raise ValueError(f"epochs must be numbers from 0, got {epochs}")
        self.to = [] if to is None else [to] if isinstance(to, str) else list(to)
        if twice := next((one for place, one in enumerate(self.to) if one in self.to[:place]), None):
            raise ValueError(f"to has {twice} twice")
        self.every_n_epochs, self.epochs = every_n_epochs, epochs
        self._others: dict[str, Tensor] = {}  # by measure
        self._pictures = Seldom()
        self._stored_epoch = 0
        self._forget()

    def _forget(self) -> None:
        self.table, self._whole = EpochTable(COLUMNS), True
        self.origin = Origin()
        self.start: Tensor | None = None  # weights, and at the last measurement
        self.last: Tensor | None = None
        self.length: dict[str, float] = {}  # of the trajectory so far, by layer

    def frame(self) -> "DataFrame":
        """The table as a pandas DataFrame, see `EpochTable.frame`."""
        return self.table.frame()

    def due(self, epoch: int) -> bool:
        """Whether to measure after this number of epochs."""
        return epoch in self.epochs if self.epochs is not None else epoch % self.every_n_epochs == 0

    def refuse(self, planned: Planned) -> list[str]:
        """See whether the other solutions are of the same network.

        Raises:
            ValueError: If not; the first layer that differs is named.
        """
        self._read(planned.module)
        if planned.epochs and not any(map(self.due, range(planned.epochs + 1))):
            raise ValueError(f"--trainer.callbacks.epochs: none of {self.epochs} comes in {planned.epochs} epochs")
        return []

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """Those of the whole network."""
        of_training = [START, TRAJECTORY] if planned.epochs != 0 else []
        yield from map(self._metric, [NORM, *of_training, *(f"to {name}" for name in distinct(self.to))])

    def comes_too_late(self, at_epoch_end: bool) -> str:
        """Nothing if the untrained network is measured."""
        if self.due(0) or (at_epoch_end and self.due(1)):
            return ""
        return f"add 0, the network at initialisation, to the epochs {self.epochs} of Distances"

    def _read(self, module: LightningModule) -> dict[str, Tensor]:
        """Weights of the other solutions, by measure.

        Raises:
            ValueError: If one is not of the same network.
        """
        parameters, own = FlatParameters(module), module.state_dict()
        try:
            named = zip(distinct(self.to), self.to, strict=True)
            return {f"to {name}": parameters.vector_of(weights_of_same(file, own)) for name, file in named}
        except ValueError as error:
            raise ValueError(f"Distances: {error}") from error

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training starts, and measure there."""
        if trainer.global_step == 0:
            self._forget()
        self.files.begin(trainer, {"distances.csv": self.table}, self._whole)
        self._whole = True
        self._others = self._read(pl_module)
        self.origin = Origin.of_trainer(trainer, pl_module)
        self._pictures = Seldom(owed=trainer.is_global_zero and goes_on(trainer) and bool(self.table.epochs))
        if self.table.epochs:  # a run that goes on: what was known when it was interrupted
            trainer.callback_metrics.update(self.watched(self.table.epochs[-1]))
        if not goes_on(trainer):  # the table of the run before has its rows
            self.table.clear()
        if self.start is None:
            self.start = FlatParameters(pl_module).vector()
        if trainer.global_step == 0 and self.due(0):
            self._measure(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure after an epoch."""
        if self.due(epoch := trainer.current_epoch + 1):
            try:
                self._measure(trainer, pl_module, epoch)
            except Exception as error:  # layers that are trained from now on, say
                reason = costs_rows(self, trainer, epoch, error)
                self._file(trainer, epoch, [_row(epoch, WHOLE, NORM, f"failed: {reason}")])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the whole run."""
        self._pictures.at_last(partial(self._draw, trainer))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many epochs a stored network was trained for."""
        self._stored_epoch = finished_epochs(checkpoint)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure a stored network (`validate`)."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._forget()  # what the checkpoint remembers is another run's
            self.files.forget()
            self._others, self._pictures = self._read(pl_module), Seldom()
            self.origin = Origin.of_trainer(trainer, pl_module)
            self._measure(trainer, pl_module, self._stored_epoch)
            self._pictures.at_last(partial(self._draw, trainer))

    def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        parameters = FlatParameters(module)
        now = parameters.vector()
        found: dict[str, Mapping[str, float]] = {NORM: norms(parameters, now)}
        if self.start is not None:
            found[START] = norms(parameters, now, self.start.to(now.device))
            step = norms(parameters, now, (self.start if self.last is None else self.last).to(now.device))
            self.length = {layer: self.length.get(layer, 0.0) + part for layer, part in step.items()}
            found[TRAJECTORY], self.last = self.length, now
        found |= {measure: norms(parameters, now, other.to(now.device)) for measure, other in self._others.items()}
        rows = [
            _row(epoch, layer, name, value) for name, by_layer in found.items() for layer, value in by_layer.items()
        ]
        self._file(trainer, epoch, rows)

    def _file(self, trainer: Trainer, epoch: int, rows: list[Row]) -> None:
        """Write the rows of an epoch, and pass what is of the whole network to the loggers."""
        self.table.replace(epoch, rows)
        trainer.callback_metrics.update(self.watched(epoch))
        if trainer.is_global_zero:
            self.files.find(folder(trainer))
            self.table.write(self.files.path("distances.csv"))
            log_to_all(trainer, self.accuracies(epoch), epoch)
            self._pictures.perhaps(partial(self._draw, trainer))

    def _draw(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and any(isinstance(row["value"], float) for row in self.table.rows):
            draw_distances(self.table.rows, self.origin, picture := self.files.path("distances.png"))
            name = f"distances{f'_{self.name}' if self.name else ''}"
            show_to_all(trainer, {name: picture}, self.table.epochs[-1])

    def accuracies(self, epoch: int) -> dict[str, float]:
        """What is of the whole network."""
        rows = [row for row in self.table.at(epoch) if row["layer"] == WHOLE and isinstance(row["value"], float)]
        return {self._metric(row["measure"]): row["value"] for row in rows}

    def _metric(self, measure: str) -> str:
        return self.metric(*measure.split(" ", 1))

    def state_dict(self) -> dict[str, Any]:
        """Where training started, and how far it has come, as plain values and tensors; the file has more."""
        weights = {
            name: None if one is None else one.cpu() for name, one in (("start", self.start), ("last", self.last))
        }
        return {**weights, "length": self.length, "latest": self.table.latest, "files": self.files.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier state."""
        self.start, self.last, self.length = (state_dict[name] for name in ("start", "last", "length"))
        self.table, self._whole = EpochTable(COLUMNS, state_dict["latest"]), False
        self.files.load_state_dict(state_dict["files"])


def _row(epoch: int, layer: str, measure: str, value: float | str) -> Row:
    return {"epoch": epoch, "layer": layer, "measure": measure, "value": value}
