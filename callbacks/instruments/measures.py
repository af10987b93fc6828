"""More to ask of a layer than a linear probe, from the same features: what `LinearProbes(measures=[...])` computes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from typing import Any

from torch import Tensor

from stratoscope.callbacks.samples.probed_sets import TRAIN, TRUE
from stratoscope.files.table import EpochTable, Row, kinds_of
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

CONTROL = "control_label"
SIMILAR = 1000  # samples of a test set that layers and epochs are compared on
COLUMNS = kinds_of("epoch", "layer", "measure", "labels", "split", "value")
Cells = Iterator[tuple[str, str, str, float | str]]  # measure, labels, split, value or the reason why there is none
NO_CLASSIFIER = "the input of the network's classifier, its last linear layer, is none of the layers probed in full"


ACCURACY, SIMILARITY = "accuracy, %", "CKA"  # units


def percent(share: float) -> tuple[float, str]:
    """A share as it is shown: 0.934 as 93 %."""
    return 100 * share, str(round(100 * share))


def plain(number: float) -> tuple[float, str]:
    """A number as it is shown: 1234, 12, 1.2, 0.12, 0.001."""
    if number >= 9.95:
        return number, f"{number:.0f}"
    return number, f"{number:.1f}" if number >= 0.995 else f"{number:.2f}" if abs(number) >= 0.0095 else f"{number:.0g}"


@dataclass(frozen=True)
class Look:
    """How a measure is shown.

    Attributes:
        name: In words.
        unit: Of the numbers shown.
        shown: From the value in the table to the number that is coloured and the one that is printed.
        least: The least span of the colour bar.
        log: Whether colours are logarithmic.
    """

    name: str
    unit: str
    shown: Callable[[float], tuple[float, str]] = plain
    least: float = 0.0
    log: bool = False


@dataclass(frozen=True)
class Layer:
    """What there is of a layer to be measured; what no measure needs is None.

    Attributes:
        sets: Its features and labels, by name of the set. Samples without a label have one below 0.
        classes: Number of classes.
        classifier: Weights of the network's classifier, (classes, features), if this layer is its input.
        logits: What the network answers on the training set, (n, classes).
    """

    sets: Mapping[str, LabelledFeatures]
    classes: int
    classifier: Tensor | None = None
    logits: Tensor | None = None


@dataclass(frozen=True)
class Measure:
    """Something to ask of every layer.

    Attributes:
        shows: Its numbers by the names they have in the table, and how each is shown.
        of_layer: Computes them from a layer; a ValueError says why there are none.
        of_probes: Computes them from the scores of a layer's probes.
        needs: What has to be there for it: `classifier` and `logits` of a `Layer`; `control`, labels that are drawn
            anew for every sample and probed too; `sample`, features that are kept to compare layers and epochs
            (`MeasureTable.put`).
    """

    shows: Mapping[str, Look] = field(default_factory=dict)
    of_layer: Callable[[Layer], Cells] | None = None
    of_probes: Callable[[Sequence[Separability]], Cells] | None = None
    needs: frozenset[str] = frozenset()


def needed(measures: Sequence[str]) -> set[str]:
    """What has to be there for some measures."""
    return set().union(*(MEASURES[name].needs for name in measures))


def measure_layer(measures: Sequence[str], layer: Layer) -> list[Row]:
    """Measure one layer.

    Args:
        measures: Of `MEASURES`; some are not for a layer alone.
        layer: The layer.

    Returns:
        Rows with measure, labels, split and value; what cannot be measured has the reason as its value.
    """
    rows: list[Row] = []
    for name in measures:
        if of_layer := MEASURES[name].of_layer:
            try:
                rows += [_row(*cells) for cells in of_layer(layer)]
            except ValueError as reason:  # such as a class without samples, or features that do not vary
                rows.append(_row(name, "", TRAIN, f"failed: {reason}"))
    return rows


def without_classifier() -> Row:
    """The row that says why no layer has NC3."""
    return _row("nc3", "", TRAIN, f"failed: {NO_CLASSIFIER}")


def measure_probes(measures: Sequence[str], scores: Sequence[Separability]) -> list[Row]:
    """The same from the scores of a layer's probes.

    Args:
        measures: Of `MEASURES`.
        scores: Of all label kinds and sets.
    """
    return [_row(*cells) for name in measures if (of := MEASURES[name].of_probes) for cells in of(scores)]


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


def _neighbours(layer: Layer) -> Cells:
    """Accuracy of the 20 nearest training samples, of standardised features."""
    sets = layer.sets
    kind = TRUE if TRUE in sets[TRAIN].labels else next(iter(sets[TRAIN].labels))
    train = with_label(sets[TRAIN], kind)
    standardise = Standardisation.fit(train.features)
    near = standardise(train.features)
    for split, whole in sets.items():
        if split not in {TRAIN, HELD_OUT}:
            data = with_label(whole, kind)
            far, label = standardise(data.features), data.labels[kind]
            correct, count = neighbour_accuracy(near, train.labels[kind], far, label, layer.classes, min(20, len(near)))
            yield "neighbour_accuracy", kind, split, correct / count if count else nan


def _rank(layer: Layer) -> Cells:
    """Effective rank and participation ratio of the training features."""
    variances = spectrum(layer.sets[TRAIN].features)
    yield "effective_rank", "", TRAIN, effective_rank(variances)
    yield "participation_ratio", "", TRAIN, participation_ratio(variances)


def _collapse(layer: Layer) -> Cells:
    """NC1 to NC4, by label kind."""
    train, classes, weight, logits = layer.sets[TRAIN], layer.classes, layer.classifier, layer.logits
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
                cell = missing.get(name, value)
                if cell is not None:
                    yield name, kind, TRAIN, cell


def _control(scores: Sequence[Separability]) -> Cells:
    """Selectivity: a probe's training accuracy less that on random labels per input (Hewitt & Liang 2019)."""
    accuracy = {row.labels: row.accuracy for row in scores if row.split == TRAIN and row.chosen}
    control = accuracy.pop(CONTROL, None)
    for kind, own in accuracy.items():
        if own is not None and control is not None:
            yield "selectivity", kind, TRAIN, selectivity(own, control)


MEASURES = {
    "neighbours": Measure(
        {"neighbour_accuracy": Look("Nearest-neighbour accuracy", ACCURACY, percent, 1.0)}, _neighbours
    ),
    "control": Measure(
        {"selectivity": Look("Selectivity (less control labels)", "difference, %", percent, 1.0)},
        of_probes=_control,
        needs=frozenset({"control"}),
    ),
    "rank": Measure(
        {
            "effective_rank": Look("Effective rank", "directions", log=True),
            "participation_ratio": Look("Participation ratio", "directions", log=True),
        },
        _rank,
    ),
    "collapse": Measure(
        {
            "nc1": Look("NC1, variability within classes", "tr($S_W S_B^+$) / C", log=True),
            "nc2_norms": Look("NC2, spread of the norms of class means", "deviation / mean"),
            "nc2_angles": Look("NC2, distance from equal angles", "mean |cos + 1/(C - 1)|"),
            "nc3": Look("NC3, classifier from its class means", "distance"),
            "nc4": Look("NC4, unlike the nearest class mean", "samples, %", percent, 1.0),
        },
        _collapse,
        needs=frozenset({"classifier", "logits"}),
    ),
    "similarity": Measure(needs=frozenset({"sample"})),
}
