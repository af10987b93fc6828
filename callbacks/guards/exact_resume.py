"""An interrupted run goes on bit for bit as if nothing had happened: what Lightning's checkpoints leave out.

*Random numbers.* Before every step all global generators are seeded from (seed, epoch, step, process). So nothing needs
to be saved, and what happens between steps (validation, probes, an interruption) cannot change what they give.

*The place in the training*, by epochs and by batches of the one under way: see `exact_loops`.

*Training metrics* of the epoch so far: those that are sums over batches, what the module has logged, and what of a
finished epoch Lightning logs only after the checkpoint is written.

*What callbacks and ReduceLROnPlateau watch*: the last values, and the step of that schedule after a finished epoch,
which Lightning takes only after the checkpoint is written. And that a callback has asked to stop training.

*What ModelCheckpoint saved last*, after which it does not save the same step again.

*What callbacks set up when an epoch begins*, which Lightning leaves out when the run goes on within the epoch.
"""

import hashlib
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torchmetrics import Metric

from stratoscope.callbacks.guards.exact_loops import PLACE, ExactEpochLoop, exact, settle, within_epoch
from stratoscope.callbacks.guards.logged_results import of_all_processes, put_back_results, results_so_far
from stratoscope.callbacks.instruments.own_files import goes_on

SET_UP_AGAIN = (GradientAccumulationScheduler, StochasticWeightAveraging)  # without harm, in the middle of an epoch

SAVED = ("_last_global_step_saved", "_last_checkpoint_saved", "_defer_save_until_validation")  # of a ModelCheckpoint


class ExactResume(Callback):
    """Seeds every step and puts into checkpoints what Lightning leaves out.

    Works with loaders that have `state_dict` and `load_state_dict`, such as those of our data modules, and metrics
    whose states are sums or lists. A plain DataLoader that shuffles takes another order after an interruption within an
    epoch. Validations by the clock (`val_check_interval: 00:00:10:00`) come when they come.

    Args:
        seed: Decides the random numbers of all steps.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._state: dict[str, Any] = {}
        self._seen: dict[int, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let training go on from checkpoints in one way."""
        if stage == "fit":
            exact(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of torch (on all devices), NumPy and Python."""
        place = f"{self.seed} {trainer.current_epoch} {batch_idx} {trainer.global_rank}"
        words = hashlib.blake2b(place.encode(), digest_size=8).digest()
        _seed_torch(int.from_bytes(words, "little", signed=True), pl_module.device)
        random.seed(words)
        np.random.seed(int.from_bytes(words[:4], "little"))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let what is logged of its batches be filed behind that of earlier ones."""
        seen, self._seen = self._seen, {}
        trainer.fit_loop.epoch_loop.val_loop._seen_batches_per_dataloader.update(seen)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the metrics so far, and what else the loops know."""
        loop = trainer.fit_loop.epoch_loop
        state: dict[str, Any] = {"should_stop": trainer.should_stop, "validated": trainer.validating}
        if within_epoch(checkpoint["loops"]["fit_loop"]):
            state["sums"] = {name: _summed(metric) for name, metric in _metrics(pl_module)}
            state["results"] = of_all_processes(results_so_far(loop._results))
        elif trainer.training:
            logged = trainer._logger_connector.metrics["log"]
            state["logged"] = {name: float(value) for name, value in logged.items()}
            if logged and "step" not in logged:  # Lightning will file them under the last step that was taken
                step = loop._batches_that_stepped - 1
                state["logged"] = {"epoch": trainer.current_epoch, **state["logged"], "step": step}
        state["watched"] = {name: torch.as_tensor(value).cpu() for name, value in trainer.callback_metrics.items()}
        state["plateau"] = _plateau_steps_to_come(trainer)
        state["seen"] = dict(loop.val_loop._seen_batches_per_dataloader)
        savers = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
        state["saved"] = {one.state_key: {name: getattr(one, name) for name in SAVED} for one in savers}
        checkpoint["exact_resume"] = state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the counters of the loops in order, and keep the rest until training starts."""
        self._state = checkpoint.get("exact_resume", {})
        progress = checkpoint.get("loops", {}).get("fit_loop", {})
        if trainer.state.fn == TrainerFn.FITTING and set(PLACE) <= progress.keys():
            validated = settle(progress)
            self._state = {"validated": validated, **self._state, "within": within_epoch(progress)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put it back."""
        state, self._state = self._state, {}
        own = goes_on(trainer)
        for name, metric in _metrics(pl_module):
            if trainer.is_global_zero and name in state.get("sums", {}):  # they are sums over all processes
                for part, value in state["sums"][name].items():
                    setattr(metric, part, _on(pl_module.device, value))
                metric._update_count = 1
        trainer.callback_metrics.update(state.get("watched", {}))
        trainer.should_stop = trainer.should_stop or (own and state.get("should_stop", False))
        self._seen = state.get("seen", {})
        for saver in trainer.checkpoint_callbacks:
            if own and isinstance(saver, ModelCheckpoint):
                vars(saver).update(state.get("saved", {}).get(saver.state_key, {}))
        _take_plateau_steps(trainer, state.get("plateau", {}))
        if state.get("within"):
            if isinstance(loop := trainer.fit_loop.epoch_loop, ExactEpochLoop):
                loop.validated = state["validated"]
            if len(results := state.get("results", [])) == trainer.world_size:
                put_back_results(trainer, results[trainer.global_rank])
            _begin_epoch_again(trainer, pl_module)
        tables: list[Any] = [one for one in trainer.loggers if hasattr(one, "complete")]  # ours: others' are theirs
        for table in tables if own else []:
            if state.get("within"):
                table.go_on_behind(trainer.global_step)
            elif logged := state.get("logged"):
                table.complete(logged, int(logged.get("step", trainer.global_step)))


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


def _metrics(module: LightningModule) -> Iterator[tuple[str, Metric]]:
    return ((name, part) for name, part in module.named_modules() if isinstance(part, Metric))


def _summed(metric: Metric) -> dict[str, Any]:
    """The states of a metric, put together over all processes; every process has to ask."""
    metric.sync()
    try:
        parts: dict[str, Any] = metric.metric_state
        return {
            name: [_copied(part) for part in _listed(value)]
            if isinstance(metric._defaults[name], list)
            else _copied(value)
            for name, value in parts.items()
        }
    finally:
        if metric._is_synced:
            metric.unsync()


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]  # several processes put lists together


def _copied(part: Any) -> Any:
    return part.detach().clone() if isinstance(part, torch.Tensor) else deepcopy(part)


def _on(device: torch.device, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_on(device, part) for part in value)
    return value.to(device) if isinstance(value, torch.Tensor) else value
