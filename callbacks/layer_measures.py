"""More to ask of a layer than a linear probe, from the same features: what `LinearProbes(measures=[...])` computes."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from stratoscope.callbacks.atomic import replacing
from stratoscope.probes import (
    HELD_OUT,
    LabelledFeatures,
    Separability,
    Standardisation,
    effective_rank,
    linear_cka,
    neighbour_accuracy,
    neural_collapse,
    participation_ratio,
    selectivity,
    spectrum,
)

MEASURES = ("neighbours", "rank", "collapse", "control", "similarity")
TRAIN, TRUE, CONTROL = "train", "true_label", "control_label"
SIMILAR = 2000  # samples of a test set that layers are compared on
COLUMNS = ["epoch", "layer", "measure", "labels", "split", "value"]
Row = dict[str, Any]
Cells = tuple[str, str, str, float]  # measure, labels, split, value


def measure_layer(
    measures: Sequence[str], sets: Mapping[str, LabelledFeatures], scores: Sequence[Separability], classes: int
) -> list[Row]:
    """Measure one layer.

    Args:
        measures: `neighbours` (accuracy of the 20 nearest training samples, of standardised features), `rank`
            (effective rank and participation ratio of the training features), `collapse` (NC1 and NC2, by label kind),
            `control` (selectivity: a probe's training accuracy less that on random labels per input).
        sets: Features and labels of the layer, by name of the set.
        scores: Of its probes.
        classes: Number of classes.

    Returns:
        Rows with measure, labels, split and value; what cannot be measured has the reason as its value.
    """
    rows: list[Row] = []
    for name in measures:
        if name in BY_NAME:
            try:
                rows += [dict(zip(COLUMNS[2:], row, strict=True)) for row in BY_NAME[name](sets, scores, classes)]
            except ValueError as reason:  # such as a class without samples, or features that do not vary
                rows.append(dict(zip(COLUMNS[2:], (name, "", TRAIN, f"failed: {reason}"), strict=True)))
    return rows


def compare_layers(samples: Mapping[str, Tensor], split: str) -> dict[str, list[Row]]:
    """Linear CKA of every layer with every earlier one (the unbiased estimator).

    Args:
        samples: Features of the same samples, by layer in order of execution.
        split: The set they are of.

    Returns:
        Rows by layer.
    """
    layers = list(samples)
    rows: dict[str, list[Row]] = {layer: [] for layer in layers}
    for place, layer in enumerate(layers):
        for other in layers[:place]:
            value: float | str
            try:
                value = linear_cka(samples[layer], samples[other], unbiased=True)
            except ValueError as reason:
                value = f"failed: {reason}"
            rows[layer].append({"measure": f"cka with {other}", "labels": "", "split": split, "value": value})
    return rows


def _neighbours(sets: Mapping[str, LabelledFeatures], scores: Sequence[Separability], classes: int) -> Iterator[Cells]:
    train = sets[TRAIN]
    standardise = Standardisation.fit(train.features)
    near = standardise(train.features)
    for split, data in sets.items():
        if split not in {TRAIN, HELD_OUT}:
            far, label = standardise(data.features), data.labels[TRUE]
            correct, count = neighbour_accuracy(near, train.labels[TRUE], far, label, classes, min(20, len(near)))
            yield "neighbour_accuracy", TRUE, split, correct / count


def _rank(sets: Mapping[str, LabelledFeatures], scores: Sequence[Separability], classes: int) -> Iterator[Cells]:
    variances = spectrum(sets[TRAIN].features)
    yield "effective_rank", "", TRAIN, effective_rank(variances)
    yield "participation_ratio", "", TRAIN, participation_ratio(variances)


def _collapse(sets: Mapping[str, LabelledFeatures], scores: Sequence[Separability], classes: int) -> Iterator[Cells]:
    train = sets[TRAIN]
    for kind, label in train.labels.items():
        if kind != CONTROL:
            found = neural_collapse(train.features, label, classes)
            for name in ("nc1", "nc2_norms", "nc2_angles"):
                yield name, kind, TRAIN, getattr(found, name)


def _control(sets: Mapping[str, LabelledFeatures], scores: Sequence[Separability], classes: int) -> Iterator[Cells]:
    accuracy = {row.labels: row.accuracy for row in scores if row.split == TRAIN and row.chosen}
    control = accuracy.pop(CONTROL)
    for kind, own in accuracy.items():
        if own is not None and control is not None:
            yield "selectivity", kind, TRAIN, selectivity(own, control)


BY_NAME = {"neighbours": _neighbours, "rank": _rank, "collapse": _collapse, "control": _control}


def write_measures(rows: Sequence[Row], file: Path) -> None:
    """Write all rows as CSV, whole or not at all."""
    with replacing(file) as part, part.open("w", newline="") as text:
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
