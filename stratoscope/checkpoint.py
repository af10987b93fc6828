"""Checkpoints that say how they were made, so that one file is enough to validate a network or go on with it."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import CombinedLoader
from torch import nn

from stratoscope.callbacks.atomic import replacing
from stratoscope.interruption import Interrupted, StopOnSignal
from stratoscope.models.weights import shown, under_own_names
from stratoscope.refusal import Refused

CONFIG = "stratoscope_config"
FORMAT = "stratoscope_format"
NEWEST = 1  # format that this code writes; it reads all up to it
PREVIOUS = "previous.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole, with a digest, and leave the one before beside them.

    `last.ckpt` is a plain torch file. `last.ckpt.sha256` lists digests: that of the file and that of the one before it,
    so that there is no moment at which the file's is missing.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; an error leaves the old files as they are.

        Args:
            checkpoint: What to save.
            path: The file to replace; what it holds becomes `previous.ckpt`.
            storage_options: Not supported.

        Raises:
            OSError: If it cannot be written.
        """
        data = BytesIO()
        torch.save(checkpoint, data)
        content, file = data.getbuffer(), Path(path)
        digest = hashlib.sha256(content).hexdigest()
        with replacing(file) as part:
            with part.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            before = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
            good = before and before in (_known(file) or [before])  # or it is better not kept
            with replacing(_digests(file)) as digests:
                digests.write_text("\n".join([digest, before] if good else [digest]) + "\n")
            if good:
                with replacing(file.with_name(PREVIOUS)) as kept:
                    try:
                        os.link(file, kept)
                    except OSError:  # some file systems have no links
                        shutil.copyfile(file, kept)
                with replacing(_digests(file.with_name(PREVIOUS))) as kept:
                    kept.write_text(f"{before}\n")

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, after comparing it with its digest if it has one.

        Args:
            path: The file.
            map_location: Unused: tensors come on the CPU.
            weights_only: Unused: no code from the file is ever run.

        Raises:
            Refused: If it is damaged.
        """
        return load_checkpoint(str(path))


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` of a run after every epoch, and puts the run's config into every checkpoint.

    When the run is asked to end it saves after the step, and ends it. The last step of an epoch is followed by its
    validation, probes and checkpoint first, and any other one with a validation behind it by that and one step more.

    Args:
        folder: The run directory.
        config: The full config, plain values.
        stop: Knows of signals.
    """

    def __init__(self, folder: Path, config: dict[str, Any], stop: StopOnSignal) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.config, self.stop = config, stop

    @property
    def state_key(self) -> str:
        """A key of its own, so that it can stand beside any other ModelCheckpoint."""
        return "stratoscope.LastCheckpoint"

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what comes next does not depend on what was saved."""
        return {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the config, and have all written that was logged before: after this it will not be logged again."""
        checkpoint[CONFIG], checkpoint[FORMAT] = self.config, NEWEST
        for logger in trainer.loggers:
            logger.save()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end the run if it was asked to.

        Raises:
            Interrupted: If so.
        """
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        number = self.stop.wanted(trainer)
        validated = not (batch_idx + 1) % (trainer.val_check_batch or inf)
        due = validated or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if number and not due and not trainer.fit_loop._should_accumulate():
            # others would go on with other samples: better from the end of the last epoch
            if all(hasattr(loader, "state_dict") for loader in CombinedLoader(trainer.train_dataloader).flattened):
                self._save_checkpoint(trainer, str(Path(str(self.dirpath)) / "last.ckpt"))
            raise Interrupted(number)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the averages that StochasticWeightAveraging has put into the network just now."""
        super().on_train_end(trainer, pl_module)
        if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            self._save_checkpoint(trainer, str(Path(str(self.dirpath)) / "last.ckpt"))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run if it was asked to while the last epoch ended.

        Raises:
            Interrupted: If so.
        """
        if number := self.stop.wanted(trainer):
            raise Interrupted(number)


def _digests(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _known(file: Path) -> list[str]:
    """Digests that a file may have; none if nothing is known of it."""
    return _digests(file).read_text().split() if _digests(file).is_file() else []


def newest_good(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that is not damaged.

    Args:
        folder: Of the checkpoints.

    Returns:
        It, if there is one; and why newer ones cannot be used.
    """
    reasons = []
    for name in ("last.ckpt", PREVIOUS):
        if (folder / name).is_file():
            try:
                load_checkpoint(str(folder / name))
            except Refused as reason:
                reasons.append(str(reason).removeprefix("--ckpt_path: "))
            else:
                return folder / name, reasons
    return None, reasons


def load_checkpoint(path: str) -> dict[str, Any]:
    """Read a Lightning checkpoint without running code from it.

    Args:
        path: The file.

    Raises:
        Refused: If there is no such file, or it is damaged or something else.
    """
    if not Path(path).is_file():
        raise Refused(f"--ckpt_path: no file {path}; a run's checkpoint is runs/<name>/checkpoints/last.ckpt")
    if (known := _known(Path(path))) and hashlib.sha256(Path(path).read_bytes()).hexdigest() not in known:
        raise Refused(f"--ckpt_path: {path} is damaged: its SHA-256 is not the one in {_digests(Path(path)).name}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parsers happen to raise
        cause = " ".join(str(error).split())[:120]
        raise Refused(f"--ckpt_path: {path} is damaged or no checkpoint ({type(error).__name__}: {cause})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        there = f"its keys are {shown(map(str, checkpoint))}" if isinstance(checkpoint, dict) else "it holds no mapping"
        advice = "weights alone are for --trainer.callbacks Pretrained"
        raise Refused(f"--ckpt_path: {path} is no Lightning checkpoint: it has no state_dict, {there}; {advice}")
    if (made := checkpoint.get(FORMAT, NEWEST)) > NEWEST:
        raise Refused(f"--ckpt_path: {path} is of a newer stratoscope (format {made}; this one reads {NEWEST}): update")
    return checkpoint


def check_weights(path: str, model: nn.Module) -> None:
    """Compare the weights in a checkpoint with a model's, by name and shape.

    Args:
        path: The checkpoint.
        model: The model to load them into.

    Raises:
        Refused: If they do not fit.
    """
    weights, built = load_checkpoint(path)["state_dict"], model.state_dict()
    names = [name for name in {**weights, **built} if _shape(weights, name) != _shape(built, name)]
    if not names:
        return
    first = names[0]
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    prefixed = under_own_names(weights, built)[1]  # as of another training script
    hint = "; only a prefix differs: --trainer.callbacks Pretrained takes such weights" if prefixed else ""
    raise Refused(
        f"--ckpt_path: the weights do not fit the model: {first} is {_shape(weights, first)} there, "
        f"{_shape(built, first)} here{more}{hint}"
    )


def _shape(weights: Mapping[str, Any], name: str) -> tuple[int, ...] | str:
    return tuple(weights[name].shape) if name in weights else "missing"
