"""Lightning's training loops, made to go on from a checkpoint alike however a run is bounded.

A checkpoint is from one of two places: behind an epoch, or behind a step within one. Lightning's loops tell more of
them apart, by counters that depend on the hook in which the checkpoint was written, and lose their way in some: with
`max_steps` they end the last epoch once more and keep the number of epochs wrong, and a run that has all its steps, but
was stopped before its end, never comes to `on_train_end`. So counters are put in order (`settle`) when a checkpoint is
loaded, and the loops go on from there as if they had not been left: behind a step, first with what follows it, such as
its validation.
"""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.fit_loop import RestartStage, _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

PLACE = ("epoch_progress", "epoch_loop.batch_progress")  # where a checkpoint says which it is from
COUNTERS = ("ready", "started", "processed", "completed")
MOMENT = 0.5  # seconds that may pass between one look at the clock and the next, behind the same step


class ExactEpochLoop(_TrainingEpochLoop):
    """The steps of an epoch, of which some may have been taken before an interruption.

    Attributes:
        behind_step: Whether to go on with what follows a step that was taken before.
        validated: Whether the validation behind that step was done before, too.
        after_step: Is called behind every step, when all it logs is logged, and before what follows it.
    """

    behind_step = False
    validated = False
    after_step: Callable[[], None] | None = None

    def reset(self) -> None:
        """Begin an epoch; the counters of one that goes on stay."""
        if not self.behind_step:
            super().reset()

    @property
    def done(self) -> bool:
        """Whether the epoch is over."""
        return not self.behind_step and super().done

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Take a step."""
        if self.behind_step:
            self.behind_step, self._skip_next_val, self.validated = False, self.validated, False
            return
        super().advance(data_fetcher)
        if self.after_step is not None:
            self.after_step()

    def follows(self) -> bool:
        """Whether validation or the end of the epoch, and with it probes, come before the next step."""
        fetcher: Any = self.trainer.fit_loop._data_fetcher
        interval = getattr(self.trainer, "_val_check_time_interval", None)
        soon = False
        if interval is not None:
            last: float = self.trainer._last_val_time  # pyright: ignore[reportAttributeAccessIssue]  # the fit loop sets it
            soon = time.monotonic() + MOMENT >= last + interval
        return bool((soon and self._should_check_val_epoch()) or self._should_check_val_fx(fetcher) or self.done)


class ExactFitLoop(_FitLoop):
    """Epochs that go on behind the last one, or within one."""

    epoch_loop: ExactEpochLoop

    def _iteration_based_training(self) -> bool:
        """No: with `max_steps` Lightning would go on otherwise, and lose count of the epochs."""
        return False

    @property
    def done(self) -> bool:
        """Whether a bound is reached, and what follows the last step is done too."""
        return not self.epoch_loop.behind_step and bool(super().done)

    @property
    def skip(self) -> bool:
        """Whether there is nothing to do; a run that goes on has at least an end, with what is left then."""
        return bool(self.trainer.limit_train_batches == 0 or (self.done and not self.is_resuming))

    def setup_data(self) -> None:
        """Load the data, and find the place in them where a checkpoint goes on.

        A module that asks for `trainer.estimated_stepping_batches` has them loaded before the checkpoint is, and
        Lightning would begin with the first batch of the epoch.
        """
        super().setup_data()
        if self.restarting and self._combined_loader_states_to_load and self._data_fetcher is not None:
            self._load_combined_loader_states()
            iter(self._data_fetcher)

    def reset(self) -> None:
        """Begin, or go on from a checkpoint with its counters in order."""
        within = self.restarting
        self.restarting = False  # here and in all inner loops: none has a way of its own to go on
        super().reset()
        self.epoch_loop.behind_step = within
        if within:
            self._restart_stage = RestartStage.RESTARTED_MID_EPOCH  # its beginning has been


def exact(trainer: Trainer) -> ExactEpochLoop | None:
    """Make the loops of a trainer go on exactly.

    Args:
        trainer: Before its training.

    Returns:
        The loop over the steps; None where somebody has put other loops in place.
    """
    loop: Any = trainer.fit_loop
    if type(loop) is _FitLoop and type(loop.epoch_loop) is _TrainingEpochLoop:
        loop.__class__, loop.epoch_loop.__class__ = ExactFitLoop, ExactEpochLoop
    return loop.epoch_loop if isinstance(loop, ExactFitLoop) else None


def within_epoch(progress: dict[str, Any]) -> bool:
    """Whether the counters of a fit loop are from within an epoch, behind at least one step.

    Args:
        progress: As in a checkpoint, at loops/fit_loop.
    """
    epochs, batches = (progress[name]["current"] for name in PLACE)
    return bool(epochs["started"] != epochs["processed"] and batches["processed"] > 0)


def settle(progress: dict[str, Any]) -> bool:
    """Put the counters in order: those of one place are the same, in whichever hook a checkpoint was written.

    Args:
        progress: As in a checkpoint, at loops/fit_loop; is changed.

    Returns:
        Whether the validation behind the last step, if it has one, was done already.
    """
    epochs, batches = (progress[name] for name in PLACE)
    within = within_epoch(progress)
    validated = bool(batches["current"]["processed"] == batches["current"]["completed"])
    for counts in epochs.values():
        begun = counts["processed"] + within
        counts.update(ready=begun, started=begun, completed=counts["processed"])
    for name in ("total", "current"):
        counts = batches[name]
        counts.update(dict.fromkeys(COUNTERS, counts["processed"]))
    if not within or batches["is_last_batch"]:  # the next batch is the first of an epoch
        progress.get("state_dict", {}).pop("combined_loader", None)
    return within and validated


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """Number of epochs of training behind a Lightning checkpoint; 0 for weights without a history."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return int(progress.get("current", {}).get("processed", 0))
