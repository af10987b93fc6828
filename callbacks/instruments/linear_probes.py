"""Linear probes of every layer while a network trains (Alain & Bengio 2016), fitted to convergence at frozen epochs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from stratoscope.callbacks.instruments.frozen_instrument import FrozenInstrument, shard_of
from stratoscope.callbacks.instruments.instrument import Planned
from stratoscope.callbacks.instruments.loggers import log_to_all, show_to_all
from stratoscope.callbacks.instruments.measures import (
    CONTROL,
    MEASURES,
    NO_CLASSIFIER,
    SIMILAR,
    Layer,
    MeasureTable,
    measure_layer,
    measure_probes,
    needed,
    without_classifier,
)
from stratoscope.callbacks.instruments.own_files import folder, goes_on
from stratoscope.callbacks.instruments.probe_plan import corrected, fitting_seconds, probe_plan
from stratoscope.callbacks.pictures.layer_panel import Probed, panels
from stratoscope.callbacks.pictures.measures_figure import draw_measures
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.callbacks.pictures.seldom import Seldom
from stratoscope.callbacks.pictures.separability_figure import draw_separability, layers_svg
from stratoscope.callbacks.progress.above import console_above
from stratoscope.callbacks.progress.tracked import tracked
from stratoscope.callbacks.samples.layer_features import LayerFeatures
from stratoscope.callbacks.samples.probed_sets import (
    GIVEN,
    TRAIN,
    TRUE,
    ProbedSet,
    SampleChoice,
    probed_sets,
)
from stratoscope.files.table import EpochTable, Row
from stratoscope.probes import (
    GIB,
    HELD_OUT,
    Budget,
    Call,
    LabelledBatch,
    LabelledFeatures,
    LayerReduction,
    Separability,
    Shard,
    Tap,
    classifier_weights,
    control_labels,
    failed,
    find_call,
    frozen,
    logits_of,
    read_batch,
    read_features,
    select_taps,
    separability,
)
from stratoscope.probes import reduction as named_reduction
from stratoscope.probes.giving_up import go_on
from stratoscope.probes.linear.logistic import FINEST, WEAKEST
from stratoscope.probes.reading.reduction import named

if TYPE_CHECKING:
    from pandas import DataFrame


class LinearProbes(FrozenInstrument):
    """Fits a linear classifier to every chosen layer at initialisation and after epochs of training.

    The network is frozen and left exactly as it was: training is bit for bit what it is without the callback (unless
    the data set itself keeps count, say with a generator of its own: reading samples is all that happens to it). Works
    with any LightningModule: what a batch consists of and what its `forward` takes is found out (see `read_batch` and
    `choose_call`), or said with `batch` and `forward`. Where given and true labels differ, both are probed; samples
    with a label below 0 have none, and are counted and left out. Probes are fitted on the training set and scored on it
    and on every validation set; samples are read as in validation. What does not fit is refused before the first step
    of training; what goes wrong later costs rows of the table, never the training.

    Writes `probes.csv` (one row per epoch, layer, label kind and set) and `separability.png` (and `.svg`, which shows
    intervals under the mouse) to the logger's folder, with measures also `measures.csv` and `measures.png`, and passes
    accuracies and picture to every logger, as `probe/<labels>/<set>/<layer>`. Rows are appended as they come; pictures
    are drawn now and then, so that they take a fiftieth of the time, and at the end. Under the names above other
    callbacks may watch accuracies, EarlyStopping at the end of the training epoch (its default): between two epochs
    that are probed they keep their last value. In a notebook the callback shows its table; `frame()` gives it, and
    `stratoscope.plot_layers` draws it.

    The weights that are probed are those that go on training. With weight averaging (EMAWeightAveraging,
    StochasticWeightAveraging), whose averages are validated, saved and kept at the end, these are not the averages.

    Args:
        taps: Layers to probe: 'natural' (the points the network names itself, else all), 'all', names as in
            `named_modules()`, globs such as '*.relu*', or a list of these.
        width: Most features per layer; wider layers are reduced to it. None keeps all.
        reduction: How: average_pool (means of neighbouring positions; of token layers the mean over all tokens),
            channel_means, token_mean, cls (the first token), feature_subset (Alain & Bengio's random features),
            random_projection or none; in Python also a function of an activation (n, ...) that returns features (n, d).
        channels: Where layers have their channels whose module does not tell: first, as convolutions, or last, as
            transformers.
        ridge: Strength of the L2 penalty ridge/2 |W|^2 on standardised features, beside the mean cross-entropy; or
            several, which share every read of the features. The table has all of them; picture and summary show, for
            each layer, the one with the smallest loss on the held-out samples, or else the first.
        every_n_epochs: Probe at initialisation and after every so many epochs.
        epochs: Probe after these numbers of epochs instead (0 is at initialisation).
        held_out: Samples that no probe is fitted on, to choose among several ridges; they have rows of their own in the
            table.
        held_out_from: The set that these are of: train (the default), whose samples the network itself was trained on,
            or test (the first validation set), whose scores are then of its other samples alone, as `count` in the
            table says.
        train_samples: Size of the random part of the training set that probes are fitted on; None takes all of it.
        tolerance: How far from the optimum a fit may be, in nats: the duality gap at which it counts as converged.
        seed: Decides the random parts: of the training set, of the features, and control labels.
        measures: What else to ask of every layer, into measures.csv: neighbours, rank, collapse, control, similarity
            (see `MEASURES`).
        memory: Most GiB that features and fitting may take, in each process; layers that do not fit are kept in files
            of the run's folder meanwhile, which changes no result. None sets no bound.
        name: Tells several LinearProbes in one run apart: of `deep`, the files are `probes_deep.csv` and so on, and
            the accuracies `probe/deep/<labels>/<set>/<layer>`.
        batch: What batches consist of, where it is not found out: the name or place of image, label and, if there is
            another one, true_label, such as {image: pixel_values, label: labels} or {image: 1, label: 2}, with dots
            for what lies inside; in Python also a function of the batch that returns (image, label) or (image, label,
            true_label). See `read_batch`.
        forward: How the network is run, where it is not found out: the name of a method or submodule; in Python also a
            function of (module, image). See `choose_call`.
    """

    TABLE = "probes"

    def __init__(
        self,
        taps: str | list[str] = "natural",
        width: int | None = 1024,
        reduction: str | Callable[[Tensor], Tensor] = "average_pool",
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
        batch: dict[str, str | int] | Callable[[Any], Any] | None = None,
        forward: str | Callable[[Any, Any], Any] | None = None,
        held_out_from: Literal["train", "test"] | None = None,
    ) -> None:
        super().__init__(name, batch, forward)
        for option, value in {"width": width, "every_n_epochs": every_n_epochs, "train_samples": train_samples}.items():
            if value is not None and value < 1:
                raise ValueError(f"{option} must be 1 or more, got {value}")
        self.ridges = ridge if isinstance(ridge, list) else [ridge]
        for option, numbers in {"ridge": self.ridges, "tolerance": [tolerance]}.items():
            for number in numbers or [0]:
                if not number > 0:
                    raise ValueError(f"{option} must be above 0, got {number}")
        if min(self.ridges) < WEAKEST:
            raise ValueError(f"ridge must be {WEAKEST:g} or more, got {min(self.ridges):g}: float64 certifies no less")
        if tolerance < FINEST:
            raise ValueError(f"tolerance must be {FINEST:g} nats or more, got {tolerance:g}: float64 certifies no less")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        lists: dict[str, Sequence[object]] = {"ridge": self.ridges, "measures": measures or []}
        for option, listed in lists.items():
            if twice := [one for place, one in enumerate(listed) if one in listed[:place]]:
                raise ValueError(f"{option} has {twice[0]} twice")
        if memory is not None and not memory > 0:
            raise ValueError(f"memory must be above 0 GiB, got {memory}")
        if held_out < 0:
            raise ValueError(f"held_out must be 0 or more samples, got {held_out}")
        if held_out_from not in {None, "train", "test"}:
            raise ValueError(f"held_out_from must be train or test, got {held_out_from}")
        if epochs is not None and min(epochs, default=-1) < 0:
            raise ValueError(f"epochs must be numbers from 0, got {epochs}")
        if not taps:
            raise ValueError("taps must name at least one layer, got none")
        self.taps, self.width, self.tolerance = taps, width, tolerance
        self.every_n_epochs, self.epochs = every_n_epochs, epochs
        self.choice = SampleChoice(train_samples, held_out, seed, held_out_from or TRAIN)
        self.seed, self.memory = seed, memory
        self.how, self.reduction, self.channels = named_reduction(reduction, width, seed), named(reduction), channels
        self.measures = measures or []
        for measure in self.measures:
            if measure not in MEASURES:
                raise ValueError(f"measures must be of {', '.join(MEASURES)}; got {measure}")
        self.needs = needed(self.measures)
        self.table, self.measured = ProbeTable(), MeasureTable()
        self.origin = Origin()  # what is known of the network in the table
        self._whole = True  # or the tables have the last epoch of a checkpoint alone
        self._pictures = Seldom()
        self._probed: tuple[dict[str, int], list[str], list[str]] = {}, [TRUE], [TRAIN]  # layers, label kinds, sets
        self.weights: dict[str, Tensor] = {}  # of the last fits, to start the next ones from

    def __repr__(self) -> str:
        """What is probed, and what is known by now."""
        given = {"taps": self.taps, "ridge": self.ridges if len(self.ridges) > 1 else self.ridges[0], "name": self.name}
        listed = ", ".join(f"{option}={value!r}" for option, value in given.items() if value is not None)
        return f"{type(self).__name__}({listed}): {self.table!r}"

    def _repr_html_(self) -> str:
        """The same in a notebook, with the picture of the table."""
        if not self.table.epochs:
            return f"<p>{escape(repr(self))}</p>"
        return layers_svg(panels([Probed(self.origin, self.table)]))

    def frame(self) -> "DataFrame":
        """The table as a pandas DataFrame, see `ProbeTable.frame`."""
        return self.table.frame()

    @property
    def tables(self) -> dict[str, EpochTable]:
        """Probes and, if there are any, measures."""
        return {"probes": self.table, **({"measures": self.measured} if self.measures else {})}

    def due(self, epoch: int) -> bool:
        """Whether to probe after this number of epochs."""
        return epoch in self.epochs if self.epochs is not None else epoch % self.every_n_epochs == 0

    def choose_taps(self, module: LightningModule, batch: Any) -> list[Tap]:
        """Find the taps this callback will read, on a batch.

        Raises:
            ValueError: If a name or glob matches nothing.
            UnreadableBatch: If it is not clear what the batch consists of, or how the network is run on it.
        """
        with frozen(module):
            return self._find(module, read_batch(batch, self.batch, "LinearProbes"), {})[1]

    def refuse(self, planned: Planned) -> list[str]:
        """See whether there are layers, samples, memory and epochs to probe.

        Raises:
            ValueError: If not.
        """
        self.choose_taps(planned.module, planned.batch)
        fitted = self.choice.size(len(planned.sets[TRAIN]))
        notes = []
        if fitted < planned.classes:
            notes.append(f"LinearProbes fits {fitted} samples, fewer than there are classes")
        if self.memory is not None:
            widths = {name: rows.shape[1] for name, rows in self._features(planned).items()}
            problems = self._problems(planned) * len(self.ridges)
            budget = Budget(self.memory * GIB, 1, problems, planned.classes)
            budget.in_files(widths, fitted, sum(map(len, planned.sets.values())))
        if planned.epochs and not any(map(self.due, range(planned.epochs + 1))):
            raise ValueError(f"--trainer.callbacks.epochs: none of {self.epochs} comes in {planned.epochs} epochs")
        return notes

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """Accuracies of every layer, label kind and set."""
        kinds = [*planned.kinds, *([CONTROL] if "control" in self.needs else [])]
        splits = [*planned.sets, *([HELD_OUT] if self.choice.held_out else [])]
        for tap in self.choose_taps(planned.module, planned.batch):
            yield from (self.metric(kind, split, tap.name) for kind in kinds for split in splits)

    def comes_too_late(self, at_epoch_end: bool) -> str:
        """Nothing if the untrained network is probed."""
        if self.due(0) or (at_epoch_end and self.due(1)):
            return ""
        return f"add 0, the network at initialisation, to the epochs {self.epochs} of LinearProbes"

    def expected_seconds(self, planned: Planned, look: float) -> float:
        """Seconds of reading and fitting, from an iteration at every width."""
        train = len(planned.sets[TRAIN])
        fitted, tests = self.choice.size(train), sum(map(len, planned.sets.values())) - train
        columns = planned.classes * self._problems(planned) * len(self.ridges)
        once = look * (fitted + tests) + fitted * sum(fitting_seconds(self._features(planned), columns).values())
        return once * (sum(map(self.due, range(planned.epochs + 1))) if planned.epochs else 1)

    def _problems(self, planned: Planned) -> int:
        """Label kinds that are fitted."""
        return len(planned.kinds) + ("control" in self.needs)

    def _features(self, planned: Planned) -> dict[str, Tensor]:
        """Features of a few samples, by layer."""
        with frozen(planned.module):
            batch = read_batch(planned.batch, self.batch, "LinearProbes")
            call, taps, _ = self._find(planned.module, batch, {})
            return read_features(
                planned.module, partial(call, planned.module, batch), batch.rows, self.layer_reductions(taps)
            )

    def layer_reductions(self, taps: list[Tap]) -> dict[str, LayerReduction]:
        """What is made of the activations of each layer."""
        return {tap.name: LayerReduction(self.how, self.reduction, tap.layout) for tap in taps}

    def _find(
        self, module: LightningModule, batch: LabelledBatch, left_out: dict[str, str]
    ) -> tuple[Call, list[Tap], Any]:
        """How the network is run, the taps chosen, and what it answers."""
        call, found, answer = find_call(
            module, self.forward, batch, self.channels, left_out, "LinearProbes", self._call
        )
        return call, select_taps(self.taps, found, left_out), answer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe the untrained network, or see that it can be: what does not fit is refused before the first step."""
        self._call = None
        self._compared, self._put_back = False, True
        if trainer.global_step == 0:
            self._forget()
        self.files.begin(trainer, {"probes.csv": self.table, "measures.csv": self.measured}, self._whole)
        self._whole = True
        self.origin = Origin.of_trainer(trainer, pl_module)
        self._pictures = Seldom(owed=trainer.is_global_zero and goes_on(trainer) and bool(self.table.epochs))
        if trainer.global_step == 0 and self.due(0):
            self.measure(trainer, pl_module, 0)
            return
        with self._left_as_it_is(trainer, pl_module), trainer.precision_plugin.forward_context():
            self._look(trainer, pl_module)
        if self.table.epochs:  # a run that goes on: what was known when it was interrupted
            trainer.callback_metrics.update(self.watched(self.table.epochs[-1]))
        if not goes_on(trainer):  # the tables of the run before have its rows
            self.table.clear()
            self.measured.clear()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe after an epoch; whatever goes wrong costs the rows of this epoch, and training goes on."""
        if self.due(epoch := trainer.current_epoch + 1):
            self.measure(trainer, pl_module, epoch, fails=False)

    def _begin_stored(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin new tables."""
        self._forget()
        self._pictures = Seldom()

    def _forget(self) -> None:
        self.table, self.weights, self.measured, self._whole = ProbeTable(), {}, MeasureTable(), True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and print the table of the whole run."""
        self._pictures.at_last(partial(self._draw, trainer))
        self._print(trainer)

    def _file_failure(self, epoch: int, reason: str) -> None:
        """Rows that say why there are no results at an epoch."""
        layers, kinds, splits = self._probed
        problems = [(kind, ridge) for kind in kinds for ridge in self.ridges]
        self.table.put(epoch, {layer: (width, failed(problems, splits, reason)) for layer, width in layers.items()}, {})

    def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        """Fit and score the probes of all chosen layers."""
        began, shard = time.monotonic(), shard_of(trainer)
        with trainer.precision_plugin.forward_context():
            look = self._look_together(trainer, module, shard)
            taps, budget, sets = look.taps, look.budget, look.sets
            samples = [len(part.indices) for part in sets.values()]
            in_files = budget.in_files(look.features, len(sets[TRAIN].indices), sum(samples))
            what = look.call, self.batch, look.reduce, sets
            layers = LayerFeatures(trainer, module, *what, shard, in_files, folder(trainer))
        reduced = {tap.name: look.reduce[tap.name].reduced(tap.width, look.features[tap.name]) for tap in taps}
        first, expected = not self.table.epochs, 0.0
        if first:
            columns = budget.problems * budget.classes
            plan, expected = probe_plan(taps, look.features, reduced, in_files, layers, columns)
            rank_zero_info(plan)
            if look.left_out:
                listed = "; ".join(f"{layer} ({reason})" for layer, reason in look.left_out.items())
                rank_zero_info(f"left out, as they cannot be read: {listed}")
        kinds = self._label_kinds(layers)
        self._probed = {tap.name: tap.width for tap in taps}, kinds, list(sets)
        classes = 1 + max(int(label.max()) for label in layers.labels[TRAIN].values())
        self.origin = Origin.of_trainer(trainer, module, classes)
        if first:
            _say_unlabelled(layers, kinds)
            if "classifier" in self.needs and not look.classifier:
                rank_zero_info(f"there is no NC3: {NO_CLASSIFIER}")
        mine: dict[int, _Result] = {}
        for item, tap in enumerate(tracked(trainer, taps, f"epoch {epoch}: fitting probes")):
            go_on(together=True)
            layer = layers.take(tap.name, item, kinds)
            logits = layers.logits(TRAIN, item) if "logits" in self.needs else None
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
            measured = {name: one.measured for name, one in results.items()}
            if "classifier" in self.needs and not look.classifier:
                measured[taps[-1].name] = [*measured[taps[-1].name], without_classifier()]
            self.measured.put(epoch, measured, similar, "".join(tests[:1]))
        took = time.monotonic() - began
        note = corrected(expected, took) if first else ""
        rank_zero_info(f"probes, epoch {epoch}: {self.table.summary(epoch)} ({took:.0f} s{note})")

    def _look_together(self, trainer: Trainer, module: LightningModule, shard: Shard) -> "_Look":
        """Look on all processes; if one of them fails, all do."""
        try:
            look = self._look(trainer, module)
        except Exception as error:
            shard.agree(error)
            raise
        shard.agree(None)
        return look

    def _look(self, trainer: Trainer, module: LightningModule) -> "_Look":
        """What there is to probe, from some samples of every set.

        Raises:
            ValueError: If what was asked for is not there.
            TypeError: If a set, or a batch of it, cannot be read.
        """
        sets = probed_sets(trainer, self.choice, partial(self._some, trainer))
        batch = self._some(trainer, sets[TRAIN])
        for split, part in sets.items():
            if split not in {TRAIN, HELD_OUT}:
                self._some(trainer, part, 2)
        left_out: dict[str, str] = {}
        call, taps, answer = self._find(module, batch, left_out)
        forward = partial(call, module, batch)
        reduce = self.layer_reductions(taps)
        features = read_features(module, forward, batch.rows, reduce)
        two = batch.true_label is not batch.given_label
        logits = logits_of(answer, len(batch))  # these labels may not have all classes
        classes = 1 + int(torch.maximum(batch.true_label, batch.given_label).max())
        classes = max(1, classes, 0 if logits is None else logits.shape[1])
        memory = None if self.memory is None else self.memory * GIB
        budget = Budget(memory, trainer.world_size, (1 + two + ("control" in self.needs)) * len(self.ridges), classes)
        widths = {name: rows.shape[1] for name, rows in features.items()}
        whole = {tap.name: features[tap.name] for tap in taps if tap.width == widths[tap.name]}
        classifier = classifier_weights(module, forward, batch.rows, whole) if "classifier" in self.needs else {}
        if self._call is None:
            which = "".join(f"; of the {split} samples {part.which}" for split, part in sets.items() if part.which)
            rank_zero_info(f"LinearProbes reads batches as {batch.how} and runs {call}{which}")
            self._call = call
            self._probed = {tap.name: tap.width for tap in taps}, [TRUE, GIVEN] if two else [TRUE], list(sets)
        return _Look(sets, call, taps, reduce, widths, left_out, budget, classifier)

    def _label_kinds(self, layers: LayerFeatures) -> list[str]:
        """What probes are fitted to; control labels are made here."""
        train = layers.labels[TRAIN]
        kinds = [TRUE] if bool((train[TRUE] == train[GIVEN]).all()) else [TRUE, GIVEN]
        kinds = [kind for kind in kinds if bool((train[kind] >= 0).any())] or kinds[:1]
        if "control" in self.needs:
            counts = torch.bincount(train[kinds[0]].clamp(min=-1) + 1)[1:].tolist() or [1]
            for split, part in layers.labels.items():
                label = part[kinds[0]]
                control = control_labels(len(label), counts if any(counts) else [1], self.seed + (split != TRAIN))
                part[CONTROL] = torch.where(label < 0, label, control.to(label.device))
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
        classes = max(1, 1 + max(int(label.max()) for part in sets.values() for label in part.labels.values()))
        place = sets[TRAIN].features.device  # that of a layer in a file is the CPU
        classifier, logits = (None if x is None else x.to(place) for x in (classifier, logits))
        measured = measure_layer(self.measures, Layer(sets, classes, classifier, logits))
        test = next((part.features for split, part in sets.items() if split not in {TRAIN, HELD_OUT}), None)
        sample = test[:SIMILAR].cpu().clone() if "sample" in self.needs and test is not None else None
        start = self.weights.get(tap)
        problems = len(sets[TRAIN].labels) * len(self.ridges)
        if start is not None and start.shape != (problems, sets[TRAIN].features.shape[1] + 1, classes):
            start = None
        scores, weights = separability(sets[TRAIN], sets, classes, self.ridges, self.tolerance, start, in_place=True)
        if weights is None:  # features that are not finite
            return _Result(scores, None, [], None)
        return _Result(scores, weights.cpu(), [*measured, *measure_probes(self.measures, scores)], sample)

    def _publish(self, trainer: Trainer, epoch: int) -> None:
        """Write the tables, and pass accuracies and, now and then, pictures to the loggers."""
        to = folder(trainer)
        trainer.callback_metrics.update(self.watched(epoch))
        if not trainer.is_global_zero:
            return
        self.files.find(to)
        self.table.write(self.files.path("probes.csv"))
        if self.measures:
            self.measured.write(self.files.path("measures.csv"))
        log_to_all(trainer, self.accuracies(epoch), epoch)
        self._pictures.perhaps(partial(self._draw, trainer))

    def _draw(self, trainer: Trainer) -> None:
        """Draw the tables, if there is anything in them, and pass the picture to the loggers that take it."""
        if not self.table.epochs:
            return
        ending = f"_{self.name}" if self.name else ""
        pictures = {f"separability{ending}": self.files.path("separability.png")}
        draw_separability(self.table, self.origin, pictures[f"separability{ending}"])
        if self.measures:
            pictures[f"measures{ending}"] = self.files.path("measures.png")
            draw_measures(self.measured.rows, self.table, self.origin, pictures[f"measures{ending}"])
        show_to_all(trainer, pictures, self.table.epochs[-1])

    def accuracies(self, epoch: int) -> dict[str, float]:
        """Those of an epoch, by layer, label kind and set."""
        return {
            self.metric(row["labels"], row["split"], row["layer"]): row["accuracy"]
            for row in self.table.at(epoch)
            if row["accuracy"] is not None and row["chosen"]
        }

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self.table.epochs:
            self.table.print(console_above(trainer))
            if failures := self.table.failures():
                rank_zero_warn(
                    f"{len(failures)} probes failed: {'; '.join(failures[:3])}{'; ...' * (len(failures) > 3)}"
                )

    def state_dict(self) -> dict[str, Any]:
        """The last results and weights, and what they depend on, as plain values and tensors; the files have more."""
        found = {"latest": self.table.latest, "measured": self.measured.state_dict(), "weights": self.weights}
        return {**found, "settings": self._settings(), "files": self.files.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an earlier state; results of other settings do not belong into this table."""
        if state_dict.get("settings") == self._settings():
            self._whole = "rows" in state_dict  # as in checkpoints of the first releases
            self.table = ProbeTable(state_dict["rows" if self._whole else "latest"])
            self.measured, self.weights = MeasureTable(**state_dict["measured"]), state_dict["weights"]
            if "files" in state_dict:  # not so in checkpoints of the first releases
                self.files.load_state_dict(state_dict["files"])

    def _settings(self) -> dict[str, Any]:
        names = ("taps", "width", "ridges", "reduction", "tolerance", "seed", "measures")
        choice: dict[str, Any] = {"train_samples": self.choice.fitted, "held_out": self.choice.held_out}
        if self.choice.held_out_from != TRAIN:
            choice["held_out_from"] = self.choice.held_out_from
        for name, value in {"batch": self.batch, "forward": self.forward, "channels": self.channels}.items():
            if value is not None:  # tables of runs that had no such options go on
                choice[name] = dict(value) if isinstance(value, Mapping) else named(value)
        return {**choice, **{name: getattr(self, name) for name in names}}


def _say_unlabelled(layers: LayerFeatures, kinds: list[str]) -> None:
    """Count the samples that have no label."""
    without: dict[tuple[str, int], list[str]] = {}
    for split, labels in layers.labels.items():
        for kind in kinds:
            if kind != CONTROL and (number := int((labels[kind] < 0).sum())):
                without.setdefault((split, number), []).append(kind.replace("_", " "))
    every = len(kinds) - (CONTROL in kinds)
    parts = [
        f"{number:,} of {layers.counts[split]:,} {'training' if split == TRAIN else split} samples have no "
        f"{'label' if len(missing) == every else missing[0]} (below 0)"
        for (split, number), missing in without.items()
    ]
    if parts:
        rank_zero_info(f"{'; '.join(parts)}: they are left out of what needs one")


@dataclass(frozen=True)
class _Look:
    sets: dict[str, ProbedSet]
    call: Call
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
