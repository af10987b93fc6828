"""Linear probes of every layer while a network trains (Alain & Bengio 2016), fitted to convergence at frozen epochs."""

import time
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import CombinedLoader, rank_zero_info
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from stratoscope.callbacks.layer_measures import (
    CONTROL,
    MEASURES,
    SIMILAR,
    TRAIN,
    TRUE,
    Row,
    compare_layers,
    measure_layer,
    write_measures,
)
from stratoscope.callbacks.probe_table import ProbeTable
from stratoscope.callbacks.progress import tracked
from stratoscope.callbacks.separability_figure import draw_separability
from stratoscope.callbacks.set_names import set_names
from stratoscope.probes import (
    HELD_OUT,
    LabelledFeatures,
    Separability,
    Shard,
    Tap,
    control_labels,
    find_taps,
    frozen,
    read_features,
    select_taps,
    separability,
)
from stratoscope.probes import reduction as named_reduction

GIVEN = "given_label"


class LinearProbes(Callback):
    """Fits a linear classifier to every chosen layer at initialisation and after epochs of training.

    The network is frozen and left exactly as it was: training is bit for bit what it is without the callback (unless
    the data set itself keeps count, say with a generator of its own: reading samples is all that happens to it). Works
    with any LightningModule whose `forward` takes a batch of images. Batches are `(image, label)` or have the fields
    `image`, `given_label` and `true_label`; where given and true labels differ, both are probed. Probes are fitted on
    the training set and scored on it and on every validation set.

    Writes `probes.csv` (one row per epoch, layer, label kind and set) and `separability.png` to the logger's folder,
    and passes accuracies and picture to every logger.

    Args:
        taps: Layers to probe: 'natural' (the points the network names itself, else all), 'all', names as in
            `named_modules()`, globs such as '*.relu*', or a list of these.
        width: Most features per layer; wider layers are reduced to it. None keeps all.
        reduction: How: average_pool, channel_means, feature_subset (Alain & Bengio's random features),
            random_projection or none.
        ridge: Strength of the L2 penalty ridge/2 |W|^2 on standardised features, beside the mean cross-entropy; or
            several, which share every read of the features. The table has all of them; picture and summary show, for
            each layer, the one with the smallest loss on the held-out samples, or else the first.
        every_n_epochs: Probe at initialisation and after every so many epochs.
        epochs: Probe after these numbers of epochs instead (0 is at initialisation).
        held_out: Training samples that no probe is fitted on, to choose among several ridges; they have rows of their
            own in the table.
        train_samples: Size of the random part of the training set that probes are fitted on; None takes all of it.
        tolerance: How far from the optimum a fit may be, in nats: the duality gap at which it counts as converged.
        seed: Decides the random parts: of the training set, of the features, and control labels.
        measures: What else to ask of every layer, into measures.csv: neighbours, rank, collapse, control, similarity
            (see `measure_layer` and `compare_layers`).
    """

    def __init__(
        self,
        taps: str | list[str] = "natural",
        width: int | None = 1024,
        reduction: str = "average_pool",
        ridge: float | list[float] = 1e-3,
        held_out: int = 0,
        every_n_epochs: int = 1,
        epochs: list[int] | None = None,
        train_samples: int | None = None,
        tolerance: float = 1e-6,
        seed: int = 0,
        measures: list[str] | None = None,
    ) -> None:
        for name, value in {"width": width, "every_n_epochs": every_n_epochs, "train_samples": train_samples}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        self.ridges = ridge if isinstance(ridge, list) else [ridge]
        for name, numbers in {"ridge": self.ridges, "tolerance": [tolerance]}.items():
            for number in numbers or [0]:
                if not number > 0:
                    raise ValueError(f"{name} must be above 0, got {number}")
        if held_out < 0:
            raise ValueError(f"held_out must be 0 or more samples, got {held_out}")
        if epochs is not None and min(epochs, default=-1) < 0:
            raise ValueError(f"epochs must be numbers from 0, got {epochs}")
        if not taps:
            raise ValueError("taps must name at least one layer, got none")
        self.taps, self.width, self.tolerance, self.held_out = taps, width, tolerance, held_out
        self.every_n_epochs, self.epochs = every_n_epochs, epochs
        self.train_samples, self.seed = train_samples, seed
        self.reduction, self.reduce = reduction, named_reduction(reduction, width, seed)
        self.measures = measures or []
        for name in self.measures:
            if name not in MEASURES:
                raise ValueError(f"measures must be of {', '.join(MEASURES)}; got {name}")
        self.measured: list[Row] = []
        self.table = ProbeTable()
        self.weights: dict[str, Tensor] = {}  # of the last fits, to start the next ones from
        self._stored_epoch = 0

    def due(self, epoch: int) -> bool:
        """Whether to probe after this number of epochs."""
        return epoch in self.epochs if self.epochs is not None else epoch % self.every_n_epochs == 0

    def choose_taps(self, module: LightningModule, image: Tensor) -> list[Tap]:
        """Find the taps this callback will read, on a batch of images.

        Raises:
            ValueError: If a name or glob matches nothing.
        """
        with frozen(module):
            return select_taps(self.taps, find_taps(module, module, image))

    def check_samples(self, available: int) -> int:
        """How many training samples the probes are fitted on.

        Args:
            available: Size of the training set.

        Raises:
            ValueError: If there are not enough for them and the held-out ones.
        """
        size = available - self.held_out if self.train_samples is None else self.train_samples
        if size < 1 or size + self.held_out > available:
            wanted = f"{self.held_out} held-out" + (f" and {size} training" if self.train_samples else "")
            raise ValueError(f"LinearProbes cannot take {wanted} samples from {available}: some must be left to fit on")
        return size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the untrained network."""
        if trainer.global_step == 0:
            self.table, self.weights, self.measured = ProbeTable(), {}, []
            if self.due(0):
                self.probe(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe after an epoch."""
        if self.due(trainer.current_epoch + 1):
            self.probe(trainer, pl_module, trainer.current_epoch + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe a stored network (`validate`)."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.table, self.weights, self.measured = ProbeTable(), {}, []  # not those that the checkpoint remembers
            self.probe(trainer, pl_module, self._stored_epoch)
            self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table of the whole run."""
        self._print(trainer)

    def probe(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        """Fit and score the probes of all chosen layers, now.

        Args:
            trainer: The trainer, whose data loaders give training and validation sets.
            pl_module: The network.
            epoch: Number of finished epochs, to file the results under.
        """
        began = time.monotonic()
        shard = Shard(trainer.global_rank, trainer.world_size)
        sets = self._sets(trainer)
        with frozen(pl_module), trainer.precision_plugin.forward_context():
            sample = _moved(trainer, next(iter(_blocks(sets[TRAIN].loader, [sets[TRAIN].indices[:2]]))))
            taps = select_taps(self.taps, find_taps(pl_module, pl_module, sample["image"]))
            if not self.table.rows:
                self._say_plan(
                    read_features(pl_module, pl_module, sample["image"], _names(taps), self.reduce), taps, sets
                )
            data = {split: self._read(trainer, pl_module, taps, shard, split, part) for split, part in sets.items()}
        labels = {split: _labels(shard, data[split], len(part.indices)) for split, part in sets.items()}
        kinds = [TRUE] if bool((labels[TRAIN][TRUE] == labels[TRAIN][GIVEN]).all()) else [TRUE, GIVEN]
        if "control" in self.measures:
            for split, part in labels.items():
                counts = torch.bincount(labels[TRAIN][TRUE]).tolist()
                control = control_labels(len(part[TRUE]), counts, self.seed + (split != TRAIN))
                part[CONTROL] = control.to(part[TRUE].device)
            kinds.append(CONTROL)
        mine: dict[int, _Result] = {}
        for item, tap in enumerate(tracked(trainer, taps, f"epoch {epoch}: fitting probes")):
            rows = {split: shard.gather(data[split].pop(tap.name), len(sets[split].indices), item) for split in sets}
            if shard.owns(item):
                layer = {
                    split: LabelledFeatures(features, {kind: labels[split][kind] for kind in kinds})
                    for split, features in rows.items()
                    if features is not None
                }
                mine[item] = self._fit(tap.name, layer)
        results = shard.share(mine)
        self.weights = {taps[item].name: one.weights for item, one in results.items() if one.weights is not None}
        self.table.put(epoch, {tap.name: (tap.width, results[item].scores) for item, tap in enumerate(taps)})
        if self.measures:
            self._note(epoch, {tap.name: results[item] for item, tap in enumerate(taps)})
        self._publish(trainer, epoch)
        rank_zero_info(f"probes, epoch {epoch}: {self.table.summary(epoch)} ({time.monotonic() - began:.0f} s)")

    def _say_plan(self, features: dict[str, Tensor], taps: Sequence[Tap], sets: dict[str, "_Set"]) -> None:
        """Say before the first fit what will be kept, and which layers are not probed in full."""
        row = sum(rows[0].numel() * rows.element_size() for rows in features.values())
        size = row * sum(len(part.indices) for part in sets.values()) / 2**30
        cut = [f"{tap.name} {tap.width:,} to {len(features[tap.name][0]):,}" for tap in taps]
        cut = [text for text, tap in zip(cut, taps, strict=True) if len(features[tap.name][0]) < tap.width]
        reduced = f"; {self.reduction} reduces {', '.join(cut)}" if cut else ""
        rank_zero_info(f"probing {len(taps)} layers, {size:.2f} GiB of features{reduced}")

    def _read(
        self, trainer: Trainer, module: LightningModule, taps: Sequence[Tap], shard: Shard, split: str, part: "_Set"
    ) -> dict[str, Tensor]:
        """Features of this process's share of a set by tap, and its labels as `true_label` and `given_label`."""
        names = _names(taps)
        pieces: dict[str, list[Tensor]] = {}
        mine = shard.blocks(part.indices)
        for batch in tracked(trainer, _blocks(part.loader, mine or [part.indices[:1]]), f"reading {split} features"):
            fields = _moved(trainer, batch)
            features = read_features(module, module, fields["image"], names, self.reduce)
            for name, rows in {**features, TRUE: fields[TRUE], GIVEN: fields[GIVEN]}.items():
                pieces.setdefault(name, []).append(rows)
        return {name: torch.cat(rows)[: None if mine else 0] for name, rows in pieces.items()}

    def _sets(self, trainer: Trainer) -> dict[str, "_Set"]:
        """The sets to read: where from, and which samples.

        Raises:
            TypeError: If a set cannot be read by index.
        """
        loaders = {TRAIN: _training_loader(trainer)}
        held_out = _held_out_loaders(trainer)
        loaders |= dict(zip(set_names(held_out), held_out, strict=True))
        sets = {}
        for split, loader in loaders.items():
            if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
                raise TypeError(f"LinearProbes needs a DataLoader over an indexed data set for {split}, got {loader!r}")
            indices = _samples(loader)
            if split == TRAIN and (self.train_samples is not None or self.held_out):
                order = np.argsort(np.random.PCG64(self.seed).random_raw(len(indices)), kind="stable")
                size = self.check_samples(len(indices))
                if self.held_out:
                    left = sorted(indices[place] for place in order[size : size + self.held_out])
                    sets[HELD_OUT] = _Set(loader, left)
                indices = sorted(indices[place] for place in order[:size])
            quick = trainer.fast_dev_run  # type: ignore[attr-defined]
            sets[split] = _Set(loader, indices[:100] if quick else indices)
        return sets

    def _fit(self, tap: str, sets: dict[str, LabelledFeatures]) -> "_Result":
        """Fit and score the probes of one layer, from where the last ones ended, and measure what else is asked."""
        labels = [label for part in sets.values() for label in part.labels.values()]
        classes = 1 + max(int(label.max()) for label in labels)
        start = self.weights.get(tap)
        problems = len(sets[TRAIN].labels) * len(self.ridges)
        if start is not None and start.shape != (problems, sets[TRAIN].features.shape[1] + 1, classes):
            start = None
        rows, weights = separability(sets[TRAIN], sets, classes, self.ridges, self.tolerance, start)
        measured = measure_layer(self.measures, sets, rows, classes) if weights is not None else []
        held_out = next((part.features for split, part in sets.items() if split not in {TRAIN, HELD_OUT}), None)
        asked = "similarity" in self.measures and weights is not None
        sample = held_out[:SIMILAR].cpu() if asked and held_out is not None else None
        return _Result(rows, None if weights is None else weights.cpu(), measured, sample)

    def _note(self, epoch: int, results: dict[str, "_Result"]) -> None:
        """File an epoch's measures."""
        splits = [split for split in self.table.unique("split") if split not in {TRAIN, HELD_OUT}]
        samples = {layer: one.sample for layer, one in results.items() if one.sample is not None}
        similar = compare_layers(samples, splits[0]) if samples else {}
        self.measured = [row for row in self.measured if row["epoch"] != epoch]
        for layer, one in results.items():
            rows = [*one.measured, *similar.get(layer, [])]
            self.measured += [{"epoch": epoch, "layer": layer, **row} for row in rows]
        self.measured.sort(key=lambda row: row["epoch"])

    def _publish(self, trainer: Trainer, epoch: int) -> None:
        """Write table and picture, and pass them to the loggers."""
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if not trainer.is_global_zero:
            return
        self.table.write(folder / "probes.csv")
        if self.measures:
            write_measures(self.measured, folder / "measures.csv")
        draw_separability(self.table, folder / "separability.png")
        accuracies = {
            f"probe/{row['labels']}/{row['split']}/{row['layer']}": row["accuracy"]
            for row in self.table.rows
            if row["epoch"] == epoch and row["accuracy"] is not None and row["chosen"]
        }
        for logger in trainer.loggers:
            logger.log_metrics({**accuracies, "epoch": float(epoch)}, step=trainer.global_step)
            if log_image := getattr(logger, "log_image", None):  # W&B has it
                log_image("separability", [str(folder / "separability.png")], step=trainer.global_step)

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self.table.rows:
            self.table.print()

    def state_dict(self) -> dict[str, Any]:
        """Results and weights so far, and what they depend on, as plain values and tensors."""
        rows = {"rows": self.table.rows, "measured": self.measured}
        return {**rows, "weights": self.weights, "settings": self._settings()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier state; results of other settings do not belong into this table."""
        if state_dict.get("settings") == self._settings():
            self.table, self.weights = ProbeTable(state_dict["rows"]), state_dict["weights"]
            self.measured = list(state_dict["measured"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many epochs a stored network was trained for."""
        self._stored_epoch = finished_epochs(checkpoint)

    def _settings(self) -> dict[str, Any]:
        names = ("taps", "width", "ridges", "held_out", "reduction", "tolerance", "train_samples", "seed", "measures")
        return {name: getattr(self, name) for name in names}


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """Number of epochs of training behind a Lightning checkpoint; 0 for weights without a history."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return int(progress.get("current", {}).get("processed", 0))


@dataclass(frozen=True)
class _Result:
    scores: list[Separability]
    weights: Tensor | None
    measured: list[Row]
    sample: Tensor | None  # features of some test samples, to compare layers on


@dataclass(frozen=True)
class _Set:
    loader: DataLoader[Any]
    indices: list[int]


def _names(taps: Sequence[Tap]) -> list[str]:
    return [tap.name for tap in taps]


def _training_loader(trainer: Trainer) -> Any:
    """The training loader, also where there is no training.

    Raises:
        ValueError: If there is none.
    """
    if trainer.state.fn == TrainerFn.FITTING:
        loaders = CombinedLoader(trainer.train_dataloader).flattened
        if len(loaders) == 1:
            return loaders[0]
        raise ValueError(f"LinearProbes needs one training loader, got {len(loaders)}")
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if datamodule is not None:
        datamodule.setup("fit")
    source = datamodule or trainer.lightning_module
    if not is_overridden("train_dataloader", source):
        raise ValueError("LinearProbes needs the training set to fit on: validate with a data module that has one")
    return source.train_dataloader()


def _held_out_loaders(trainer: Trainer) -> list[Any]:
    """The validation loaders, which Lightning may not have asked for yet."""
    loaders = trainer.val_dataloaders
    if loaders is None and trainer.state.fn == TrainerFn.FITTING:
        source = trainer.fit_loop.epoch_loop.val_loop._data_source
        loaders = source.dataloader() if source.is_defined() else None
    return [] if loaders is None else CombinedLoader(loaders).flattened


def _samples(loader: DataLoader[Any]) -> list[int]:
    """Which samples of its data set a loader gives, without asking its sampler, which may draw.

    Raises:
        TypeError: If that cannot be known.
    """
    sampler, size = loader.sampler, len(loader.dataset)  # type: ignore[arg-type]
    sampler = getattr(getattr(sampler, "dataset", None), "_sampler", sampler)  # as Lightning wraps it
    if isinstance(indices := getattr(sampler, "indices", None), Sequence):
        return sorted(int(index) for index in indices)
    if isinstance(sampler, DistributedSampler) or not isinstance(sampler, Sized) or len(sampler) == size:
        return list(range(size))
    raise TypeError(f"LinearProbes cannot tell which {len(sampler)} of {size} samples {type(sampler).__name__} takes")


def _blocks(loader: DataLoader[Any], blocks: list[list[int]]) -> DataLoader[Any]:
    """The samples of a loader in the given blocks, without a draw from any global generator."""
    return DataLoader(
        loader.dataset,
        batch_sampler=blocks,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=torch.Generator(),
    )


def _moved(trainer: Trainer, batch: Any) -> dict[str, Tensor]:
    """Image, true and given labels of a batch, on the network's device and in its input precision.

    Raises:
        TypeError: If it is not clear what is what.
    """
    batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
    if hasattr(batch, "true_label"):
        return {"image": batch.image, TRUE: batch.true_label, GIVEN: batch.given_label}
    if isinstance(batch, (tuple, list)) and len(batch) >= 2 and all(isinstance(part, Tensor) for part in batch[:2]):
        return {"image": batch[0], TRUE: batch[1], GIVEN: batch[1]}
    raise TypeError(
        "LinearProbes needs batches (image, label), or with the fields image, given_label and true_label; "
        f"got {type(batch).__name__}"
    )


def _labels(shard: Shard, data: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """The labels of a whole set by kind, on every process."""
    labels = {}
    for kind in (TRUE, GIVEN):
        own = data.pop(kind)
        everywhere = [shard.gather(own, count, item) for item in range(shard.ranks)]
        labels[kind] = next(label for label in everywhere if label is not None)
    return labels
