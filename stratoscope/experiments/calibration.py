"""How long runs will take, from a few steps of each network and what its probes will read."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from stratoscope.callbacks.instruments.instrument import Instrument
from stratoscope.datamodules import Batch
from stratoscope.datamodules.image_data import EVALUATION_BATCH
from stratoscope.errors import Refused
from stratoscope.experiments.grid import PlannedRun
from stratoscope.fit.checks import planned_run
from stratoscope.fit.classes import subclasses
from stratoscope.fit.command import build
from stratoscope.models.parts.loss import batch_loss
from stratoscope.probes import frozen

STEPS = 4  # the first of which does not count
FEW = 32  # images that are looked at
WEIGHTS = "weights-of-another-run.pt"


def expected_seconds(runs: Sequence[PlannedRun], more: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Expected seconds of training, evaluation and linear probes of every run on this machine, as they are found.

    Runs that differ in labels or seeds only take equally long without probes, so one of them is tried.

    Args:
        runs: The runs.
        more: Words that are added to every command line.

    Yields:
        A run's name, and its seconds.

    Raises:
        Refused: If a run could not begin.
    """
    known: dict[str, float] = {}
    for run in runs:
        if run.finished:
            yield run.name, 0.0
            continue
        # other runs' weights, which may not be there yet, are those of an untrained network
        options = {name: _elsewhere(value, run, WEIGHTS) for name, value in run.options.items() if name != "ckpt_path"}
        without = ("seed_everything", *(("model.optimizer", "model.scheduler") if run.command != "fit" else ()))
        alike = {name: _of_weight(value) for name, value in options.items() if not name.startswith(without)}
        alike["command"] = run.command
        instruments = [one for one in _listed(options.get("trainer.callbacks")) if _measures(one)]
        corruption = _seedless(run.options.get("data.corruption")) if instruments else None
        key = json.dumps([alike, instruments, corruption], sort_keys=True)
        if key not in known:
            # under a name of its own, as nothing is written
            tried = replace(run, options=options, name="calibration")
            known[key] = _seconds_beside(tried, more, instruments)
        yield run.name, known[key]


def _seconds_beside(run: PlannedRun, more: Sequence[str], instruments: Sequence[object]) -> float:
    """Expected seconds of a run with these instruments, which may read the weights of others."""
    with TemporaryDirectory() as folder:
        given = json.dumps(instruments or None)
        if WEIGHTS in given:
            file = Path(folder) / WEIGHTS
            module = build(run.words(*more, "--trainer.callbacks", "null")).model
            torch.save(module.state_dict(), file)
            given = given.replace(WEIGHTS, str(file))
        return _seconds(run.words(*more, "--trainer.callbacks", given))


def _elsewhere(value: object, run: PlannedRun, file: str) -> object:
    """An option with a file in the place of each in the directory of another run."""
    if isinstance(value, str):
        return file if any(value.startswith(f"{run.folder / name}/") for name in run.needs) else value
    if isinstance(value, list):
        return [_elsewhere(one, run, file) for one in value]
    return {key: _elsewhere(one, run, file) for key, one in value.items()} if isinstance(value, dict) else value


def _measures(callback: object) -> bool:
    """Whether a callback, as an option names it, is an instrument."""
    home, _, name = str(callback.get("class_path") if isinstance(callback, dict) else callback).rpartition(".")
    with suppress(ImportError):  # which the run will say
        if home:
            import_module(home)
    return name in {kind.__name__ for kind in subclasses([Instrument])}


def _of_weight(value: object) -> object:
    """An option without the corruptions in it, but for those that change the number of samples."""
    if isinstance(value, list):
        kept = [_seedless(one) for one in value if "RandomSubset" in json.dumps(one)]
        return kept or None
    return value


def _seedless(value: object) -> object:
    if isinstance(value, list):
        return [_seedless(one) for one in value]
    return {key: _seedless(one) for key, one in value.items() if key != "seed"} if isinstance(value, dict) else value


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _seconds(words: Sequence[str]) -> float:
    command = build(words)
    trainer, model, data = command.trainer, command.model, command.datamodule
    fits = command.subcommand == "fit"
    epochs = trainer.max_epochs if fits else 0
    if epochs is None or epochs < 0 or not hasattr(data, "sets"):
        raise Refused("expected times need --trainer.max_epochs and data of this package")
    loader, device = data.train_dataloader(), trainer.strategy.root_device
    model.to(device)
    batches = [
        batch._replace(image=batch.image.to(device), given_label=batch.given_label.to(device))
        for batch in islice(loader, STEPS if fits else 1)
    ]
    few = Batch(*(part[:FEW] for part in batches[0]))
    step = _step(trainer, model, batches) if fits else 0.0
    # of one image
    look = step / len(batches[0].image) / 3 if fits else _look(trainer, model, few.image)
    steps = min(len(loader), _limit(trainer.limit_train_batches, len(loader)))
    tests = [part for name, part in data.sets.items() if name != "train"]
    blocks = (_limit(trainer.limit_val_batches, math.ceil(len(part) / EVALUATION_BATCH)) for part in tests)
    evaluated = sum(min(len(part), most * EVALUATION_BATCH) for part, most in zip(tests, blocks, strict=True))
    evaluations = epochs // (trainer.check_val_every_n_epoch or 1) if fits else 1
    seconds = epochs * steps * step + evaluations * evaluated * look
    planned = planned_run(trainer, model, data, few, fits)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Instrument):
            with trainer.precision_plugin.forward_context():
                seconds += callback.expected_seconds(planned, look)
    del command
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return float(seconds)


def _step(trainer: Trainer, model: LightningModule, batches: Sequence[Any]) -> float:
    """Seconds of a training step."""
    made: Any = model.configure_optimizers()
    optimiser = made["optimizer"]
    model.train()
    took = []
    for batch in batches:
        began = time.perf_counter()
        with trainer.precision_plugin.forward_context():
            loss = batch_loss(model(batch.image.clone()), batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        float(loss.detach())  # waits for the device
        took.append(time.perf_counter() - began)
    return min(took[1:] or took)


def _look(trainer: Trainer, model: LightningModule, image: Tensor) -> float:
    """Seconds of a forward pass of one image."""
    took = []
    with frozen(model), trainer.precision_plugin.forward_context():
        for _ in range(2):
            began = time.perf_counter()
            float(model(image.clone()).sum())
            took.append(time.perf_counter() - began)
    return min(took) / len(image)


def _limit(limit: float | None, batches: int) -> float:
    """How many batches a limit leaves: it is a number of them, or a share."""
    return batches if limit is None else limit * batches if isinstance(limit, float) else limit
