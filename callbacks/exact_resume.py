"""An interrupted run goes on bit for bit as if nothing had happened: what Lightning's checkpoints leave out.

*Random numbers.* Before every step all global generators are seeded from (seed, epoch, step, process). So nothing needs
to be saved, and what happens between steps (validation, probes, an interruption) cannot change what they give.

*The place in the epoch.* Batches come in an order that is a function of (seed, epoch); a checkpoint from the middle of
an epoch says how many of them are done. Lightning would read that back only in some cases.

*Training metrics* of the epoch so far, which are sums over batches; and those of a finished epoch, which Lightning logs
only after the checkpoint is written.

*What callbacks and ReduceLROnPlateau watch*: the last values, and the step of that schedule after a finished epoch,
which Lightning takes only after the checkpoint is written, and leaves out after an epoch in which the run went on.

*What callbacks set up when an epoch begins*, which Lightning leaves out when the run goes on within the epoch.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from lightning.pytorch.utilities import CombinedLoader
from torchmetrics import Metric

SET_UP_AGAIN = (GradientAccumulationScheduler, StochasticWeightAveraging)  # without harm, in the middle of an epoch


class ExactResume(Callback):
    """Seeds every step and puts into checkpoints what Lightning leaves out.

    Works with loaders that have `state_dict` and `load_state_dict`, such as those of our data modules, and metrics that
    are sums, such as our Classifier's. A plain DataLoader that shuffles takes another order after an interruption, and
    what a module logs with `on_epoch=True` misses the batches before one in the middle of an epoch.

    Args:
        seed: Decides the random numbers of all steps.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._state: dict[str, Any] = {}
        self._owed: dict[int, str] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of torch (on all devices), NumPy and Python."""
        place = f"{self.seed} {trainer.current_epoch} {batch_idx} {trainer.global_rank}"
        words = hashlib.blake2b(place.encode(), digest_size=8).digest()
        _seed_torch(int.from_bytes(words, "little", signed=True), pl_module.device)
        random.seed(words)
        np.random.seed(int.from_bytes(words[:4], "little"))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let ReduceLROnPlateau take the step that Lightning has left out."""
        owed, self._owed = self._owed, {}
        _take_plateau_steps(trainer, owed)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note whether Lightning will leave it out."""
        if trainer.fit_loop.restarting:
            self._owed = _plateau_steps_to_come(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the place in the epoch and the metrics so far."""
        loaders = [loader.state_dict() for loader in _loaders(trainer) if hasattr(loader, "state_dict")]
        state: dict[str, Any] = {}
        # an epoch may end before the data do (limit_train_batches)
        at_end = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if not at_end and any(any(loader.values()) for loader in loaders):
            state["loaders"] = loaders
            state["sums"] = {name: _summed(metric) for name, metric in _metrics(pl_module)}
        elif trainer.training:
            logged = trainer._logger_connector.metrics["log"]
            state["logged"] = {name: float(value) for name, value in logged.items()}
            if logged and "step" not in logged:  # Lightning will file them under the last step that was taken
                step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1
                state["logged"] = {"epoch": trainer.current_epoch, **state["logged"], "step": step}
        state["watched"] = {name: torch.as_tensor(value).cpu() for name, value in trainer.callback_metrics.items()}
        state["plateau"] = _plateau_steps_to_come(trainer)
        checkpoint["exact_resume"] = state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep it until training starts."""
        self._state = checkpoint.get("exact_resume", {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put it back."""
        state, self._state = self._state, {}
        stateful = [loader for loader in _loaders(trainer) if hasattr(loader, "load_state_dict")]
        for loader, place in zip(stateful, state.get("loaders", []), strict=False):
            if any(place.values()):
                loader.load_state_dict(place)
        for name, metric in _metrics(pl_module):
            if trainer.is_global_zero and name in state.get("sums", {}):  # they are sums over all processes
                for part, value in state["sums"][name].items():
                    setattr(metric, part, value.to(pl_module.device))
                metric._update_count = 1
        trainer.callback_metrics.update(state.get("watched", {}))
        _take_plateau_steps(trainer, state.get("plateau", {}))
        if state.get("loaders"):
            _begin_epoch_again(trainer, pl_module)
        own = Path(str(trainer.ckpt_path)).resolve().is_relative_to(Path(trainer.default_root_dir).resolve())
        if own and (logged := state.get("logged")):  # of another run they are no business of this one
            step = int(logged.pop("step", trainer.global_step))
            for logger in trainer.loggers:
                if complete := getattr(logger, "complete", None):  # our table has it
                    complete(logged, step)


def _begin_epoch_again(trainer: Trainer, module: LightningModule) -> None:
    """Have set up what is not in checkpoints; the learning rates are, and stay."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SET_UP_AGAIN):
            callback.on_train_epoch_start(trainer, module)
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate


def _take_plateau_steps(trainer: Trainer, steps: dict[int, str]) -> None:
    for number, metric in steps.items():
        if metric in trainer.callback_metrics:
            schedule: Any = trainer.lr_scheduler_configs[number].scheduler
            trainer.lightning_module.lr_scheduler_step(schedule, trainer.callback_metrics[metric])


def _plateau_steps_to_come(trainer: Trainer) -> dict[int, str]:
    """Schedules that take a step when the hooks at the end of an epoch are through, and the metrics they watch."""
    epochs: Any = trainer.fit_loop.epoch_progress.current
    loop = trainer.fit_loop.epoch_loop
    if epochs.processed == epochs.completed or not loop._num_ready_batches_reached():
        return {}  # no epoch has just ended
    return {
        number: str(config.monitor)
        for number, config in enumerate(trainer.lr_scheduler_configs)
        if config.reduce_on_plateau
        and config.interval == "epoch"
        and (trainer.current_epoch + 1) % config.frequency == 0
    }


def _seed_torch(seed: int, device: torch.device) -> None:
    """Do as torch.manual_seed, less the stack traces that it notes for kinds of devices not in use."""
    if device.type not in {"cpu", "cuda"}:
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)


def _loaders(trainer: Trainer) -> list[Any]:
    loader = trainer.train_dataloader
    return [] if loader is None else CombinedLoader(loader).flattened


def _metrics(module: LightningModule) -> Iterator[tuple[str, Metric]]:
    return ((name, part) for name, part in module.named_modules() if isinstance(part, Metric))


def _summed(metric: Metric) -> dict[str, Any]:
    """The states of a metric, put together over all processes; every process has to ask."""
    metric.sync()
    state = {name: value.clone() for name, value in metric.metric_state.items() if isinstance(value, torch.Tensor)}
    if metric._is_synced:
        metric.unsync()
    return state
