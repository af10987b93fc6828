"""More to ask of a layer than a linear probe, from the same features: what `LinearProbes(measures=[...])` computes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any

from torch import Tensor

from stratoscope.callbacks.probed_sets import TRAIN, TRUE
from stratoscope.files.epoch_table import EpochTable, Row
from stratoscope.probes import (
    HELD_OUT,
    Arrangement,
    LabelledFeatures,
    Separability,
    Standardisation,
    effective_rank,
    neighbour_accuracy,
    neural_collapse,
    participation_ratio,
    selectivity,
    spectrum,
    with_label,
)

MEASURES = ("neighbours", "rank", "collapse", "control", "similarity")
CONTROL = "control_label"
SIMILAR = 1000  # samples of a test set that layers and epochs are compared on
COLUMNS: dict[str, Any] = dict.fromkeys(("layer", "measure", "labels", "split"), str)
COLUMNS = {"epoch": int, **COLUMNS, "value": float | str}
Cells = Iterator[tuple[str, str, str, float | str]]  # measure, labels, split, value or the reason why there is none
NO_CLASSIFIER = "the input of the network's classifier, its last linear layer, is none of the layers probed in full"


def measure_layer(
    measures: Sequence[str],
    sets: Mapping[str, LabelledFeatures],
    classes: int,
    weight: Tensor | None = None,
    logits: Tensor | None = None,
) -> list[Row]:
    """Measure one layer.

    Args:
        measures: `neighbours` (accuracy of the 20 nearest training samples, of standardised features), `rank`
            (effective rank and participation ratio of the training features), `collapse` (NC1 to NC4, by label kind);
            others are not for a layer alone. Samples without a label (below 0) count where labels do.
        sets: Features and labels of the layer, by name of the set.
        classes: Number of classes.
        weight: Of the network's classifier, (classes, features), if this layer is its input: for NC3.
        logits: What the network answers on the training set, (n, classes): for NC4.

    Returns:
        Rows with measure, labels, split and value; what cannot be measured has the reason as its value.
    """
    known = {
        "neighbours": lambda: _neighbours(sets, classes),
        "rank": lambda: _rank(sets),
        "collapse": lambda: _collapse(sets[TRAIN], classes, weight, logits),
    }
    rows: list[Row] = []
    for name in measures:
        if name in known:
            try:
                rows += [_row(*cells) for cells in known[name]()]
            except ValueError as reason:  # such as a class without samples, or features that do not vary
                rows.append(_row(name, "", TRAIN, f"failed: {reason}"))
    return rows


def without_classifier() -> Row:
    """The row that says why no layer has NC3."""
    return _row("nc3", "", TRAIN, f"failed: {NO_CLASSIFIER}")


def compare_probes(scores: Sequence[Separability]) -> list[Row]:
    """Selectivity: a probe's training accuracy less that on random labels per input (`control`)."""
    accuracy = {row.labels: row.accuracy for row in scores if row.split == TRAIN and row.chosen}
    control = accuracy.pop(CONTROL, None)
    return [
        _row("selectivity", kind, TRAIN, selectivity(own, control))
        for kind, own in accuracy.items()
        if own is not None and control is not None
    ]


class MeasureTable(EpochTable):
    """Measures of every layer and epoch so far.

    Args:
        rows: Rows of an earlier table, as plain dictionaries.
        first: Of a layer, by name, the first epoch its features were seen at, and the features of some test samples.
        last: The same of the last epoch.
    """

    def __init__(
        self,
        rows: Sequence[Row] = (),
        first: Mapping[str, tuple[int, Tensor]] | None = None,
        last: Mapping[str, tuple[int, Tensor]] | None = None,
    ) -> None:
        super().__init__(COLUMNS, rows)
        self.first, self.last = dict(first or {}), dict(last or {})

    def put(self, epoch: int, measured: Mapping[str, Sequence[Row]], samples: Mapping[str, Tensor], split: str) -> None:
        """File the measures of an epoch, and compare the layers with each other and with earlier epochs.

        Similarity is linear CKA (the unbiased estimator): of a layer with every earlier layer, with itself at the first
        epoch that was measured, and with itself at the last one before.

        Args:
            epoch: Number of finished epochs.
            measured: Rows by layer, in order of execution.
            samples: Features of the same samples of a test set, by layer; empty if similarity is not asked for.
            split: The set they are of.
        """
        found: list[Row] = []
        arranged: dict[str, Arrangement | str] = {}
        for layer, rows in measured.items():
            similar: list[Row] = []
            if layer in samples:
                arranged[layer] = _arranged(samples[layer])
                others = {other: arranged[other] for other in arranged if other != layer}
                for when, features in (self.first.get(layer, (epoch, None)), self.last.get(layer, (epoch, None))):
                    if features is not None and when != epoch:
                        others[f"epoch {when}"] = _arranged(features)
                similar = [_row(f"cka with {name}", "", split, _cka(arranged[layer], x)) for name, x in others.items()]
            found += [{"epoch": epoch, "layer": layer, **row} for row in [*rows, *similar]]
        self.replace(epoch, found)
        self.last = {layer: (epoch, features) for layer, features in samples.items()}
        self.first = {**self.last, **self.first}

    def state_dict(self) -> dict[str, Any]:
        """What going on takes beside the file, as plain values and tensors."""
        return {"rows": self.latest, "first": self.first, "last": self.last}


def _row(measure: str, labels: str, split: str, value: float | str) -> Row:
    return {"measure": measure, "labels": labels, "split": split, "value": value}


def _arranged(features: Tensor) -> Arrangement | str:
    try:
        return Arrangement.of(features)
    except ValueError as reason:
        return f"failed: {reason}"


def _cka(x: Arrangement | str, y: Arrangement | str) -> float | str:
    if isinstance(x, str) or isinstance(y, str):
        return x if isinstance(x, str) else str(y)
    try:
        return x.cka(y)
    except ValueError as reason:
        return f"failed: {reason}"


def _neighbours(sets: Mapping[str, LabelledFeatures], classes: int) -> Cells:
    kind = TRUE if TRUE in sets[TRAIN].labels else next(iter(sets[TRAIN].labels))
    train = with_label(sets[TRAIN], kind)
    standardise = Standardisation.fit(train.features)
    near = standardise(train.features)
    for split, whole in sets.items():
        if split not in {TRAIN, HELD_OUT}:
            data = with_label(whole, kind)
            far, label = standardise(data.features), data.labels[kind]
            correct, count = neighbour_accuracy(near, train.labels[kind], far, label, classes, min(20, len(near)))
            yield "neighbour_accuracy", kind, split, correct / count if count else nan


def _rank(sets: Mapping[str, LabelledFeatures]) -> Cells:
    variances = spectrum(sets[TRAIN].features)
    yield "effective_rank", "", TRAIN, effective_rank(variances)
    yield "participation_ratio", "", TRAIN, participation_ratio(variances)


def _collapse(train: LabelledFeatures, classes: int, weight: Tensor | None, logits: Tensor | None) -> Cells:
    missing: dict[str, str] = {}
    if logits is None or logits.shape[1] != classes:
        answers_with = "no logits" if logits is None else f"{logits.shape[1]} logits"
        missing["nc4"] = f"failed: the network answers with {answers_with}, there are labels of {classes} classes"
        logits = None
    if weight is not None and len(weight) != classes:
        missing["nc3"] = f"failed: the network's classifier has {len(weight)} classes, there are labels of {classes}"
        weight = None
    for kind, whole in train.labels.items():
        if kind != CONTROL:
            data = with_label(train, kind)
            answers = None if logits is None else logits[(whole >= 0).to(logits.device)]
            found = neural_collapse(data.features, data.labels[kind], classes, weight, answers)
            for name, value in asdict(found).items():
                if value is not None or name in missing:
                    yield name, kind, TRAIN, missing.get(name, value)
