"""Features of every chosen layer on every set: read in one pass over the data, handed out one layer at a time."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from stratoscope.callbacks.progress.tracked import tracked
from stratoscope.callbacks.samples.probed_sets import GIVEN, TRUE, ProbedSet, labelled_batch
from stratoscope.probes import (
    Call,
    LabelledBatch,
    LabelledFeatures,
    LayerReduction,
    Shard,
    logits_of,
    read_features,
    room,
)
from stratoscope.probes.reading.batches import BatchReading

LOGITS = "#logits"  # no tap is called so


class LayerFeatures:
    """This process's share of the features, and the labels of all samples.

    Args:
        trainer: Whose precision, device and progress bar are used.
        module: The network, frozen.
        call: How it is run on a batch.
        reading: What batches consist of, see `read_batch`.
        reduce: By layer, what is made of its activations.
        sets: What to read, by name.
        shard: This process's share of the samples.
        in_files: Layers whose features are kept in files of `folder`, not in memory.
        folder: See there.

    Attributes:
        labels: By set, then as `true_label` and `given_label`, of all samples.
        missing: Layers that gave no features for some samples, and why.
        seconds: How long reading took.
    """

    def __init__(
        self,
        trainer: Trainer,
        module: LightningModule,
        call: Call,
        reading: BatchReading | None,
        reduce: Mapping[str, LayerReduction],
        sets: dict[str, ProbedSet],
        shard: Shard,
        in_files: set[str],
        folder: Path,
    ) -> None:
        self.shard, self.folders = shard, {layer: folder if layer in in_files else None for layer in reduce}
        self.missing: dict[str, str] = {}
        self.answers: dict[str, Tensor] = {}
        self.counts = {split: len(part.indices) for split, part in sets.items()}
        self.labels: dict[str, dict[str, Tensor]] = {}
        self.rows: dict[str, dict[str, Tensor]] = {}  # by set, then layer
        own: dict[str, dict[str, Tensor]] = {}
        began = time.monotonic()
        error: Exception | None = None
        try:
            for split, part in sets.items():
                mine = shard.blocks(part.indices)
                # a process without a sample of its own reads one, to know the shapes
                batches = tracked(trainer, part.blocks(mine or [part.indices[:1]]), f"reading {split} features")
                read = (labelled_batch(trainer, batch, part.place, reading) for batch in batches)
                rows = self._read(read, partial(call, module), module, reduce, sum(map(len, mine)))
                own[split] = {kind: rows.pop(kind) for kind in (TRUE, GIVEN)}
                if LOGITS in rows:
                    self.answers[split] = rows.pop(LOGITS)
                self.rows[split] = rows
        except Exception as reason:
            error = reason
        shard.agree(error)
        self.labels = {
            split: {kind: self._everywhere(label, split) for kind, label in labels.items()}
            for split, labels in own.items()
        }
        self._agree()
        self.seconds = time.monotonic() - began

    def _read(
        self,
        batches: Iterable[LabelledBatch],
        run: Callable[[LabelledBatch, Tensor], Any],
        module: LightningModule,
        reduce: Mapping[str, LayerReduction],
        size: int,
    ) -> dict[str, Tensor]:
        """Features of this process's samples of a set by layer, with their labels and, if all have some, the logits."""
        rows: dict[str, Tensor] = {}
        done = answered = 0
        for batch in batches:
            found = self._found(batch, partial(run, batch), module, reduce)
            for name, new in found.items():
                if name not in rows:
                    rows[name] = room((size, *new.shape[1:]), new.dtype, new.device, self.folders.get(name))
                if rows[name].shape[1:] == new.shape[1:]:
                    rows[name][done : done + len(new)] = new[:size]
                    answered += len(new) if name == LOGITS else 0
                elif name != LOGITS:
                    self.missing[name] = f"gave {new.shape[1]} features, {rows[name].shape[1]} before"
            done += len(batch)
        if answered < done:  # there is nothing in the other rows
            rows.pop(LOGITS, None)
        return rows

    def _found(
        self,
        batch: LabelledBatch,
        run: Callable[[Tensor], Any],
        module: LightningModule,
        reduce: Mapping[str, LayerReduction],
    ) -> dict[str, Tensor]:
        """Features of a batch by layer, with its labels and the logits."""
        answers: list[Any] = []
        wanted = {layer: how for layer, how in reduce.items() if layer not in self.missing}
        found = read_features(module, lambda image: answers.append(run(image)), batch.rows, wanted, self.missing)
        found |= {TRUE: batch.true_label, GIVEN: batch.given_label}
        if (logits := logits_of(answers[0], len(batch))) is not None:
            found[LOGITS] = logits.float()
        return found

    def _agree(self) -> None:
        """Leave out, on every process, what any of them or any set is without or has in other widths."""
        widths = {
            layer: {rows[layer].shape[1] for rows in self.rows.values() if layer in rows} for layer in self.folders
        }
        answers = {split: answer.shape[1] for split, answer in self.answers.items()}
        everyone = self.shard.share({self.shard.rank: (self.missing, widths, answers)}).values()
        self.missing = {layer: reason for missing, _, _ in everyone for layer, reason in missing.items()}
        for layer in self.folders:
            there = set().union(*(found[layer] for _, found, _ in everyone))
            if len(there) > 1 and layer not in self.missing:
                self.missing[layer] = f"gave {' and '.join(map(str, sorted(there)))} features"
        for rows in self.rows.values():
            for layer in self.missing:
                rows.pop(layer, None)
        for split in [*self.answers]:
            if len({found.get(split) for _, _, found in everyone}) > 1:
                del self.answers[split]

    def take(self, layer: str, item: int, kinds: Sequence[str]) -> dict[str, LabelledFeatures] | None:
        """Features of a layer on all sets, with labels of some kinds; none on processes that do not own the item.

        They are handed out once: their memory is then the caller's. A missing layer has none anywhere.
        """
        if layer in self.missing:
            return None
        found = {}
        for split, rows in self.rows.items():
            whole = self.shard.gather(rows.pop(layer), self.counts[split], item, self.folders[layer])
            if whole is not None:
                found[split] = LabelledFeatures(
                    whole, {kind: self.labels[split][kind].to(whole.device) for kind in kinds}
                )
        return found if self.shard.owns(item) else None

    def logits(self, split: str, item: int) -> Tensor | None:
        """What the network answers on all samples of a set, (n, classes), on the process that owns the item.

        None too if the network answers anything but one row of numbers, of one width, for every sample of the set.
        """
        answers = self.answers.get(split)
        return None if answers is None else self.shard.gather(answers, self.counts[split], item)

    def _everywhere(self, own: Tensor, split: str) -> Tensor:
        """The labels of a whole set on every process."""
        everywhere = [self.shard.gather(own, self.counts[split], item) for item in range(self.shard.ranks)]
        return next(label for label in everywhere if label is not None)
