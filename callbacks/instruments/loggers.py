"""What instruments pass to a trainer's loggers: numbers, pictures and tables, to each in its own way.

All take numbers. What else one takes is known by what it can do: W&B's has `log_image` and `log_table`; TensorBoard's
writes with `add_image` and `add_text`; MLflow's keeps files as artifacts of the run. Others, such as CSV, write to a
folder that has table and picture anyway.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_warn

from stratoscope.callbacks.instruments.wandb_server import reachable, server
from stratoscope.files.table import EpochTable, Row


def log_to_all(trainer: Trainer, metrics: Mapping[str, float], epoch: int) -> None:
    """Pass metrics to every logger; one that raises an error is named, and training goes on.

    Args:
        trainer: Whose loggers.
        metrics: By name.
        epoch: Number of finished epochs.
    """
    filed = {**metrics, "epoch": float(epoch)}
    _all(trainer, lambda logger: logger.log_metrics(filed, step=trainer.global_step), f"the probes of epoch {epoch}")


def show_to_all(trainer: Trainer, pictures: Mapping[str, Path], epoch: int) -> None:
    """Pass pictures to every logger that takes them; an error does as in `log_to_all`.

    Args:
        trainer: Whose loggers.
        pictures: Files by name.
        epoch: Number of finished epochs.
    """

    def show(logger: Logger) -> None:
        writer = getattr(logger, "experiment", None)
        for name, file in pictures.items():
            if log_image := getattr(logger, "log_image", None):
                log_image(name, [str(file)], step=trainer.global_step)
            elif add_image := getattr(writer, "add_image", None):
                add_image(name, _pixels(file), trainer.global_step, dataformats="HWC")
            else:
                _keep(logger, writer, file)

    _all(trainer, show, f"the pictures of epoch {epoch}")


def tabulate_to_all(trainer: Trainer, tables: Mapping[Path, EpochTable]) -> None:
    """Pass whole tables to every logger that takes them; an error does as in `log_to_all`.

    TensorBoard is given the last epoch, as it shows a table as text.

    Args:
        trainer: Whose loggers.
        tables: By their files.
    """
    for file, table in tables.items():

        def give(logger: Logger, file: Path = file, table: EpochTable = table) -> None:
            writer = getattr(logger, "experiment", None)
            if log_table := getattr(logger, "log_table", None):
                if not getattr(writer, "offline", True) and not reachable():  # it would wait for an answer
                    raise ConnectionError(f"no answer from {server()}")
                log_table(file.stem, [*table.columns], _cells(table), step=trainer.global_step)
            elif add_text := getattr(writer, "add_text", None):
                add_text(file.stem, markdown(table.columns, table.latest), trainer.global_step)
            else:
                _keep(logger, writer, file)

        _all(trainer, give, f"the table {file.stem}", f"it is in {file}")


def markdown(columns: Mapping[str, Any], rows: list[Row]) -> str:
    """Rows as a table in Markdown.

    Args:
        columns: What to show, by name.
        rows: The rows.
    """
    lines = [list(columns), ["---"] * len(columns), *([_text(row[name]) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(cell: Any) -> str:
    shown = "" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _cells(table: EpochTable) -> list[list[Any]]:
    """The cells of all rows; a column has one type there."""
    mixed = [name for name, kind in table.columns.items() if kind == float | str]
    return [[str(row[name]) if name in mixed else row[name] for name in table.columns] for row in table.rows]


def _pixels(file: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _keep(logger: Any, writer: Any, file: Path) -> None:
    """Keep a file as an artifact of the run, if the logger does so."""
    if log_artifact := getattr(writer, "log_artifact", None):
        log_artifact(logger.run_id, str(file))


def _all(trainer: Trainer, give: Callable[[Logger], None], what: str, where: str = "they are kept") -> None:
    for logger in trainer.loggers:
        try:
            give(logger)
        except Exception as error:  # of a server, say
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            rank_zero_warn(f"{type(logger).__name__} has not taken {what}: {reason}; {where}")
