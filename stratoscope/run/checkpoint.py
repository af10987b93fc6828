"""Checkpoints that say how they were made, so that one file is enough to validate a network or go on with it."""

import os
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import CombinedLoader, rank_zero_warn
from torch import nn

from stratoscope.callbacks.guards.exact_loops import ExactEpochLoop, exact, within_epoch
from stratoscope.errors import Refused
from stratoscope.files.atomic import replacing
from stratoscope.files.integrity import check_intact, digests_beside, known_digests, sha256_of
from stratoscope.models.parts.weights import shown, under_own_names
from stratoscope.run.checkpoint_contents import check_contents, check_readable, plain_numbers, why_unreadable
from stratoscope.run.going_on import is_longer
from stratoscope.run.interruption import Interrupted, StopOnSignal

CONFIG = "stratoscope_config"
FORMAT = "stratoscope_format"
NEWEST = 1  # format that this code writes; it reads all up to it
LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
CUT = "stratoscope_cut"  # of the last checkpoint of a run whose bound has cut its last epoch: as it was before the end
WITHIN = ("loops", "callbacks", "lr_schedulers", "exact_resume")  # what there is of it
IN_USE = ("state_dict", "optimizer_states", "current_model_state")  # parts of a checkpoint that only a step changes


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole, with a digest; `last.ckpt` leaves the one before it beside it.

    `last.ckpt` is a plain torch file. `last.ckpt.sha256` lists digests: that of the file and that of the one before it,
    so that there is no moment at which the file's is missing.

    Args:
        trainer: The trainer's config of the run. One with larger bounds than those of a checkpoint goes on within an
            epoch that a bound (such as `max_steps`) has cut there, as a run without that bound would; else the epoch
            counts as it is. All processes of a run know it alike, whichever of them writes down the new config.
    """

    def __init__(self, trainer: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.trainer = trainer
        self.tried = False  # whether a checkpoint of this run was read back

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; an error leaves the old files as they are.

        Args:
            checkpoint: What to save.
            path: The file to replace; what `last.ckpt` holds becomes `previous.ckpt`.
            storage_options: Not supported.

        Raises:
            OSError: If it cannot be written.
            Refused: If it could not be read again.
        """
        data, checkpoint = BytesIO(), plain_numbers(checkpoint)
        torch.save(checkpoint, data)
        check_readable(checkpoint, data, whole=not self.tried)
        self.tried = True
        content, file = data.getbuffer(), Path(path)
        digest = sha256_of(content)
        with replacing(file) as part:
            with part.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            kept = file.name == LAST and file.is_file() and not file.is_symlink()  # a link is another's file
            before = sha256_of(file.read_bytes()) if kept else ""
            good = before and before in (known_digests(file) or [before])  # or it is better not kept
            with replacing(digests_beside(file)) as digests:
                digests.write_text("\n".join([digest, before] if good else [digest]) + "\n")
            if good:
                with replacing(file.with_name(PREVIOUS)) as previous:
                    try:
                        os.link(file, previous)
                    except OSError:  # some file systems have no links
                        shutil.copyfile(file, previous)
                with replacing(digests_beside(file.with_name(PREVIOUS))) as digests:
                    digests.write_text(f"{before}\n")

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint and its digest.

        Args:
            path: The file.
        """
        super().remove_checkpoint(path)
        digests_beside(Path(path)).unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, after comparing it with its digest if it has one.

        Args:
            path: The file.
            map_location: Unused: tensors come on the CPU.
            weights_only: Unused: no code from the file is ever run.

        Raises:
            Refused: If it is damaged.
        """
        checkpoint = load_checkpoint(str(path))
        cut = checkpoint.pop(CUT, {})
        longer = cut and self.trainer is not None and is_longer(checkpoint[CONFIG]["trainer"], self.trainer)
        return {**checkpoint, **cut} if longer else checkpoint


class LastCheckpoint(ModelCheckpoint):
    """Keeps `checkpoints/last.ckpt` of a run after every epoch, and puts the run's config into every checkpoint.

    When the run is asked to end, it is saved as it is behind the step that was taken last, and ends: what follows that
    step, such as validation and probes, is done, or done again, when it goes on.

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
        self._file = str(folder / "checkpoints" / LAST)
        self._behind: dict[str, Any] | None = None  # a checkpoint of the place behind the last step
        self._written = True  # is a checkpoint that is made to be written, not only kept?
        self._said = False  # that there is none of a place within an epoch

    @property
    def state_key(self) -> str:
        """A key of its own, so that it can stand beside any other ModelCheckpoint."""
        return "stratoscope.LastCheckpoint"

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what comes next does not depend on what was saved."""
        return {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Be told of every step when all that it logs is logged."""
        super().setup(trainer, pl_module, stage)
        if loop := exact(trainer):
            loop.after_step = partial(self._after_step, trainer, loop)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the config, and have all written that was logged before: after this it will not be logged again."""
        checkpoint[CONFIG], checkpoint[FORMAT] = self.config, NEWEST
        if self._written:
            for logger in trainer.loggers:
                logger.save()
        cut = not trainer.fit_loop.epoch_loop._num_ready_batches_reached()
        if self._written and self._behind and cut and not within_epoch(checkpoint["loops"]["fit_loop"]):
            checkpoint[CUT] = {name: part for name, part in self._behind.items() if name in WITHIN}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have files replaced that were saved by a part of this run which was lost since, and is done again."""
        super().on_train_start(trainer, pl_module)
        savers = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint) and one is not self]
        _replace_lost(savers, Path(self._file).parent)

    def _after_step(self, trainer: Trainer, loop: ExactEpochLoop) -> None:
        """Keep the place if more than the next step follows; end the run if it was asked to.

        Raises:
            Interrupted: If so.
        """
        self._behind = None
        fit = trainer.fit_loop
        if fit._should_accumulate() or fit._skip_backward:  # half a step; or the pass for the statistics of SWA
            return
        if loop.follows():
            self._behind = self._place(trainer)
        try:
            self.stop.end_here(trainer, "step")
        except Interrupted:
            self._behind = self._behind or self._place(trainer)
            raise

    def _place(self, trainer: Trainer) -> dict[str, Any] | None:
        """A checkpoint of this place, to be written as long as no further step is taken; None where none could go on.

        The weights and the state of the optimiser are those in use: nothing but a step changes them.
        """
        # others would go on with other samples: better from the end of the last epoch
        stateful = all(hasattr(loader, "state_dict") for loader in CombinedLoader(trainer.train_dataloader).flattened)
        if not stateful and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return None
        self._written = False
        try:
            checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            return {name: part if name in IN_USE else deepcopy(part) for name, part in checkpoint.items()}
        except Exception as error:  # a callback that has no state yet, a tensor that cannot be copied
            if not self._said:
                why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                rank_zero_warn(f"stopped within an epoch, this run goes on from the end of the last one ({why})")
            self._said = True
            return None
        finally:
            self._written = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the finished epoch, even if it had no step of its own: the number of epochs is another."""
        self._last_global_step_saved = -1
        super().on_train_epoch_end(trainer, pl_module)
        self._behind = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run if it was asked to while the last epoch ended."""
        if trainer.global_step:
            self.stop.end_here(trainer, "epoch")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the place behind the last step of a run that was asked to end."""
        if not isinstance(exception, Interrupted) or self._behind is None:
            return
        if trainer.validating:  # of the averages, which are swapped with the weights until it ends
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, WeightAveraging):
                    callback.on_validation_epoch_end(trainer, pl_module)
        for logger in trainer.loggers:
            logger.save()
        trainer.strategy.save_checkpoint(self._behind, self._file)
        trainer.strategy.barrier()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the averages that StochasticWeightAveraging has put into the network just now."""
        super().on_train_end(trainer, pl_module)
        if any(isinstance(callback, StochasticWeightAveraging) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            self._save_checkpoint(trainer, self._file)


def _replace_lost(callbacks: Sequence[ModelCheckpoint], folder: Path) -> None:
    """Let checkpoints be replaced that no callback knows, if they come to be saved again.

    A run that goes on has forgotten what it saved behind the place it goes on from. It will save the same again, and
    should not find the name taken. Files that are never saved again stay, and so do those that another callback knows
    or has saved since.

    Args:
        callbacks: Those that save, which may be the user's.
        folder: Of the run's checkpoints; elsewhere nothing is known of whose a file is.
    """
    if not folder.is_dir():
        return
    known = {str(folder / LAST), str(folder / PREVIOUS)}
    for one in callbacks:
        known |= {*one.best_k_models, one.best_model_path, one.last_model_path}
    lost = {_place_of(file) for file in folder.glob("*.ckpt")} - {_place_of(path) for path in known if path}
    for one in callbacks:
        if one.dirpath and _place_of(one.dirpath) == _place_of(folder):
            _forget(one, lost)


def _forget(callback: ModelCheckpoint, lost: set[str]) -> None:
    exists, save = callback.file_exists, callback._save_checkpoint

    def file_exists(filepath: Any, trainer: Trainer) -> bool:
        return _place_of(filepath) not in lost and exists(filepath, trainer)

    def save_checkpoint(trainer: Trainer, filepath: str) -> None:
        lost.discard(_place_of(filepath))
        save(trainer, filepath)

    callback.file_exists = file_exists  # type: ignore[method-assign]
    callback._save_checkpoint = save_checkpoint  # type: ignore[method-assign]


def _place_of(path: Any) -> str:
    return str(Path(path).resolve())


def newest_good(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that is not damaged.

    Args:
        folder: Of the checkpoints.

    Returns:
        It, if there is one; and why newer ones cannot be used.
    """
    reasons = []
    for name in (LAST, PREVIOUS):
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
    try:
        check_intact(Path(path), Path(path).read_bytes())
    except ValueError as error:
        raise Refused(f"--ckpt_path: {error}") from error
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parsers happen to raise
        if classes := why_unreadable(path):
            raise Refused(
                f"--ckpt_path: {path} holds {classes}, which is neither tensor nor plain value, and no code of a "
                "checkpoint is run: what puts it there has to be changed, and the file be written again"
            ) from error
        cause = " ".join(str(error).split())[:120]
        raise Refused(f"--ckpt_path: {path} is damaged or no checkpoint ({type(error).__name__}: {cause})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        there = f"its keys are {shown(map(str, checkpoint))}" if isinstance(checkpoint, dict) else "it holds no mapping"
        advice = "weights alone are for --trainer.callbacks Pretrained"
        raise Refused(f"--ckpt_path: {path} is no Lightning checkpoint: it has no state_dict, {there}; {advice}")
    try:
        check_contents(checkpoint)
        if CUT in checkpoint:  # whichever of the two is gone on from
            check_contents({**checkpoint, **checkpoint[CUT]})
    except ValueError as error:
        raise Refused(f"--ckpt_path: {path} is no checkpoint that can be used: {error}") from error
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
        f"--ckpt_path: the weights do not fit the model: {first} is {_shape(weights, first)} in the checkpoint, "
        f"{_shape(built, first)} in the model{more}{hint}"
    )


def _shape(weights: Mapping[str, Any], name: str) -> tuple[int, ...] | str:
    found = weights.get(name, "missing")
    return tuple(found.shape) if isinstance(found, torch.Tensor) else "missing" if found is None else str(found)[:40]
