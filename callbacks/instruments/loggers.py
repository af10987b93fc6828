"""What instruments pass to a trainer's loggers."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_warn


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
    """Pass pictures to every logger that takes them, as W&B's does; an error does as in `log_to_all`.

    Args:
        trainer: Whose loggers.
        pictures: Files by name.
        epoch: Number of finished epochs.
    """

    def show(logger: Logger) -> None:
        if log_image := getattr(logger, "log_image", None):
            for name, file in pictures.items():
                log_image(name, [str(file)], step=trainer.global_step)

    _all(trainer, show, f"the pictures of epoch {epoch}")


def _all(trainer: Trainer, give: Callable[[Logger], None], what: str) -> None:
    for logger in trainer.loggers:
        try:
            give(logger)
        except Exception as error:  # of a server, say
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            rank_zero_warn(f"{type(logger).__name__} has not taken {what}: {reason}; they are kept")
