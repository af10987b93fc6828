"""How long runs will take, from a few steps of each network and what its probes will read."""

import json
import math
import time
from collections.abc import Sequence
from itertools import islice

import torch
from torch.nn.functional import cross_entropy

from stratoscope.callbacks import LinearProbes
from stratoscope.callbacks.probe_plan import fitting_seconds
from stratoscope.datamodules.image_data import EVALUATION_BATCH
from stratoscope.experiments.grid import PlannedRun
from stratoscope.probes import frozen, read_features
from stratoscope.refusal import Refused

STEPS = 4  # the first of which does not count


def expected_seconds(runs: Sequence[PlannedRun], more: Sequence[str]) -> dict[str, float]:
    """Expected seconds of training, evaluation and linear probes of every run on this machine, by name.

    Runs that differ in labels or seeds only take equally long without probes, so one of them is tried.

    Args:
        runs: The runs.
        more: Words that are added to every command line.

    Raises:
        Refused: If a run could not begin.
    """
    known: dict[str, float] = {}
    found = {}
    for run in runs:
        if run.finished:
            found[run.name] = 0.0
            continue
        alike = {name: _of_weight(value) for name, value in run.options.items() if name != "seed_everything"}
        # without what would look for another run's weights
        probes = [one for one in _listed(run.options.get("trainer.callbacks")) if "LinearProbes" in json.dumps(one)]
        key = json.dumps([alike, probes, run.options.get("data.corruption") if probes else None], sort_keys=True)
        if key not in known:
            # under a name of its own, as nothing is written
            words = run.words(*more, "--trainer.callbacks", json.dumps(probes or None))
            known[key] = _seconds([*words[:-1], "calibration"])
        found[run.name] = known[key]
    return found


def _of_weight(value: object) -> object:
    """An option without the corruptions in it, but for those that change the number of samples."""
    if isinstance(value, list):
        kept = [one for one in value if "RandomSubset" in json.dumps(one)]
        return kept or None
    return value


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _seconds(words: Sequence[str]) -> float:
    from stratoscope.cli import build

    command = build(words)
    trainer, model, data = command.trainer, command.model, command.datamodule
    epochs = trainer.max_epochs if command.subcommand == "fit" else 0
    if epochs is None or epochs < 0 or not hasattr(data, "sets"):
        raise Refused("expected times need --trainer.max_epochs and data of this package")
    optimiser = model.configure_optimizers()["optimizer"]
    device = trainer.strategy.root_device
    model.to(device).train()
    loader = data.train_dataloader()
    took = []
    for batch in islice(loader, STEPS):
        began = time.perf_counter()
        moved = batch._replace(image=batch.image.to(device), given_label=batch.given_label.to(device))
        with trainer.precision_plugin.forward_context():
            loss = cross_entropy(model(moved.image), moved.given_label)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        float(loss.detach())  # waits for the device
        took.append(time.perf_counter() - began)
    step = min(took[1:] or took)
    steps = min(len(loader), _limit(trainer.limit_train_batches, len(loader)))
    images = 0.0
    for name, part in data.sets.items():
        blocks = math.ceil(len(part) / EVALUATION_BATCH)
        images += min(len(part), _limit(trainer.limit_val_batches, blocks) * EVALUATION_BATCH) * (name != "train")
    evaluations = max(1, epochs // (trainer.check_val_every_n_epoch or 1))
    look = step / data.batch_size / 3  # a forward pass of one image
    seconds = step * epochs * steps + look * evaluations * images
    for probes in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(probes, LinearProbes):
            times = sum(map(probes.due, range(epochs + 1))) if command.subcommand == "fit" else 1
            fitted = probes.choice.size(len(data.sets["train"]))
            kinds = 1 + bool((batch.given_label != batch.true_label).any())
            taps = [tap.name for tap in probes.choose_taps(model, moved.image)]
            with frozen(model), trainer.precision_plugin.forward_context():
                features = read_features(model, model, moved.image, taps, probes.reduce)
            fits = sum(fitting_seconds(features, data.classes * kinds * len(probes.ridges)).values())
            seconds += times * (look * (fitted + images) + fits * fitted)
    del command
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return float(seconds)


def _limit(limit: float | None, batches: int) -> float:
    """How many batches a limit leaves: it is a number of them, or a share."""
    return batches if limit is None else limit * batches if isinstance(limit, float) else limit
