"""How linearly separable the classes are in one layer: the fitted probe's accuracy on every set and label kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stratoscope.probes.linear.logistic import LogisticFit, fit_logistic
from stratoscope.probes.linear.products import finite
from stratoscope.probes.reading.standardisation import Standardisation
from stratoscope.probes.statistics.interval import wilson

HELD_OUT = "held_out"


@dataclass(frozen=True)
class LabelledFeatures:
    """One layer's features of one set.

    Attributes:
        features: One row per sample.
        labels: By label kind ("true_label", "given_label", ...), one label per sample; below 0 where there is none.
    """

    features: Float[Tensor, "n d"]
    labels: Mapping[str, Int[Tensor, " n"]]


@dataclass(frozen=True)
class Separability:
    """One probe's score on one set: a row of the table.

    Attributes:
        labels: Label kind the probe was fitted to and is scored against.
        split: Name of the set.
        accuracy: Share of samples classified correctly, in [0, 1]; None if the probe failed.
        low: Lower end of its 95 % interval (Wilson).
        high: Upper end.
        correct: Samples classified correctly.
        count: Samples.
        loss: Mean cross-entropy in nats, without the penalty.
        features: Features the probe saw.
        ridge: Strength of the L2 penalty.
        chosen: Whether this is the ridge chosen for its label kind, if there are several.
        objective: Penalised mean cross-entropy on the set fitted, in nats.
        gap: Upper bound on its distance to the optimum, in nats.
        gradient_norm: Norm of its gradient.
        iterations: Iterations spent.
        converged: Whether the gap met the tolerance.
        failed: Why there is no result; empty if there is one.
    """

    labels: str
    split: str
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    correct: int | None = None
    count: int | None = None
    loss: float | None = None
    features: int | None = None
    ridge: float | None = None
    chosen: bool = True
    objective: float | None = None
    gap: float | None = None
    gradient_norm: float | None = None
    iterations: int | None = None
    converged: bool = False
    failed: str = ""


def separability(
    fitted_on: LabelledFeatures,
    scored_on: Mapping[str, LabelledFeatures],
    classes: int,
    ridge: float | Sequence[float],
    tolerance: float = 1e-6,
    start: Float[Tensor, "k e c"] | None = None,
    in_place: bool = False,
) -> tuple[list[Separability], Float[Tensor, "k e c"] | None]:
    """Fit one probe per label kind and ridge, and score it on every set; samples without a label count nowhere.

    Args:
        fitted_on: The training set. Features are standardised by its mean and standard deviation.
        scored_on: The sets to score on, by name, with the same label kinds.
        classes: Number of classes.
        ridge: Strength of the L2 penalty, see `fit_logistic`; or several. Of several, the one with the smallest
            loss on the set called `held_out` is chosen, by label kind; without such a set the first.
        tolerance: Duality gap in nats at which a probe is converged.
        start: Weights returned by an earlier call (e = features + 1), to start from: k label kinds times ridges.
        in_place: Whether features may be overwritten with standardised ones, which takes half the memory.

    Returns:
        One row per (label kind, ridge, set), and the weights. Features that cannot be fitted give rows that say why in
        `failed`, and no weights.
    """
    ridges: list[float] = list(ridge) if isinstance(ridge, Sequence) else [ridge]
    kinds, sets = list(fitted_on.labels), (fitted_on, *scored_on.values())
    complete = all(bool((label >= 0).all()) for data in sets for label in data.labels.values())
    # each kind on the samples that have it
    groups: list[tuple[str, ...]] = [tuple(kinds)] if complete else [(kind,) for kind in kinds]
    unfit = {group: _unfit(fitted_on, scored_on, group) for group in groups}  # asked before features are overwritten
    whole = [group for group in groups if all(bool((fitted_on.labels[kind] >= 0).all()) for kind in group)]
    found: dict[tuple[str, ...], tuple[list[Separability], Tensor | None]] = {}
    standardised = False
    for group in sorted(groups, key=whole.__contains__):  # last those that have the same standardised features
        if unfit[group]:
            found[group] = failed([(kind, one) for kind in group for one in ridges], scored_on, unfit[group]), None
            continue
        if in_place and group in whole and not standardised:
            try:
                train, standardised = Standardisation.fit(fitted_on.features), True
            except ValueError as error:
                found[group] = failed([(kind, one) for kind in group for one in ridges], scored_on, str(error)), None
                continue
            for features in {id(data.features): data.features for data in sets}.values():
                train(features, in_place=True)
        place = groups.index(group) * len(ridges)
        first = start if start is None or complete else start[place : place + len(ridges)]
        found[group] = _fit_and_score(group, fitted_on, scored_on, classes, ridges, tolerance, first, standardised)
    rows = [row for group in groups for row in found[group][0]]
    weights = [fit for group in groups if (fit := found[group][1]) is not None]
    return rows, torch.cat(weights) if len(weights) == len(groups) else None


def _unfit(fitted_on: LabelledFeatures, scored_on: Mapping[str, LabelledFeatures], kinds: Sequence[str]) -> str:
    """Why label kinds cannot be fitted or scored; empty if nothing is known against it."""
    if not bool((fitted_on.labels[kinds[0]] >= 0).any()):
        return "no training sample has a label"
    for split, data in scored_on.items():
        if not finite(_having(data, kinds).features):
            return f"features of the {split} set contain NaN or infinity"
    return ""


def _having(data: LabelledFeatures, kinds: Sequence[str]) -> LabelledFeatures:
    """The samples that have a label of the one kind; all of them for several kinds, which all samples have."""
    return data if len(kinds) > 1 else with_label(data, kinds[0])


def with_label(data: LabelledFeatures, kind: str) -> LabelledFeatures:
    """The samples that have a label of a kind, with no other labels.

    Args:
        data: Features and labels.
        kind: Of the labels.
    """
    label = data.labels[kind]
    there = label >= 0
    if bool(there.all()):
        return LabelledFeatures(data.features, {kind: label})
    return LabelledFeatures(data.features[there.to(data.features.device)], {kind: label[there]})


def _fit_and_score(
    kinds: Sequence[str],
    fitted_on: LabelledFeatures,
    scored_on: Mapping[str, LabelledFeatures],
    classes: int,
    ridges: list[float],
    tolerance: float,
    start: Float[Tensor, "k e c"] | None,
    standardised: bool,
) -> tuple[list[Separability], Float[Tensor, "k e c"] | None]:
    """Do so for label kinds, on the samples that have them; features are not overwritten.

    There is never more than one copy of a set, and of one set beside the training set: of the samples that have a
    label, standardised in its own memory, or of a whole set, to be standardised unless all are `standardised`.
    """
    problems = [(kind, strength) for kind in kinds for strength in ridges]
    own = _having(fitted_on, kinds)
    try:
        train = None if standardised else Standardisation.fit(own.features)
    except ValueError as error:
        return failed(problems, scored_on, str(error)), None

    def standard(data: LabelledFeatures, part: LabelledFeatures) -> LabelledFeatures:
        copied = part.features is not data.features
        return part if train is None else replace(part, features=train(part.features, in_place=copied))

    fitted = standard(fitted_on, own)
    try:
        labels = torch.stack([fitted.labels[kind] for kind, _ in problems])
        fits = _fits(fitted.features, labels, classes, [strength for _, strength in problems], tolerance, start)
    except (ValueError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        return failed(problems, scored_on, str(error)), None

    def scored(split: str, data: LabelledFeatures) -> list[Separability]:
        part = fitted if data is fitted_on else standard(data, _having(data, kinds))
        return [
            _score(kind, split, part.features, part.labels[kind], fit, strength)
            for (kind, strength), fit in zip(problems, fits, strict=True)
        ]

    empty = [split for split, data in scored_on.items() if not bool((data.labels[kinds[0]] >= 0).any())]
    rows = [row for split, data in scored_on.items() if split not in empty for row in scored(split, data)]
    weights = torch.stack([torch.cat([fit.weight, fit.bias[None]]) for fit in fits])
    chosen = {kind: _chosen(kind, rows, ridges) for kind in kinds}
    rows = [replace(row, chosen=row.ridge == chosen[row.labels]) for row in rows]
    rows.sort(key=lambda row: (kinds.index(row.labels), ridges.index(row.ridge or 0.0)))
    return [*rows, *failed(problems, empty, "no sample has a label")], weights


def _fits(
    features: Tensor, labels: Tensor, classes: int, ridges: list[float], tolerance: float, start: Tensor | None
) -> list[LogisticFit]:
    """Fit all problems at once or, where that takes more memory than an accelerator has, one after the other.

    Raises:
        torch.OutOfMemoryError: If there is too little for one.
    """
    try:
        return fit_logistic(features, labels, classes, ridges, tolerance, start=start)
    except torch.OutOfMemoryError:
        if len(labels) == 1:
            raise
    torch.accelerator.empty_cache()  # behind the handler, which keeps what has failed alive
    alone = (slice(place, place + 1) for place in range(len(labels)))
    return [
        fit
        for one in alone
        for fit in fit_logistic(
            features, labels[one], classes, ridges[one], tolerance, start=None if start is None else start[one]
        )
    ]


def _chosen(kind: str, rows: Iterable[Separability], ridges: Sequence[float]) -> float | None:
    held_out = [row for row in rows if (row.labels, row.split) == (kind, HELD_OUT)]
    return min(held_out, key=lambda row: row.loss or 0.0).ridge if held_out else ridges[0]


def failed(problems: Iterable[tuple[str, float]], splits: Iterable[str], reason: str) -> list[Separability]:
    """Rows that say why there are no results.

    Args:
        problems: Label kinds and ridges.
        splits: Names of the sets.
        reason: Why.
    """
    return [Separability(kind, split, ridge=ridge, failed=reason) for kind, ridge in problems for split in splits]


def _score(kind: str, split: str, features: Tensor, labels: Tensor, fit: LogisticFit, ridge: float) -> Separability:
    logits = fit.logits(features)
    if not finite(logits):
        return Separability(kind, split, ridge=ridge, failed="the logits are not finite: features are out of range")
    count, correct = len(labels), int((logits.argmax(1) == labels).sum())
    low, high = wilson(correct, count)
    return Separability(
        labels=kind,
        split=split,
        accuracy=correct / count,
        low=low,
        high=high,
        correct=correct,
        count=count,
        loss=float(torch.nn.functional.cross_entropy(logits.double(), labels)),
        features=features.shape[1],
        ridge=ridge,
        objective=fit.objective,
        gap=fit.gap,
        gradient_norm=fit.gradient_norm,
        iterations=fit.iterations,
        converged=fit.converged,
    )
