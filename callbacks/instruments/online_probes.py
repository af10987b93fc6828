"""Linear probes of every layer, trained by SGD beside the network (Alain & Bengio 2016, section 3)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from math import inf, nan, prod
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import CombinedLoader, rank_zero_info, rank_zero_warn
from torch import Tensor, distributed

from stratoscope.callbacks.instruments.instrument import Instrument, Planned
from stratoscope.callbacks.instruments.loggers import log_to_all, show_to_all
from stratoscope.callbacks.instruments.own_files import goes_on
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.callbacks.pictures.separability_figure import draw_separability
from stratoscope.callbacks.progress.above import console_above
from stratoscope.callbacks.samples.loader_samples import padding
from stratoscope.callbacks.samples.probed_sets import GIVEN, TRAIN, TRUE
from stratoscope.datamodules.set_names import named_sets
from stratoscope.files.table import kinds_of
from stratoscope.probes import (
    LabelledBatch,
    LayerReduction,
    Layout,
    OnlineProbe,
    Separability,
    Tap,
    UnreadableBatch,
    find_call,
    frozen,
    logits_of,
    read_batch,
    read_features,
    select_taps,
    wilson,
)
from stratoscope.probes import reduction as named_reduction
from stratoscope.probes.reading.batches import check_reading
from stratoscope.probes.reading.reduction import named
from stratoscope.probes.reading.taps import INPUT, hooked

COLUMNS = kinds_of(
    *"epoch layer width labels split accuracy low high correct count loss features failed reduced".split()
)
COUNTS = ("not finite", "missing", "beyond", "unlike", "correct", "loss", "labels")  # by layer and label kind
UNLIKE, SCORES = COUNTS.index("unlike"), COUNTS.index("correct")  # where the true label is another; where sums begin
FAULTS = {"not finite": "features or loss are not finite", "missing": "the layer did not run or gave another shape"}
MOST_CLASSES = 1_000_000
PADDED = -(2**62)  # a label of samples that are there a second time only; any below 0 is left out


class OnlineProbes(Instrument):
    """Trains a linear classifier on every chosen layer beside the network, on the batches that train it.

    For networks and data too large for `LinearProbes`, which fits its probes to the optimum for one frozen network.
    These follow a network that moves, one step of SGD per training batch, and certify nothing: how far they are from
    the optimum is not known, and training accuracies are usually well below it. Within an epoch nothing is read from
    the device. Training is bit for bit what it is without the callback, as the hooks on its forward passes only copy.
    (In validation, torch's TransformerEncoderLayer takes another path under hooks: its output may differ in rounding.)

    Works with any LightningModule whose steps run the images of the batch through its layers, once; of several passes
    the first is read. What a batch consists of and what `forward` takes is found out (see `read_batch`, `choose_call`),
    or said with `batch` and `forward`; given labels that ever differ from the true ones are probed too. Samples with a
    label below 0 have none: they are counted and left out, as are those that are there only for several processes to
    have equally many. Several processes train the same probes. What does not fit is refused before the first step;
    what goes wrong later costs results, never the training.

    Writes `online_probes.csv` (one row per epoch, layer, label kind and set) and, at the end, `online_probes.png` (and
    `.svg`) to the logger's folder, and passes accuracies to every logger as `online_probe/<labels>/<set>/<layer>`;
    under these names other callbacks may watch them, EarlyStopping at the end of the training epoch (its default). On
    the training set accuracy and loss are running ones: every batch is scored before the step on it. Validation sets
    are scored whenever they are validated; the last time in an epoch counts. Batches for which a layer is not finite
    teach its probes nothing, and its rows of that epoch say so in `failed`, in place of results.

    With weight averaging (EMAWeightAveraging) the training set is scored on the weights that train, and validation sets
    on the averages, which are what is validated then.

    Args:
        taps: Layers to probe: 'natural' (the points the network names itself, else all), 'all', names as in
            `named_modules()`, globs such as '*.relu*', or a list of these.
        width: Most features per layer; wider layers are reduced to it. None keeps all. A feature takes 8 bytes per
            class and label kind.
        reduction: How: average_pool (means of neighbouring positions; of token layers the mean over all tokens),
            channel_means, token_mean, cls (the first token), feature_subset (Alain & Bengio's random features),
            random_projection or none; in Python also a function of an activation (n, ...) that returns features (n, d).
        learning_rate: Share of the step that is safe on every batch, 1 / (L + ridge) (see `OnlineProbe`).
        momentum: Share of the last step that is taken again, in [0, 1).
        ridge: Strength of the L2 penalty ridge/2 |W|^2 on standardised features, beside the mean cross-entropy.
        seed: Decides the random parts of a reduction; the probes start from zeros.
        classes: Number of classes. None takes the width of the network's output, or more if the first labels need it;
            sets with labels beyond fail.
        channels: Where layers have their channels whose module does not tell: first, as convolutions, or last, as
            transformers.
        name: Tells several OnlineProbes in one run apart: of `deep`, the files are `online_probes_deep.csv` and so on,
            and the accuracies `online_probe/deep/<labels>/<set>/<layer>`.
        batch: What batches consist of, where it is not found out: see `LinearProbes`.
        forward: How the network is run to find its layers, where that is not found out: see `LinearProbes`. What is
            read is the forward pass that trains.
    """

    TABLE = "online_probes"

    def __init__(
        self,
        taps: str | list[str] = "natural",
        width: int | None = 1024,
        reduction: str | Callable[[Tensor], Tensor] = "average_pool",
        learning_rate: float = 1.0,
        momentum: float = 0.9,
        ridge: float = 1e-3,
        seed: int = 0,
        classes: int | None = None,
        channels: Literal["first", "last"] | None = None,
        name: str | None = None,
        batch: dict[str, str | int] | Callable[[Any], Any] | None = None,
        forward: str | Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(name)
        if not taps:
            raise ValueError("taps must name at least one layer, got none")
        for option, number in {"width": width, "classes": classes}.items():
            if number is not None and number < 1:
                raise ValueError(f"{option} must be 1 or more, got {number}")
        if classes is not None and classes > MOST_CLASSES:
            raise ValueError(f"classes must be at most {MOST_CLASSES:,}, got {classes}")
        if not 0 < learning_rate < inf:
            raise ValueError(f"learning_rate must be above 0, got {learning_rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if not 0 <= ridge < inf:
            raise ValueError(f"ridge must be 0 or more, got {ridge}")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self.taps, self.width, self.seed, self.classes = taps, width, seed, classes
        self.how, self.reduction, self.channels = named_reduction(reduction, width, seed), named(reduction), channels
        self.learning_rate, self.momentum, self.ridge = learning_rate, momentum, ridge
        check_reading(batch)
        self.batch, self.forward = batch, forward
        self._hooks, self._sets = ExitStack(), dict[str, Any]()
        self._forget()

    def _forget(self) -> None:
        self.table, self.kinds = ProbeTable((), COLUMNS), [TRUE]
        self._whole = True  # or the table has the last epoch of a checkpoint alone
        self.probes: dict[str, OnlineProbe] = {}  # by layer, in order of execution
        self.reduce: dict[str, LayerReduction] = {}  # by layer
        self.tally: dict[str, Tensor] = {}  # of this epoch, by set: (layers, COUNTS, k) in float64
        self.epoch = 0
        self._unlabelled: dict[str, Tensor] | None = {}  # samples by set in the first epoch, to be said once: (k)
        self._unread = ""
        self._leave()

    def _leave(self) -> None:
        self._hooks.close()
        self._labels: Tensor | None = None  # of the batch under way: (k, n)
        self._features: dict[str, Tensor] = {}  # by layer: (n, d)

    def choose_taps(self, module: LightningModule, batch: Any) -> list[Tap]:
        """Find the taps this callback will read, on a batch.

        Raises:
            ValueError: If a name or glob matches nothing.
            UnreadableBatch: If it is not clear what the batch consists of, or how the network is run on it.
        """
        with frozen(module):
            left_out: dict[str, str] = {}
            read = read_batch(batch, self.batch, "OnlineProbes")
            found = find_call(module, self.forward, read, self.channels, left_out, "OnlineProbes")[1]
            return select_taps(self.taps, found, left_out)

    def refuse(self, planned: Planned) -> list[str]:
        """See whether there are layers to probe."""
        self.choose_taps(planned.module, planned.batch)
        return []

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """Accuracies of every layer, label kind and set."""
        for tap in self.choose_taps(planned.module, planned.batch):
            yield from (self.metric(kind, split, tap.name) for kind in planned.kinds for split in planned.sets)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew, or go on from a checkpoint.

        Raises:
            ValueError: If the network is compiled.
        """
        marks = ("_compiled_call_impl", "_orig_mod", "_compiler_ctx")
        if any(getattr(part, mark, None) is not None for part in pl_module.modules() for mark in marks):
            raise ValueError(
                "OnlineProbes reads the forward pass that trains, in which torch.compile hides the layers: use "
                "LinearProbes, or train without compile"
            )
        if trainer.global_step == 0:
            self._forget()
        self.files.begin(trainer, {"online_probes.csv": self.table}, self._whole)
        self._whole = True
        if self.table.epochs:  # a run that goes on
            trainer.callback_metrics.update(self.watched(self.table.epochs[-1]))
        if not goes_on(trainer):  # the table of the run before has its rows
            self.table.clear()
        self.probes = {layer: OnlineProbe(**_on(pl_module.device, vars(one))) for layer, one in self.probes.items()}
        self.tally = _on(pl_module.device, self.tally)
        if self.epoch <= trainer.current_epoch:  # Lightning goes on after the last batch, and does not end its epoch
            self._file(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the labels, and the features of the forward pass to come."""
        self._note(trainer, pl_module, batch, batch_idx, TRAIN, trainer.train_dataloader)

    def _note(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int, split: str, loader: Any
    ) -> None:
        """Note the labels of a batch, and read the layers in the forward pass to come.

        Raises:
            UnreadableBatch: If the first of all is not understood; a later one costs the results of its epoch.
        """
        self._leave()  # what another callback may have broken off
        try:
            read = read_batch(batch, self.batch, "OnlineProbes")
        except UnreadableBatch as error:
            if not self.probes:
                raise
            self._warn(str(error))
            self._labels = torch.zeros(len(self.kinds), 0, dtype=torch.long, device=module.device)
            return  # without features all its layers count as missing
        if not self.probes:
            self._begin(trainer, module, read)
        labels = torch.stack([getattr(read, kind) for kind in self.kinds]).to(module.device)
        loaders = CombinedLoader(loader).flattened
        if len(loaders) == 1 and (twice := padding(loaders[0], batch_idx, len(read))):
            labels[:, len(read) - twice :] = PADDED
        if self._unlabelled is not None:
            self._unlabelled[split] = self._unlabelled.get(split, 0) + _without(labels)
        self._labels = labels
        if INPUT in self.probes:
            self._keep(INPUT, read.rows if read.rows.is_floating_point() else read.rows.float())
        self._hooks.enter_context(hooked(module, self._keep, list(self.probes)))

    def _warn(self, reason: str) -> None:
        """Say, the first time, why batches count for nothing."""
        if not self._unread:
            self._unread = reason
            rank_zero_warn(f"online probes leave out what cannot be read, and training goes on: {reason}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Score the probes on the batch, then take a step on it."""
        if self._labels is not None:
            self.epoch = trainer.current_epoch + 1
            parts = self._read(self._labels, learn=True)
            flat = torch.cat(parts)
            if trainer.world_size > 1:
                distributed.all_reduce(flat)
            parts = list(flat.split([len(part) for part in parts]))
            self._count(TRAIN, parts)
            for probe, part in zip(self.probes.values(), parts, strict=True):
                sums = part[SCORES * len(self.kinds) :]
                probe.step(sums, self.learning_rate, self.momentum, self.ridge)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._sets = named_sets(trainer.val_dataloaders)
        if not trainer.sanity_checking:
            self.tally = {split: counts for split, counts in self.tally.items() if split == TRAIN}
            if self._unlabelled is not None:
                self._unlabelled = {split: counts for split, counts in self._unlabelled.items() if split == TRAIN}

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Do as in training."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            split, loader = list(self._sets.items())[dataloader_idx]
            self._note(trainer, pl_module, batch, batch_idx, split, loader)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the probes on the batch."""
        if self._labels is not None:
            self._count(list(self._sets)[dataloader_idx], self._read(self._labels, learn=False))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the counts of all processes together."""
        if trainer.world_size > 1 and self.probes and not trainer.sanity_checking:
            for split in self._sets:
                self._count(split, [])  # this process may have had no batch
                distributed.all_reduce(self.tally[split])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """File the results of the epoch."""
        self._file(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and draw the table of the whole run."""
        self._leave()
        if trainer.is_global_zero and self.table.epochs:
            console = console_above(trainer)
            console.print("\nOnline probes, trained beside the network and not to the optimum (~)", highlight=False)
            self.table.print(console)
            classes = next((probe.weight.shape[1] for probe in self.probes.values()), None)
            origin = Origin.of_trainer(trainer, pl_module, classes)
            draw_separability(self.table, origin, picture := self.files.path("online_probes.png"))
            name = f"online_separability{f'_{self.name}' if self.name else ''}"
            show_to_all(trainer, {name: picture}, self.table.epochs[-1])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the network as it was."""
        super().on_exception(trainer, pl_module, exception)
        self._leave()

    def state_dict(self) -> dict[str, Any]:
        """The last results, probes and counts, and what they depend on, as plain values and tensors."""
        probes = {layer: dict(vars(probe)) for layer, probe in self.probes.items()}
        layouts = {layer: dict(vars(how.layout)) for layer, how in self.reduce.items()}
        found = {"latest": self.table.latest, "kinds": self.kinds, "probes": probes, "tally": self.tally}
        found |= {"layouts": layouts, "epoch": self.epoch, "files": self.files.state_dict()}
        return {**found, "settings": self._settings()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier state; results of other settings do not belong into this table."""
        self._forget()
        if state_dict.get("settings") == self._settings():
            self._whole = "rows" in state_dict  # as in checkpoints of the first releases
            self.table = ProbeTable(state_dict["rows" if self._whole else "latest"], COLUMNS)
            self.kinds = state_dict["kinds"]
            self.probes = {layer: OnlineProbe(**probe) for layer, probe in state_dict["probes"].items()}
            known = state_dict.get("layouts", {layer: {} for layer in self.probes})  # not so in the first releases
            layouts = {layer: Layout(**layout) for layer, layout in known.items()}
            self.reduce = {layer: LayerReduction(self.how, self.reduction, one) for layer, one in layouts.items()}
            self.tally, self.epoch = state_dict["tally"], state_dict["epoch"]
            if "files" in state_dict:  # not so in checkpoints of the first releases
                self.files.load_state_dict(state_dict["files"])

    def _settings(self) -> dict[str, Any]:
        names = ("taps", "width", "reduction", "learning_rate", "momentum", "ridge", "seed", "classes")
        options = {"batch": self.batch, "forward": self.forward, "channels": self.channels}
        asked = {name: value for name, value in options.items() if value}  # others' runs had no such options
        own = {name: dict(value) if isinstance(value, Mapping) else named(value) for name, value in asked.items()}
        return {**{name: getattr(self, name) for name in names}, **own}

    def _keep(self, tap: str, output: Tensor) -> None:
        if output.ndim > 1 and output.is_floating_point():
            try:
                with torch.no_grad():
                    self._features[tap] = self.reduce[tap](output)
            except Exception as error:  # such as too little memory: it must not end the forward pass that trains
                self._warn(f"{tap}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def _begin(self, trainer: Trainer, module: LightningModule, batch: LabelledBatch) -> None:
        """Find the layers and the number of classes on a first batch, and make the probes."""
        left_out: dict[str, str] = {}
        with frozen(module, compare=True) as changed, trainer.precision_plugin.forward_context():
            call, found, answer = find_call(module, self.forward, batch, self.channels, left_out, "OnlineProbes")
            taps = select_taps(self.taps, found, left_out)
            self.reduce = {tap.name: LayerReduction(self.how, self.reduction, tap.layout) for tap in taps}
            features = read_features(module, partial(call, module, batch), batch.rows, self.reduce)
        rank_zero_info(f"OnlineProbes reads batches as {batch.how} and finds its layers with {call}")
        if changed:
            rank_zero_warn(f"looking at {type(module).__name__} has changed {', '.join(changed)}, beyond putting back")
        if left_out:
            listed = "; ".join(f"{layer} ({reason})" for layer, reason in left_out.items())
            rank_zero_info(f"online probes leave out what cannot be read: {listed}")
        self.kinds = [TRUE] if batch.given_label is batch.true_label else [TRUE, GIVEN]
        logits = logits_of(answer, len(batch))
        needed = torch.stack([getattr(batch, kind) for kind in self.kinds]).max().long() + 1
        needed = needed.clamp(min=1 if logits is None else logits.shape[1])
        if trainer.world_size > 1:
            distributed.all_reduce(needed, distributed.ReduceOp.MAX)
        classes = self.classes or int(needed)
        for tap in taps:
            shape = len(self.kinds), classes, features[tap.name].shape[1]
            self.probes[tap.name] = OnlineProbe.untrained(tap.width, shape, module.device)

    def _read(self, labels: Tensor, learn: bool) -> list[Tensor]:
        """End a batch.

        Args:
            labels: (k, n).
            learn: Whether all that a step needs is wanted.

        Returns:
            By layer: both faults (0 or 1), labels beyond the classes and labels unlike the true ones (k each); then
            what `OnlineProbe.sums` gives or, with a fault, zeros.
        """
        features = self._features
        self._leave()
        parts = []
        for layer, probe in self.probes.items():
            k, classes, _ = probe.weight.shape
            shape, rows = (labels.shape[1], len(probe.mean)), features.get(layer)
            ran = rows is not None and rows.shape == shape
            sums = probe.sums(rows if rows is not None and ran else probe.mean.new_full(shape, nan), labels, learn)
            fault = ~sums.isfinite().all() | (not ran)
            faults = torch.stack([fault & ran, fault & (not ran)]).repeat_interleave(k)
            beyond, unlike = (labels >= classes).sum(1), (labels != labels[0]).sum(1)
            parts.append(torch.cat([faults, beyond, unlike, torch.where(fault, 0.0, sums)]))
        return parts

    def _count(self, split: str, parts: list[Tensor]) -> None:
        """Add a batch to the counts of a set."""
        shape = len(COUNTS), len(self.kinds)
        if split not in self.tally:
            device = next(iter(self.probes.values())).mean.device
            self.tally[split] = torch.zeros(len(self.probes), *shape, dtype=torch.float64, device=device)
        if parts:
            self.tally[split] = self.tally[split] + torch.stack([part[: prod(shape)].view(shape) for part in parts])

    def _results(self) -> dict[str, tuple[int, list[Separability]]]:
        """Read the counts of the epoch: by layer its width and its scores."""
        counts = {split: tally.transpose(1, 2).tolist() for split, tally in self.tally.items()}  # [layer][kind][which]
        unlike = self.tally[TRAIN][:, UNLIKE].amax(0).tolist()
        earlier = {TRUE, *(row["labels"] for row in self.table.latest)}
        kinds = [number for number, kind in enumerate(self.kinds) if kind in earlier or unlike[number]]
        results = {}
        for at, (layer, probe) in enumerate(self.probes.items()):
            scores = [
                _score(probe, self.kinds[number], split, counts[split][at][number], counts[TRAIN][at][number])
                for number in kinds
                for split in counts
            ]
            results[layer] = probe.width, scores
        return results

    def _say_unlabelled(self, trainer: Trainer) -> None:
        """Count the samples without a label, once, of the first epoch that is filed."""
        counts, self._unlabelled = self._unlabelled, None
        for split in [] if counts is None else [TRAIN, *self._sets]:
            none = torch.zeros(2, len(self.kinds), dtype=torch.long, device=trainer.strategy.root_device)
            count = (counts or {}).get(split, none)  # this process may have had no batch
            if trainer.world_size > 1:
                distributed.all_reduce(count)
            for kind, without, every in zip(self.kinds, *count.tolist(), strict=True):
                if without:
                    words = kind.replace("_", " ") if len(self.kinds) > 1 else "label"
                    where = "training" if split == TRAIN else split
                    rank_zero_info(f"{without:,} of {every:,} {where} samples have no {words} (below 0): left out")

    def _file(self, trainer: Trainer) -> None:
        """Put the counts of the epoch, if there are any, into the table, write it and pass them to the loggers."""
        if TRAIN not in self.tally:
            return
        features = {layer: probe.weight.shape[-1] - 1 for layer, probe in self.probes.items()}
        reduced = {layer: how.reduced(self.probes[layer].width, features[layer]) for layer, how in self.reduce.items()}
        self.table.put(self.epoch, self._results(), reduced)
        self.tally = {}
        self._say_unlabelled(trainer)
        rank_zero_info(f"online probes, epoch {self.epoch}: {_summary(self.table.latest)}")
        trainer.callback_metrics.update(self.watched(self.epoch))
        if not trainer.is_global_zero:
            return
        self.table.write(self.files.path("online_probes.csv"))
        log_to_all(trainer, self.accuracies(self.epoch), self.epoch)

    def accuracies(self, epoch: int) -> dict[str, float]:
        """Those of an epoch, by layer, label kind and set."""
        return {
            self.metric(row["labels"], row["split"], row["layer"]): row["accuracy"]
            for row in self.table.at(epoch)
            if not row["failed"]
        }


def _without(labels: Tensor) -> Tensor:
    """How many samples have no label, and how many there are: (2, k)."""
    there = labels != PADDED
    return torch.stack([(there & (labels < 0)).sum(1), there.sum(1)])


def _on(device: torch.device, state: dict[str, Any]) -> dict[str, Any]:
    """The same with its tensors on a device."""
    return {name: part.to(device) if isinstance(part, Tensor) else part for name, part in state.items()}


def _score(probe: OnlineProbe, kind: str, split: str, counts: list[float], trained: list[float]) -> Separability:
    """A row of the table, from the COUNTS of its set and of the training set."""
    _, classes, columns = probe.weight.shape
    sums = dict(zip(COUNTS, counts, strict=True))
    reasons = [
        f"{FAULTS[fault]} in {number:.0f} batches of {where}"
        for where, numbers in {TRAIN: trained, split: counts}.items()
        for fault, number in zip(FAULTS, numbers, strict=False)
        if number
    ]
    if sums["beyond"]:
        reasons.append(f"{sums['beyond']:.0f} labels are {classes} or more: set classes")
    if not reasons and not sums["labels"]:
        reasons.append("there are no labels")
    if reasons:
        return Separability(kind, split, features=columns - 1, failed="; ".join(reasons))
    correct, count = int(sums["correct"]), int(sums["labels"])
    low, high = wilson(correct, count)
    return Separability(kind, split, correct / count, low, high, correct, count, sums["loss"] / count, columns - 1)


def _summary(rows: list[dict[str, Any]]) -> str:
    """One line: for every label kind and set the layer where the labels are most separable; and what failed."""
    parts = []
    for kind, split in dict.fromkeys((row["labels"], row["split"]) for row in rows if not row["failed"]):
        fine = [row for row in rows if (row["labels"], row["split"], row["failed"]) == (kind, split, "")]
        best = max(fine, key=lambda row: row["accuracy"])
        parts.append(f"{kind}s, {split} set {100 * best['accuracy']:.1f} % at {best['layer']}".replace("_", " ", 1))
    if failed := {row["layer"]: row["failed"] for row in rows if row["failed"]}:
        parts.append(f"FAILED at {', '.join(failed)}: {next(iter(failed.values()))}")
    return "; ".join(parts)
