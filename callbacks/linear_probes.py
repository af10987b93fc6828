"""Linear probes of every layer while a network trains (Alain & Bengio 2016), fitted to convergence at frozen epochs."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from stratoscope.callbacks.layer_features import LayerFeatures
from stratoscope.callbacks.layer_measures import (
    CONTROL,
    MEASURES,
    SIMILAR,
    MeasureTable,
    Row,
    compare_probes,
    measure_layer,
)
from stratoscope.callbacks.measures_figure import draw_measures
from stratoscope.callbacks.own_files import NAME, OwnFiles, folder
from stratoscope.callbacks.probe_plan import probe_plan
from stratoscope.callbacks.probe_table import ProbeTable
from stratoscope.callbacks.probed_sets import (
    GIVEN,
    TRAIN,
    TRUE,
    ProbedSet,
    SampleChoice,
    as_validated,
    labelled_batch,
    probed_sets,
)
from stratoscope.callbacks.progress import tracked
from stratoscope.callbacks.separability_figure import draw_separability
from stratoscope.probes import (
    GIB,
    HELD_OUT,
    Budget,
    LabelledBatch,
    LabelledFeatures,
    LayerReduction,
    Separability,
    Shard,
    Tap,
    classifier_weights,
    control_labels,
    failed,
    find_taps,
    frozen,
    read_features,
    select_taps,
    separability,
)
from stratoscope.probes import reduction as named_reduction
from stratoscope.probes.reduction import named

FIRST = 100  # training samples looked at before all are read: for the taps, their widths and the number of classes


class LinearProbes(Callback):
    """Fits a linear classifier to every chosen layer at initialisation and after epochs of training.

    The network is frozen and left exactly as it was: training is bit for bit what it is without the callback (unless
    the data set itself keeps count, say with a generator of its own: reading samples is all that happens to it). Works
    with any LightningModule whose `forward` takes a batch of images. Batches are `(image, label)` or have the fields
    `image`, `given_label` and `true_label`; where given and true labels differ, both are probed. Probes are fitted on
    the training set and scored on it and on every validation set.

    Writes `probes.csv` (one row per epoch, layer, label kind and set) and `separability.png` to the logger's folder,
    with measures also `measures.csv` and `measures.png`, and passes accuracies and picture to every logger, as
    `probe/<labels>/<set>/<layer>`. Under these names other callbacks may watch them, EarlyStopping at the end of the
    training epoch (its default): between two epochs that are probed an accuracy keeps its last value.

    The weights that are probed are those that go on training. With weight averaging (EMAWeightAveraging,
    StochasticWeightAveraging), whose averages are validated, saved and kept at the end, these are not the averages.

    Args:
        taps: Layers to probe: 'natural' (the points the network names itself, else all), 'all', names as in
            `named_modules()`, globs such as '*.relu*', or a list of these.
        width: Most features per layer; wider layers are reduced to it. None keeps all.
        reduction: How: by_layout (the mean over tokens of sequences, means of neighbouring positions of maps),
            average_pool, channel_means, token_mean, cls (the first token), feature_subset (Alain & Bengio's random
            features), random_projection or none; in Python also a function of an activation (n, ...) that returns
            features (n, d).
        channels: Where layers have their channels whose module does not tell: first, as convolutions, or last, as
            transformers.
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
            (see `measure_layer`, `compare_probes` and `MeasureTable.put`).
        memory: Most GiB that features and fitting may take, in each process; layers that do not fit are kept in files
            of the run's folder meanwhile, which changes no result. None sets no bound.
        name: Tells several LinearProbes in one run apart: of `deep`, the files are `probes_deep.csv` and so on, and
            the accuracies `probe/deep/<labels>/<set>/<layer>`.
    """

    def __init__(
        self,
        taps: str | list[str] = "natural",
        width: int | None = 1024,
        reduction: str | Callable[[Tensor], Tensor] = "by_layout",
        ridge: float | list[float] = 1e-3,
        held_out: int = 0,
        every_n_epochs: int = 1,
        epochs: list[int] | None = None,
        train_samples: int | None = None,
        tolerance: float = 1e-6,
        seed: int = 0,
        measures: list[str] | None = None,
        memory: float | None = None,
        channels: Literal["first", "last"] | None = None,
        name: str | None = None,
    ) -> None:
        if name is not None and not re.fullmatch(NAME, name):
            raise ValueError(f"name must be letters, digits and '_', starting with a letter; got {name!r}")
        self.name, self.files = name, OwnFiles(name, "probes.csv")
        for option, value in {"width": width, "every_n_epochs": every_n_epochs, "train_samples": train_samples}.items():
            if value is not None and value < 1:
                raise ValueError(f"{option} must be 1 or more, got {value}")
        self.ridges = ridge if isinstance(ridge, list) else [ridge]
        for option, numbers in {"ridge": self.ridges, "tolerance": [tolerance]}.items():
            for number in numbers or [0]:
                if not number > 0:
                    raise ValueError(f"{option} must be above 0, got {number}")
        if memory is not None and not memory > 0:
            raise ValueError(f"memory must be above 0 GiB, got {memory}")
        if held_out < 0:
            raise ValueError(f"held_out must be 0 or more samples, got {held_out}")
        if epochs is not None and min(epochs, default=-1) < 0:
            raise ValueError(f"epochs must be numbers from 0, got {epochs}")
        if not taps:
            raise ValueError("taps must name at least one layer, got none")
        self.taps, self.width, self.tolerance = taps, width, tolerance
        self.every_n_epochs, self.epochs = every_n_epochs, epochs
        self.choice, self.seed, self.memory = SampleChoice(train_samples, held_out, seed), seed, memory
        self.how, self.reduction, self.channels = named_reduction(reduction, width, seed), named(reduction), channels
        self.measures = measures or []
        for measure in self.measures:
            if measure not in MEASURES:
                raise ValueError(f"measures must be of {', '.join(MEASURES)}; got {measure}")
        self.table, self.measured = ProbeTable(), MeasureTable()
        self.weights: dict[str, Tensor] = {}  # of the last fits, to start the next ones from
        self._stored_epoch = 0
        self._compared, self._put_back = False, True  # is the network what it was after the first probe?

    @property
    def state_key(self) -> str:
        """A key for each name, under which checkpoints have this callback's state."""
        return super().state_key if self.name is None else f"{super().state_key}[{self.name}]"

    def due(self, epoch: int) -> bool:
        """Whether to probe after this number of epochs."""
        return epoch in self.epochs if self.epochs is not None else epoch % self.every_n_epochs == 0

    def choose_taps(self, module: LightningModule, image: Tensor) -> list[Tap]:
        """Find the taps this callback will read, on a batch of images.

        Raises:
            ValueError: If a name or glob matches nothing.
        """
        with frozen(module):
            return self._find(module, module, image, {})

    def layer_reductions(self, taps: list[Tap]) -> dict[str, LayerReduction]:
        """What is made of the activations of each layer."""
        return {tap.name: LayerReduction(self.how, self.reduction, tap.layout) for tap in taps}

    def _find(
        self, module: LightningModule, forward: Callable[[Tensor], Any], image: Tensor, left_out: dict[str, str]
    ) -> list[Tap]:
        return select_taps(self.taps, find_taps(module, forward, image, self.channels, left_out), left_out)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the untrained network."""
        self._compared, self._put_back = False, True
        if trainer.global_step == 0:
            self._forget()
        self.files.find(folder(trainer))  # now, so that every checkpoint knows them
        if trainer.global_step == 0 and self.due(0):
            self.probe(trainer, pl_module, 0)
        elif self.table.rows:  # a run that goes on: what was known when it was interrupted
            trainer.callback_metrics.update(self._watched(self.table.unique("epoch")[-1]))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe after an epoch."""
        if self.due(trainer.current_epoch + 1):
            self.probe(trainer, pl_module, trainer.current_epoch + 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe a stored network (`validate`)."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._forget()  # what the checkpoint remembers is another run's
            self.probe(trainer, pl_module, self._stored_epoch)
            self._print(trainer)

    def _forget(self) -> None:
        self.table, self.weights, self.measured = ProbeTable(), {}, MeasureTable()
        self.files.forget()

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
        if not self._put_back:
            return
        with frozen(pl_module, compare=not self._compared) as changed, as_validated(trainer):
            self._probe(trainer, pl_module, epoch)
        self._compared = True
        self._put_back = trainer.strategy.reduce_boolean_decision(not changed)
        if not self._put_back:
            where = f"{', '.join(changed[:5])}{', ...' * (len(changed) > 5)}"
            rank_zero_warn(
                f"a probe changes {type(pl_module).__name__} in {where}, "
                "which cannot be put back: it is not probed again, and training goes on"
            )

    def _probe(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        began = time.monotonic()
        shard = Shard(trainer.global_rank, trainer.world_size, trainer.strategy.root_device)
        sets = probed_sets(trainer, self.choice, partial(self._some, trainer))
        with trainer.precision_plugin.forward_context():
            look = self._look(trainer, pl_module, sets[TRAIN])
            taps, budget, samples = look.taps, look.budget, [len(part.indices) for part in sets.values()]
            in_files = budget.in_files(look.features, len(sets[TRAIN].indices), sum(samples))
            layers = LayerFeatures(trainer, pl_module, look.reduce, sets, shard, in_files, folder(trainer))
        reduced = {tap.name: look.reduce[tap.name].reduced(tap.width, look.features[tap.name]) for tap in taps}
        if not self.table.rows:
            columns = budget.problems * budget.classes
            rank_zero_info(probe_plan(taps, look.features, reduced, in_files, layers, columns))
            if look.left_out:
                listed = "; ".join(f"{layer} ({reason})" for layer, reason in look.left_out.items())
                rank_zero_info(f"left out, as they cannot be read: {listed}")
        kinds = self._label_kinds(layers)
        mine: dict[int, _Result] = {}
        for item, tap in enumerate(tracked(trainer, taps, f"epoch {epoch}: fitting probes")):
            layer = layers.take(tap.name, item, kinds)
            logits = layers.logits(TRAIN, item) if "collapse" in self.measures else None
            if layer is not None:
                mine[item] = self._fit_or_fail(tap.name, layer, look.classifier.get(tap.name), logits)
            elif tap.name in layers.missing and shard.owns(item):
                problems = [(kind, ridge) for kind in kinds for ridge in self.ridges]
                mine[item] = _Result(failed(problems, sets, f"it {layers.missing[tap.name]}"), None, [], None)
        results = {taps[item].name: result for item, result in sorted(shard.share(mine).items())}
        self.weights = {name: one.weights for name, one in results.items() if one.weights is not None}
        self.table.put(epoch, {tap.name: (tap.width, results[tap.name].scores) for tap in taps}, reduced)
        if self.measures:
            similar = {name: one.sample for name, one in results.items() if one.sample is not None}
            tests = [split for split in sets if split not in {TRAIN, HELD_OUT}]
            self.measured.put(epoch, {name: one.measured for name, one in results.items()}, similar, "".join(tests[:1]))
        self._publish(trainer, epoch)
        rank_zero_info(f"probes, epoch {epoch}: {self.table.summary(epoch)} ({time.monotonic() - began:.0f} s)")

    def _look(self, trainer: Trainer, module: LightningModule, train: ProbedSet) -> "_Look":
        """What there is to probe, from some training samples."""
        batch = self._some(trainer, train)
        answers: list[Any] = []
        left_out: dict[str, str] = {}
        taps = self._find(module, lambda image: answers.append(module(image)), batch.rows, left_out)
        reduce = self.layer_reductions(taps)
        features = read_features(module, module, batch.rows, reduce)
        kinds = 1 + (batch.true_label is not batch.given_label) + ("control" in self.measures)
        logits = isinstance(answers[0], Tensor) and answers[0].ndim == 2  # these labels may not have all classes
        classes = max(
            1 + int(torch.maximum(batch.true_label, batch.given_label).max()), answers[0].shape[1] if logits else 1
        )
        memory = None if self.memory is None else self.memory * GIB
        budget = Budget(memory, trainer.world_size, kinds * len(self.ridges), classes)
        widths = {name: rows.shape[1] for name, rows in features.items()}
        whole = {tap.name: features[tap.name] for tap in taps if tap.width == widths[tap.name]}
        classifier = classifier_weights(module, module, batch.rows, whole) if "collapse" in self.measures else {}
        return _Look(taps, reduce, widths, left_out, budget, classifier)

    def _some(self, trainer: Trainer, part: ProbedSet, size: int = FIRST) -> LabelledBatch:
        """Some samples of a set."""
        return labelled_batch(trainer, next(iter(part.blocks([part.indices[:size]]))), part.place)

    def _label_kinds(self, layers: LayerFeatures) -> list[str]:
        """What probes are fitted to; control labels are made here."""
        train = layers.labels[TRAIN]
        kinds = [TRUE] if bool((train[TRUE] == train[GIVEN]).all()) else [TRUE, GIVEN]
        if "control" in self.measures:
            counts = torch.bincount(train[TRUE]).tolist()
            for split, part in layers.labels.items():
                control = control_labels(len(part[TRUE]), counts, self.seed + (split != TRAIN))
                part[CONTROL] = control.to(part[TRUE].device)
            kinds.append(CONTROL)
        return kinds

    def _fit_or_fail(self, tap: str, sets: dict[str, LabelledFeatures], *more: Tensor | None) -> "_Result":
        """Fit; what goes wrong in one layer, such as too little memory, costs its row of the table and no more."""
        try:
            return self._fit(tap, sets, *more)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            problems = [(kind, ridge) for kind in sets[TRAIN].labels for ridge in self.ridges]
            return _Result(failed(problems, sets, reason), None, [], None)

    def _fit(
        self, tap: str, sets: dict[str, LabelledFeatures], classifier: Tensor | None, logits: Tensor | None
    ) -> "_Result":
        """Measure a layer, then fit its probes, from where the last ones ended, and score them."""
        classes = 1 + max(int(label.max()) for part in sets.values() for label in part.labels.values())
        place = sets[TRAIN].features.device  # that of a layer in a file is the CPU
        classifier, logits = (None if x is None else x.to(place) for x in (classifier, logits))
        measured = measure_layer(self.measures, sets, classes, classifier, logits)
        test = next((part.features for split, part in sets.items() if split not in {TRAIN, HELD_OUT}), None)
        sample = test[:SIMILAR].cpu().clone() if "similarity" in self.measures and test is not None else None
        start = self.weights.get(tap)
        problems = len(sets[TRAIN].labels) * len(self.ridges)
        if start is not None and start.shape != (problems, sets[TRAIN].features.shape[1] + 1, classes):
            start = None
        scores, weights = separability(sets[TRAIN], sets, classes, self.ridges, self.tolerance, start, in_place=True)
        if weights is None:  # features that are not finite
            return _Result(scores, None, [], None)
        return _Result(scores, weights.cpu(), [*measured, *compare_probes(scores)], sample)

    def _publish(self, trainer: Trainer, epoch: int) -> None:
        """Write table and picture, and pass them to the loggers."""
        to, accuracies = folder(trainer), self._accuracies(epoch)
        trainer.callback_metrics.update(self._watched(epoch))
        if not trainer.is_global_zero:
            return
        self.files.find(to)
        self.table.write(self.files.path("probes.csv"))
        if self.measures:
            self.measured.write(self.files.path("measures.csv"))
            draw_measures(self.measured.rows, self.table, self.files.path("measures.png"))
        draw_separability(self.table, picture := self.files.path("separability.png"))
        for logger in trainer.loggers:
            logger.log_metrics({**accuracies, "epoch": float(epoch)}, step=trainer.global_step)
            if log_image := getattr(logger, "log_image", None):  # W&B has it
                name = f"separability{f'_{self.name}' if self.name else ''}"
                log_image(name, [str(picture)], step=trainer.global_step)

    def metric(self, labels: str, split: str, layer: str) -> str:
        """The name that loggers and other callbacks know an accuracy by."""
        return "/".join(["probe", *([self.name] if self.name else []), labels, split, layer])

    def _accuracies(self, epoch: int) -> dict[str, float]:
        return {
            self.metric(row["labels"], row["split"], row["layer"]): row["accuracy"]
            for row in self.table.rows
            if row["epoch"] == epoch and row["accuracy"] is not None and row["chosen"]
        }

    def _watched(self, epoch: int) -> dict[str, Tensor]:
        """The accuracies of an epoch as Lightning's callbacks take them."""
        return {name: torch.tensor(accuracy) for name, accuracy in self._accuracies(epoch).items()}

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self.table.rows:
            self.table.print()
            if failures := self.table.failures():
                rank_zero_warn(
                    f"{len(failures)} probes failed: {'; '.join(failures[:3])}{'; ...' * (len(failures) > 3)}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Results and weights so far, and what they depend on, as plain values and tensors."""
        found = {"rows": self.table.rows, "measured": self.measured.state_dict(), "weights": self.weights}
        return {**found, "settings": self._settings(), "files": self.files.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier state; results of other settings do not belong into this table."""
        if state_dict.get("settings") == self._settings():
            self.table, self.weights = ProbeTable(state_dict["rows"]), state_dict["weights"]
            self.measured = MeasureTable(**state_dict["measured"])
            if "files" in state_dict:  # not so in checkpoints of the first releases
                self.files.load_state_dict(state_dict["files"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note how many epochs a stored network was trained for."""
        self._stored_epoch = finished_epochs(checkpoint)

    def _settings(self) -> dict[str, Any]:
        names = ("taps", "width", "ridges", "channels", "reduction", "tolerance", "seed", "measures")
        choice = {"train_samples": self.choice.fitted, "held_out": self.choice.held_out}
        return {**choice, **{name: getattr(self, name) for name in names}}


def finished_epochs(checkpoint: dict[str, Any]) -> int:
    """Number of epochs of training behind a Lightning checkpoint; 0 for weights without a history."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return int(progress.get("current", {}).get("processed", 0))


@dataclass(frozen=True)
class _Look:
    taps: list[Tap]
    reduce: dict[str, LayerReduction]
    features: dict[str, int]  # per sample, by layer
    left_out: dict[str, str]  # layers, and why
    budget: Budget
    classifier: dict[str, Tensor]  # the network's classifier's weights, by the layer that is its input


@dataclass(frozen=True)
class _Result:
    scores: list[Separability]
    weights: Tensor | None
    measured: list[Row]
    sample: Tensor | None  # features of some test samples, to compare layers on
