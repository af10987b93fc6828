"""Checkpoints that say how they were made, so that one file is enough to validate a network or go on with it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from stratoscope.refusal import Refused

CONFIG = "stratoscope_config"


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` of a run after every epoch, and puts the run's config into every checkpoint.

    Args:
        folder: The run directory.
        config: The full config, plain values.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.config = config

    @property
    def state_key(self) -> str:
        """A key of its own, so that it can stand beside any other ModelCheckpoint."""
        return "stratoscope.LastCheckpoint"

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what comes next does not depend on what was saved."""
        return {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the config."""
        checkpoint[CONFIG] = self.config


def load_checkpoint(path: str) -> dict[str, Any]:
    """Read a Lightning checkpoint without running code from it.

    Args:
        path: The file.

    Raises:
        Refused: If there is no such file, or it is damaged or something else.
    """
    if not Path(path).is_file():
        raise Refused(f"--ckpt_path: no file {path}; a run's checkpoint is runs/<name>/checkpoints/last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parsers happen to raise
        cause = " ".join(str(error).split())[:120]
        raise Refused(f"--ckpt_path: {path} is damaged or no checkpoint ({type(error).__name__}: {cause})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise Refused(f"--ckpt_path: {path} is no Lightning checkpoint: it has no state_dict")
    return checkpoint


def check_weights(path: str, model: nn.Module) -> None:
    """Compare the weights in a checkpoint with a model's, by name and shape.

    Args:
        path: The checkpoint.
        model: The model to load them into.

    Raises:
        Refused: If they do not fit.
    """
    stored = {name: tuple(tensor.shape) for name, tensor in load_checkpoint(path)["state_dict"].items()}
    built = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = [name for name in {**stored, **built} if stored.get(name) != built.get(name)]
    if names:
        first = names[0]
        there, here = (shapes.get(first, "missing") for shapes in (stored, built))
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise Refused(f"--ckpt_path: the weights do not fit the model: {first} is {there} there, {here} here{more}")
