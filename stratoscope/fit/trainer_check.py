"""What a trainer is asked for that a run cannot keep: refused before anything is written."""

from collections.abc import Iterator, Sequence
from math import ceil, inf
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.strategies.launchers.multiprocessing import _MultiProcessingLauncher
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from stratoscope.callbacks.instruments.instrument import Instrument, Planned
from stratoscope.errors import Refused, nearest
from stratoscope.fit.classes import subclasses
from stratoscope.models import Classifier
from stratoscope.models.schedules import PER_STEP

PACERS = (GradientAccumulationScheduler, StochasticWeightAveraging)  # change how often a schedule is stepped
FINDERS = {BatchSizeFinder: "--data.batch_size", LearningRateFinder: "--model.optimizer.lr"}


def check_trainer(trainer: Trainer) -> None:
    """Refuse strategies whose processes give nothing back, and callbacks that change the config under way.

    Args:
        trainer: Built and not started.

    Raises:
        Refused: If there is one.
    """
    if isinstance(launcher := trainer.strategy.launcher, _MultiProcessingLauncher):
        raise Refused(
            f"--trainer.strategy: {type(trainer.strategy).__name__} by {launcher._start_method} (as ddp_notebook, "
            "ddp_fork and ddp_spawn) is for notebooks, and keeps what a run leaves in processes of its own; on the "
            "command line use --trainer.strategy ddp"
        )
    for callback in _callbacks(trainer):
        for kind, option in FINDERS.items():
            if isinstance(callback, kind):
                raise Refused(
                    f"--trainer.callbacks: {kind.__name__} changes what config.yaml says once the run has begun; find "
                    f"the value first, with Lightning's Tuner in Python, and give it as {option}"
                )


def check_names(callbacks: Sequence[Callback]) -> None:
    """Refuse instruments that would have the same files and metrics.

    Args:
        callbacks: Of a trainer to be built.

    Raises:
        Refused: If there are such.
    """
    instruments = [callback for callback in callbacks if isinstance(callback, Instrument)]
    for number, callback in enumerate(instruments):
        if any(type(other) is type(callback) and other.name == callback.name for other in instruments[:number]):
            kind, named = type(callback).__name__, f"of the name {callback.name}" if callback.name else "without a name"
            raise Refused(f"--trainer.callbacks: two {kind} {named}: give each a --trainer.callbacks.name of its own")


def check_schedule(trainer: Trainer, optimizers: Any, batches: int) -> list[str]:
    """Compare the length of a OneCycleLR with the number of times it will be stepped.

    Args:
        trainer: The trainer.
        optimizers: What `configure_optimizers` gives; forms that are not our Classifier's are left alone.
        batches: Training batches of an epoch.

    Returns:
        A line to say if the run ends before the schedule.

    Raises:
        Refused: If the schedule ends before the run.
    """
    made = _schedule(optimizers)
    if not isinstance(made.get("scheduler"), OneCycleLR) or any(isinstance(one, PACERS) for one in _callbacks(trainer)):
        return []
    schedule, interval = made["scheduler"], made["interval"]
    per_epoch = ceil(batches / trainer.accumulate_grad_batches)
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else inf
    steps = min(epochs * per_epoch, trainer.max_steps if trainer.max_steps > 0 else inf)
    times = steps if interval == "step" or steps == inf else steps // per_epoch  # a part of an epoch takes no step
    length, run = f"{schedule.total_steps} {interval}s", f"{times:.0f} {interval}s" if times < inf else "no end"
    if schedule.total_steps < times:
        wanted = f"give --model.scheduler.total_steps {times:.0f}" if times < inf else "give --trainer.max_epochs"
        raise Refused(f"--model.scheduler: OneCycleLR ends after {length}, the run has {run}: {wanted}")
    if schedule.total_steps > times:
        return [f"OneCycleLR is made for {length}, the run has {run}: its learning rate will not come down all the way"]
    return []


def check_stepping(stored: dict[str, Any]) -> None:
    """Refuse to go on with a run whose schedule was stepped otherwise than it would be now.

    Before there was the option `interval`, every schedule was stepped once an epoch.

    Args:
        stored: The run's config.

    Raises:
        Refused: If it is of that time, and its schedule is made for steps.
    """
    model = stored.get("model") or {}
    settings = model.get("init_args") or {}
    kind = str((settings.get("scheduler") or {}).get("class_path", "")).rsplit(".", 1)[-1]
    per_step = kind in {one.__name__ for one in PER_STEP}
    if str(model.get("class_path")).startswith("stratoscope.models.") and per_step and "interval" not in settings:
        raise Refused(
            f"--run: this run was begun when {kind} was stepped once an epoch by mistake: begin another, which steps "
            "it after every batch, or as before with --model.interval epoch"
        )


def check_monitors(trainer: Trainer, planned: Planned) -> None:
    """Look for what callbacks and schedule watch among the metrics that there will be.

    Nothing is known of the metrics of other people's modules and callbacks; those of instruments are known anyway.

    Args:
        trainer: The trainer.
        planned: The run.

    Raises:
        Refused: If a metric does not exist, or not yet when it is looked at first.
    """
    if not (watched := list(_watched(trainer, planned.module))):
        return
    instruments = [callback for callback in _callbacks(trainer) if isinstance(callback, Instrument)]
    measured = {name: instrument for instrument in instruments for name in instrument.metric_names(planned)}
    beginnings = tuple(f"{kind.prefix()}/" for kind in subclasses([Instrument]))
    validated = trainer.limit_val_batches != 0
    logged = [name for name in _metrics(planned) if validated or name.startswith("train/")]
    known = [*logged, *measured, "epoch", "step"]
    own = _ours(planned.module) and all(_ours(callback) for callback in _callbacks(trainer))
    for watcher, metric, at_epoch_end in watched:
        if metric not in known and (own or metric.startswith(beginnings)):
            near = nearest(metric, known)
            raise Refused(f"{watcher}: no metric {metric}{near or f'; there are {_some(known)}'}")
        if metric in measured and (advice := measured[metric].comes_too_late(at_epoch_end)):
            raise Refused(f"{watcher} looks at {metric} before it is measured first; {advice}")
        if metric in logged and (advice := _too_early(trainer, metric, at_epoch_end, "scheduler" in watcher)):
            raise Refused(f"{watcher} looks at {metric} before it is measured first; {advice}")


def _too_early(trainer: Trainer, metric: str, at_epoch_end: bool, schedule: bool) -> str:
    """What to change where a metric of the network is looked at before there is one; nothing where it is there."""
    every = trainer.check_val_every_n_epoch
    if metric.startswith("train/"):
        early = not at_epoch_end and every == 1  # at the first validation, in the first epoch
        return "let it look at the end of the training epoch" if early else ""
    if schedule and every not in {1, None}:
        return f"validate every epoch, not every {every}, or let it watch train/loss"
    return ""


def _schedule(optimizers: Any) -> dict[str, Any]:
    """The schedule as our Classifier returns it; empty for the other forms there are, of which nothing is known."""
    found = optimizers.get("lr_scheduler") if isinstance(optimizers, dict) else None
    return found if isinstance(found, dict) and {"scheduler", "interval"} <= found.keys() else {}


def _callbacks(trainer: Trainer) -> list[Callback]:
    found: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return found


def _ours(part: object) -> bool:
    """Whether all that a part logs is known: stratoscope's and Lightning's are."""
    known = type(part).__module__.startswith(("stratoscope.", "lightning."))
    return known and not isinstance(part, LearningRateMonitor)


def _watched(trainer: Trainer, module: LightningModule) -> Iterator[tuple[str, str, bool]]:
    """Who watches a metric, its name, and whether it is looked at when the probes of the epoch are there."""
    by_default = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
    for callback in _callbacks(trainer):
        strict = getattr(callback, "strict", True)  # otherwise it waits for a metric
        if isinstance(callback, EarlyStopping | ModelCheckpoint) and callback.monitor is not None and strict:
            chosen = getattr(callback, "_check_on_train_epoch_end", getattr(callback, "_save_on_train_epoch_end", None))
            at_epoch_end = by_default if chosen is None else bool(chosen)
            yield f"--trainer.callbacks: {type(callback).__name__}", callback.monitor, at_epoch_end
    if isinstance(module, Classifier):
        made = _schedule(module.configure_optimizers())
        if isinstance(made.get("scheduler"), ReduceLROnPlateau) and made.get("monitor"):
            yield "--model.scheduler: ReduceLROnPlateau", made["monitor"], True


def _metrics(planned: Planned) -> Iterator[str]:
    """Names of what a Classifier logs."""
    for split, part in planned.sets.items():
        corrupted = part.data.given_label != part.data.true_label
        names = ["loss", "accuracy"]
        if bool(corrupted.any()):
            names += [] if bool(corrupted.all()) else ["accuracy_untouched"]
            names += ["accuracy_corrupted", "accuracy_true"]
        yield from (f"{split}/{name}" for name in names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
