"""The loss on a path or plane between stored solutions (Goodfellow et al. 2015; Keskar et al. 2017; Im et al. 2016)."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import fsum, isfinite, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from stratoscope.callbacks.instruments.frozen_instrument import FrozenInstrument, shard_of
from stratoscope.callbacks.instruments.instrument import Planned
from stratoscope.callbacks.instruments.loggers import log_to_all, show_to_all
from stratoscope.callbacks.instruments.own_files import distinct, folder
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.path_figure import draw_path
from stratoscope.callbacks.progress.tracked import tracked
from stratoscope.callbacks.samples.probed_sets import (
    GIVEN,
    TRAIN,
    TRUE,
    ProbedSet,
    SampleChoice,
    labelled_batch,
    probed_sets,
)
from stratoscope.files.table import EpochTable, Row, kinds_of
from stratoscope.models.parts.weights import weights_of_same
from stratoscope.probes import Call, LabelledBatch, Shard, choose_call, logits_of, read_batch, wilson
from stratoscope.probes.giving_up import go_on
from stratoscope.probes.landscape.paths import KINDS, Place
from stratoscope.probes.landscape.surface import (
    Surface,
    batch_normalisations,
    block_moments,
    mean_losses,
    put_moments,
)

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = kinds_of(
    "epoch", "path", "alpha", "beta", "labels", "split", "accuracy", "low", "high", "loss", "loss_error", "excess",
    "excess_error", "correct", "count", "batch_norm", "failed",
)  # fmt: skip
INTERPOLATED, RECOMPUTED = "interpolated", "recomputed"
BARRIER = "barrier"
Cell = tuple[str, str]  # set, label kind
Losses = dict[Cell, list[tuple[Tensor, Tensor]]]  # by block of this process: loss of every sample, and which are right
Sums = dict[Cell, list[list[float]]]  # by block: samples, right ones, loss, its square, excess, its square


class LossPath(FrozenInstrument):
    """Loss and accuracy of training and test set at points between the network and stored solutions, or around it.

    On a stored run by `validate --ckpt_path FILE`, or in short by `stratoscope path RUN RUN`; in training the network
    is measured after its last epoch. Only trainable weights are on the path; buffers and weights that are not trained
    are interpolated as they are, so that every end has the loss and accuracy it had in its own run. Samples are read as
    in validation, as many as `limit_val_batches` leaves; dropout is off.

    Writes `path.csv` (one row per point, label kind and set) and `path.png`. *Excess* is the loss less what it would be
    if it were linear between the ends; the largest on the path is the *barrier*, passed to loggers as
    `path/<labels>/<set>/barrier`. Its standard error is that of the differences sample by sample, as the same samples
    are looked at everywhere.

    Args:
        to: Checkpoints of the other ends, such as runs/NAME/checkpoints/last.ckpt: one for a straight or curved path,
            two for a triangle, three for a quadrilateral, none for a plane. No code from them is ever run.
        path: straight ((1 - alpha) x_0 + alpha x_1), curved (cos(alpha pi/2) x_0 + sin(alpha pi/2) x_1), triangle,
            quadrilateral, or plane: two random directions whose filters are as long as the network's (Li et al. 2018;
            biases and batch normalisations stay).
        points: How many along the path, or along each edge or direction of a plane.
        low: The least alpha (and beta, of a plane); None takes -1. A triangle and a quadrilateral end at their edges.
        high: The largest; None takes 2 for paths, 1 for a plane.
        batch_norm: Running statistics between the ends: interpolated, or recomputed at every point, the ends among
            them, on the training samples, in blocks that are normalised by their own.
        train_samples: Size of the random part of the training set that is looked at; None takes all of it.
        seed: Decides that part, and the directions of a plane.
        name: Tells several LossPath in one run apart: of `curved`, the files are `path_curved.csv` and so on.
        batch: What batches consist of, where it is not found out: see `LinearProbes`.
        forward: How the network is run, where it is not found out: see `LinearProbes`.
    """

    TABLE = "path"

    def __init__(
        self,
        to: str | list[str] | None = None,
        path: Literal["straight", "curved", "triangle", "quadrilateral", "plane"] = "straight",
        points: int = 25,
        low: float | None = None,
        high: float | None = None,
        batch_norm: Literal["interpolated", "recomputed"] = "interpolated",
        train_samples: int | None = None,
        seed: int = 0,
        name: str | None = None,
        batch: dict[str, str | int] | Callable[[Any], Any] | None = None,
        forward: str | Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(name, batch, forward)
        if path not in KINDS:
            raise ValueError(f"path must be one of {', '.join(KINDS)}, got {path}")
        if batch_norm not in {INTERPOLATED, RECOMPUTED}:
            raise ValueError(f"batch_norm must be {INTERPOLATED} or {RECOMPUTED}, got {batch_norm}")
        self.kind, self.path, self.points, self.batch_norm = KINDS[path], path, points, batch_norm
        self.to = [] if to is None else [to] if isinstance(to, str) else list(to)
        if len(self.to) != self.kind.ends - 1:
            wanted = self.kind.ends - 1
            raise ValueError(
                f"a {path} path goes from the network to {wanted} other end{'s' * (wanted != 1)}; "
                f"to names {len(self.to)}"
            )
        if points < 2:
            raise ValueError(f"points must be 2 or more, got {points}")
        if path in {"triangle", "quadrilateral"} and (low is not None or high is not None):
            raise ValueError(f"low and high are for paths and planes: a {path} ends at its edges")
        self.low, self.high = (
            own if given is None else given for given, own in zip((low, high), self.kind.span, strict=True)
        )
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be less than high, got {self.low:g} and {self.high:g}")
        if train_samples is not None and train_samples < 2:
            raise ValueError(f"train_samples must be 2 or more, got {train_samples}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.choice, self.seed = SampleChoice(train_samples, 0, seed, reader=type(self).__name__), seed
        self.table = EpochTable(COLUMNS)
        self.origin = Origin()

    def __repr__(self) -> str:
        """What is measured."""
        found = f"; {len(self.table.rows)} rows" if self.table.rows else ""
        return f"LossPath({self.path}, {self.points} points, to {', '.join(self.to) or 'no other end'}{found})"

    def frame(self) -> "DataFrame":
        """The table as a pandas DataFrame, see `EpochTable.frame`."""
        return self.table.frame()

    def due(self, epoch: int) -> bool:
        """Never while a network trains: it is measured when it has been trained."""
        return False

    def places(self) -> list[Place]:
        """The points, the ends among them."""
        return self.kind.places(self.points, self.low, self.high)

    def refuse(self, planned: Planned) -> list[str]:
        """See whether the other ends are solutions of the same network.

        Raises:
            ValueError: If not; the first layer that differs is named.
        """
        self.choice.size(len(planned.sets[TRAIN]))
        self._choose(planned.module, read_batch(planned.batch, self.batch, type(self).__name__))
        self._states(planned.module)
        return []

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """The barrier of every label kind and set."""
        if any(place.line for place in self.places()):
            yield from (self.metric(kind, split, BARRIER) for kind in planned.kinds for split in planned.sets)

    def comes_too_late(self, at_epoch_end: bool) -> str:
        """There is none before training has ended."""
        return "LossPath measures when training has ended, which is too late to be watched"

    def expected_seconds(self, planned: Planned, look: float) -> float:
        """Seconds of passes over all sets at every point."""
        train = len(planned.sets[TRAIN])
        fitted, tests = self.choice.size(train), sum(map(len, planned.sets.values())) - train
        again = fitted if self._recomputes(planned.module) else 0
        return look * len(self.places()) * (fitted + tests + again)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the trained network."""
        self.files.forget()
        self._begin_stored(trainer, pl_module)
        self.measure(trainer, pl_module, trainer.current_epoch, fails=False)
        self._print(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that it can be measured: what does not fit is refused before the first step."""
        with self._left_as_it_is(trainer, pl_module), trainer.precision_plugin.forward_context():
            self._look(trainer, pl_module)
            self._states(pl_module)

    def _begin_stored(self, trainer: Trainer, module: LightningModule) -> None:
        self.table.clear()

    def _states(self, module: LightningModule) -> list[Mapping[str, Tensor]]:
        """The other ends.

        Raises:
            ValueError: If one is not of the same network.
        """
        own = module.state_dict()
        try:
            return [weights_of_same(file, own) for file in self.to]
        except ValueError as error:
            raise ValueError(f"LossPath: {error}") from error

    def _recomputes(self, module: LightningModule) -> bool:
        return self.batch_norm == RECOMPUTED and bool(batch_normalisations(module))

    def _choose(self, module: LightningModule, batch: LabelledBatch) -> Call:
        """How the network is run.

        Raises:
            ValueError: If it gives no logits, or its batch statistics cannot be recomputed.
        """
        who = type(self).__name__
        call = choose_call(module, self.forward, batch, who)
        if logits_of(call(module, batch), len(batch)) is None:
            raise ValueError(f"{who} needs a network that gives logits (n, classes): say how it is run with forward")
        if self._recomputes(module):
            together = [
                n for n, part in batch_normalisations(module).items() if isinstance(part, torch.nn.SyncBatchNorm)
            ]
            if together:
                raise ValueError(f"{who} recomputes no SyncBatchNorm ({together[0]}): leave sync_batchnorm out")
        return call

    def _look(self, trainer: Trainer, module: LightningModule) -> tuple[dict[str, ProbedSet], Call]:
        """What there is to look at, from some samples of every set.

        Raises:
            ValueError: If what was asked for is not there.
            TypeError: If a set, or a batch of it, cannot be read.
        """
        sets = probed_sets(trainer, self.choice, partial(self._some, trainer), trainer.limit_val_batches)
        if empty := [split for split, part in sets.items() if not part.indices]:
            sets = {split: part for split, part in sets.items() if part.indices}
            rank_zero_info(f"LossPath leaves {', '.join(empty)} out: limit_val_batches leaves no sample")
        for split, part in sets.items():
            if split != TRAIN:
                self._some(trainer, part, 2)
        return sets, self._choose(module, self._some(trainer, sets[TRAIN]))

    def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Go through the points, the ends first."""
        began, shard = time.monotonic(), shard_of(trainer)
        with trainer.precision_plugin.forward_context():
            work: _Work | None = None
            error: Exception | None = None
            try:
                sets, call = self._look(trainer, module)
                surface = Surface(module, self._states(module))
                if self.path == "plane":
                    surface.add_directions(self.seed)
                work = _Work(trainer, module, surface, sets, call, shard, self._reading, self._recomputes(module))
            except Exception as reason:
                error = reason
            shard.agree(error)
            assert work is not None
            self._go(work, epoch)
        self.origin = Origin.of_trainer(trainer, module, work.classes)
        told = "; ".join(self._told(split) for split in work.sets)
        rank_zero_info(f"{self.path} path, epoch {epoch}: {told} ({time.monotonic() - began:.0f} s)")

    def _reading(self, trainer: Trainer, batch: Any, place: int) -> LabelledBatch:
        return labelled_batch(trainer, batch, place, self.batch, type(self).__name__)

    def _go(self, work: "_Work", epoch: int) -> None:
        """Measure the ends, then what is between them.

        Raises:
            ValueError: If the loss at an end is not finite.
        """
        if len({Path(file).resolve() for file in self.to}) < len(self.to) or self._same(work.surface):
            rank_zero_warn(f"LossPath: two ends of the {self.path} path have the same weights")
        places = self.places()
        at_ends = [place for place in places if place.end is not None]
        between = [place for place in places if place.end is None]
        rows: dict[Place, list[Row]] = {}
        ends: dict[int, Losses] = {}
        for place in at_ends:  # one after the other, as the excess needs them all
            assert place.end is not None
            ends[place.end], reason = work.losses(place)
            if reason:
                raise ValueError(f"LossPath: {self._end(place.end)}: {reason}")
        kinds = work.label_kinds(ends[0])
        for place in at_ends:
            end = place.end or 0
            rows[place] = self._rows(epoch, place, work, work.sums(ends[end], place, ends, kinds), kinds)
            for row in rows[place]:
                if row["loss"] is not None and not isfinite(row["loss"]):
                    raise ValueError(f"LossPath: the {row['split']} loss of {self._end(end)} is {row['loss']}")
        for place in tracked(work.trainer, between, f"{self.path} path"):
            go_on(together=True)
            losses, reason = work.losses(place)
            if reason:
                rows[place] = [
                    self._row(epoch, place, split, kind, failed=reason) for split in work.sets for kind in kinds
                ]
            else:
                rows[place] = self._rows(epoch, place, work, work.sums(losses, place, ends, kinds), kinds)
        self.table.replace(epoch, [row for place in places for row in rows[place]])

    def _same(self, surface: Surface) -> bool:
        given = surface.ends[: self.kind.ends]
        return any(torch.equal(one, other) for i, one in enumerate(given) for other in given[:i])

    def _end(self, number: int) -> str:
        return self.to[number - 1] if number else "the network itself"

    def _row(self, epoch: int, place: Place, split: str, kind: str, **cells: Any) -> Row:
        told = {"epoch": epoch, "path": self.path, "alpha": place.alpha, "beta": place.beta, "labels": kind}
        told |= {"split": split, "batch_norm": "", "failed": ""}
        return {**dict.fromkeys(COLUMNS), **told, **cells}

    def _rows(self, epoch: int, place: Place, work: "_Work", sums: Sums, kinds: Sequence[str]) -> list[Row]:
        rows = []
        normalised = self.batch_norm if work.normalises else ""
        for split in work.sets:
            for kind in kinds:
                count, right, loss, square, excess, excess_square = map(fsum, zip(*sums[split, kind], strict=True))
                if not count:
                    rows.append(self._row(epoch, place, split, kind, failed="no sample has a label"))
                    continue
                low, high = wilson(int(right), int(count))
                cells: Row = {"accuracy": right / count, "low": low, "high": high, "correct": int(right)}
                cells |= {"loss": loss / count, "loss_error": _error(count, loss, square), "count": int(count)}
                if place.line:
                    cells |= {"excess": excess / count, "excess_error": _error(count, excess, excess_square)}
                rows.append(self._row(epoch, place, split, kind, **cells, batch_norm=normalised))
        return rows

    def _barrier(self, kind: str, split: str, rows: Sequence[Row]) -> Row | None:
        """The row with the largest excess; None if there is none, or it is not known at every point."""
        mine = [row for row in rows if (row["labels"], row["split"]) == (kind, split)]
        within = {(place.alpha, place.beta) for place in self.places() if place.line}
        if any((row["alpha"], row["beta"]) in within and not _finite(row["excess"]) for row in mine):
            return None  # it may be anywhere
        found = [row for row in mine if row["excess"] is not None]
        return max(found, key=lambda row: row["excess"], default=None)

    def _told(self, split: str) -> str:
        kind = next((row["labels"] for row in reversed(self.table.rows)), TRUE)
        ends = [row for row in self.table.rows if row["split"] == split and row["labels"] == kind]
        top = self._barrier(kind, split, ends)
        if top is None:
            losses = [row["loss"] for row in ends if row["loss"] is not None]
            return (
                f"{split} loss {min(losses):.4g} to {max(losses):.4g}" if losses else f"no {split} sample has a label"
            )
        at = f"alpha {top['alpha']:.3g}" + (f", beta {top['beta']:.3g}" if top["beta"] is not None else "")
        return f"{split} loss, barrier {top['excess']:.4g} at {at}"

    def accuracies(self, epoch: int) -> dict[str, float]:
        """The barriers, by label kind and set."""
        rows = self.table.at(epoch)
        cells = dict.fromkeys((row["labels"], row["split"]) for row in rows)
        found = {cell: self._barrier(*cell, rows) for cell in cells}
        return {self.metric(*cell, BARRIER): row["excess"] for cell, row in found.items() if row}

    def _file_failure(self, epoch: int, reason: str) -> None:
        place = self.places()[0]
        self.table.replace(epoch, [self._row(epoch, place, TRAIN, TRUE, failed=reason)])

    def _publish(self, trainer: Trainer, epoch: int) -> None:
        """Write the table, draw it, and pass the barriers and the picture to the loggers."""
        to = folder(trainer)
        trainer.callback_metrics.update(self.watched(epoch))
        if not trainer.is_global_zero:
            return
        self.files.find(to)
        self.table.write(self.files.path("path.csv"))
        log_to_all(trainer, self.accuracies(epoch), epoch)
        if any(row["loss"] is not None for row in self.table.rows):
            names = distinct([str(trainer.ckpt_path or "the network"), *self.to])
            draw_path(self.table.rows, self.origin, names, picture := self.files.path("path.png"))
            show_to_all(trainer, {f"path{f'_{self.name}' if self.name else ''}": picture}, epoch)

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and (failures := [row for row in self.table.rows if row["failed"]]):
            rank_zero_warn(f"{len(failures)} rows of the path failed: {failures[0]['failed']}")


@dataclass
class _Work:
    """The network at a point, on all sets."""

    trainer: Trainer
    module: LightningModule
    surface: Surface
    sets: dict[str, ProbedSet]
    call: Call
    shard: Shard
    read: Callable[[Trainer, Any, int], LabelledBatch]
    recomputes: bool
    classes: int | None = None

    @property
    def normalises(self) -> bool:
        """Whether there are running statistics."""
        return bool(batch_normalisations(self.module))

    def _batches(self, part: ProbedSet) -> Iterator[LabelledBatch]:
        """This process's blocks of a set."""
        for batch in part.blocks(self.shard.blocks(part.indices)):
            go_on()
            yield self.read(self.trainer, batch, part.place)

    def losses(self, place: Place) -> tuple[Losses, str]:
        """Losses of this process's samples at a point; or the reason why there are none, on any process."""
        error: Exception | None = None
        found: Losses = {}
        try:
            self.surface.go_to(place.weights)
        except Exception as reason:
            error = reason
        if self.recomputes:
            error = self._recompute(error)
        if error is None:
            try:
                found = self._losses()
            except Exception as reason:
                error = reason
        mine = "" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        reasons = self.shard.share({self.shard.rank: mine})
        return found, next((reason for _, reason in sorted(reasons.items()) if reason), "")

    def _recompute(self, error: Exception | None) -> Exception | None:
        """Recompute running statistics from all processes' blocks of the training set, in their order."""
        part, shard = self.sets[TRAIN], self.shard
        found: Any = []
        if error is None:
            try:
                found = block_moments(self.module, partial(self.call, self.module), self._batches(part))
            except Exception as reason:
                error, found = reason, None
        everyone = shard.share({shard.rank: found})
        if error is None and all(one is not None for one in everyone.values()):
            blocks = [everyone[i % shard.ranks][i // shard.ranks] for i in range(sum(map(len, everyone.values())))]
            put_moments(self.module, blocks)
        return error

    def _losses(self) -> Losses:
        found: Losses = {(split, kind): [] for split in self.sets for kind in (TRUE, GIVEN)}
        for split, part in self.sets.items():
            for batch in self._batches(part):
                logits = logits_of(self.call(self.module, batch), len(batch))
                if logits is None:
                    raise ValueError(f"the network gives no logits for {split} samples")
                self.classes = logits.shape[1]
                for kind in (TRUE, GIVEN):
                    label = getattr(batch, kind).to(logits.device)
                    if int(label.max()) >= logits.shape[1]:
                        raise ValueError(f"{split} has labels of more classes than the {logits.shape[1]} logits")
                    loss = mean_losses(logits, label)
                    right = torch.where(label < 0, -1, (logits.argmax(1) == label).long())
                    found[split, kind].append((loss, right))
        return found

    def label_kinds(self, found: Losses) -> list[str]:
        """True labels, and given ones where they differ in the training set."""
        blocks = zip(found[TRAIN, TRUE], found[TRAIN, GIVEN], strict=True)
        apart = any(
            not torch.equal(one, other) for true, given in blocks for one, other in zip(true, given, strict=True)
        )
        return [TRUE, GIVEN] if any(self.shard.share({self.shard.rank: apart}).values()) else [TRUE]

    def sums(self, losses: Losses, place: Place, ends: Mapping[int, Losses], kinds: Sequence[str]) -> Sums:
        """Sums over every block of all processes, in order."""
        mine: Sums = {}
        for cell, blocks in losses.items():
            if cell[1] not in kinds:
                continue
            mine[cell] = []
            for number, (loss, right) in enumerate(blocks):
                line = torch.zeros_like(loss)
                for end, weight in enumerate(place.line):
                    line += weight * ends[end][cell][number][0] if weight else 0
                excess = loss - line if place.end is None else torch.zeros_like(loss)
                counted = (right >= 0).double()
                parts = (counted, right.clamp(min=0).double(), loss, loss.square(), excess, excess.square())
                mine[cell].append(torch.stack([part.sum() for part in parts]).tolist())
        everyone = self.shard.share({self.shard.rank: mine})
        return {cell: [block for one in everyone.values() for block in one[cell]] for cell in mine}


def _finite(number: float | None) -> bool:
    return number is not None and isfinite(number)


def _error(count: float, total: float, squares: float) -> float | None:
    """Standard error of a mean, from sums of values and of their squares."""
    if count < 2:
        return None
    return sqrt(max(0.0, squares - total * total / count) / (count - 1) / count)
