"""What instruments pass to a trainer's loggers."""

from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn


def log_to_all(
    trainer: Trainer, metrics: Mapping[str, float], epoch: int, pictures: Mapping[str, Path] | None = None
) -> None:
    """Pass metrics and pictures to every logger; one that raises an error is named, and training goes on.

    Args:
        trainer: Whose loggers.
        metrics: By name.
        epoch: Number of finished epochs.
        pictures: Files by name, for loggers that take them.
    """
    for logger in trainer.loggers:
        try:
            logger.log_metrics({**metrics, "epoch": float(epoch)}, step=trainer.global_step)
            if log_image := getattr(logger, "log_image", None):  # W&B has it
                for name, file in (pictures or {}).items():
                    log_image(name, [str(file)], step=trainer.global_step)
        except Exception as error:  # of a server, say
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            rank_zero_warn(
                f"{type(logger).__name__} has not taken the probes of epoch {epoch}: {reason}; they are kept"
            )
