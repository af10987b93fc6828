"""What W&B is told beside the numbers: the axis, the config, and at the end the summary."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.results.record import DamagedRun, RunRecord, load_run
from stratoscope.run.metrics_file import MetricsFile


class WandbMirror(Callback):
    """Makes `epoch` the abscissa of everything, and passes on what the run directory says when the run has ended.

    Args:
        folder: The run directory.
        config: The run's config under its short keys.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = {name: value for name, value in config.items() if not name.startswith("trainer.logger")}

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell axis and config."""
        for run in _runs(trainer):
            run.define_metric("epoch")
            run.define_metric("*", step_metric="epoch", step_sync=True)
            # a sweep has set its own already, and lets nobody change them
            run.config.update({name: value for name, value in self.config.items() if name not in run.config})

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell the summary."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.finalize("success")
        try:
            record = load_run(self.folder)
        except DamagedRun as error:  # by somebody else: training has ended well
            rank_zero_info(f"W&B has no summary: {error}")
            return
        for run in _runs(trainer):
            run.summary.update(summary(record))


def summary(record: RunRecord) -> dict[str, float | int | str]:
    """Final values of a run: final and best accuracy and loss of every set, and the layer that is most separable.

    Args:
        record: The run.

    Returns:
        `final/SET/METRIC`, `best/SET/METRIC` and its `.../epoch`; for every label kind `separability/KIND/SET`, the
        highest accuracy among the layers at the last epoch, and its `.../layer`.
    """
    found: dict[str, float | int | str] = {}
    for name in record.metric_names:
        of_set, _, metric = name.rpartition("/")
        if "/" in of_set or metric not in {"accuracy", "loss"}:  # such as probe/true_label/test/fc1: of a layer
            continue
        if (best := record.best(name)) is not None:
            found[f"final/{name}"] = record.values(name)[-1][1]
            found[f"best/{name}/epoch"], found[f"best/{name}"] = best
    for source, probes in record.probed().items():
        table, ending = ProbeTable(probes.rows), "" if source == "probes" else f"_{source.removeprefix('probes_')}"
        for kind, split in table.panels():
            last = max(table.unique("epoch"))
            cells = [cell for (_, epoch), cell in table.cells(kind, split).items() if epoch == last]
            fine = [cell for cell in cells if cell["accuracy"] is not None]
            if fine:
                cell = max(fine, key=lambda cell: cell["accuracy"])
                found[f"separability{ending}/{kind}/{split}"] = cell["accuracy"]
                found[f"separability{ending}/{kind}/{split}/layer"] = cell["layer"]
    return found


def _runs(trainer: Trainer) -> list[Any]:
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, WandbLogger)]
