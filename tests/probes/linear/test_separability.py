"""Tests of probes/linear/separability.py."""

import weakref
from dataclasses import astuple, replace
from importlib import import_module

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor

from stratoscope.probes.linear.separability import LabelledFeatures, Separability, separability, with_label
from stratoscope.probes.reading.standardisation import Standardisation
from stratoscope.probes.statistics.interval import wilson

CLASSES, RIDGE = 3, 1e-2


def _set(n: int, seed: int, corrupted: bool = True) -> LabelledFeatures:
    """Three overlapping clusters of unequal scale; given labels differ from the true ones in 60 % of the samples."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randint(CLASSES, (n,), generator=generator)
    features = torch.randn(n, 6, generator=generator, dtype=torch.float64) + 1.5 * torch.eye(CLASSES, 6)[true].double()
    other = torch.randint(CLASSES, (n,), generator=generator)
    swapped = torch.rand(n, generator=generator) < 0.9
    given = torch.where(swapped, other, true) if corrupted else true
    return LabelledFeatures(features * torch.logspace(-1, 2, 6) + 7, {"true": true, "given": given})


@pytest.fixture
def train() -> LabelledFeatures:
    """150 samples."""
    return _set(150, seed=0)


@pytest.fixture
def test() -> LabelledFeatures:
    """90 other samples."""
    return _set(90, seed=1)


def _with(data: LabelledFeatures, value: float) -> LabelledFeatures:
    features = data.features.clone()
    features[3, 2] = value
    return LabelledFeatures(features, data.labels)


def _start(weights: Tensor | None) -> Tensor:
    assert weights is not None
    return weights


def test_rows_come_by_kind_then_split(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """There is one row per label kind and set: kinds in the order of the labels, sets in the order given."""
    rows, _ = separability(train, {"train": train, "test": test, "again": test}, CLASSES, RIDGE)
    expected = [(kind, split) for kind in ("true", "given") for split in ("train", "test", "again")]
    assert [(row.labels, row.split) for row in rows] == expected


@pytest.mark.parametrize("kind", ["true", "given"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_scores_are_those_of_a_fit_by_hand(
    split: str, kind: str, train: LabelledFeatures, test: LabelledFeatures
) -> None:
    """Accuracy and loss equal scikit-learn's, fitted to features standardised by the training set's statistics."""
    sets = {"train": train, "test": test}
    x = {name: data.features.numpy() for name, data in sets.items()}
    mean, deviation = x["train"].mean(0), x["train"].std(0)
    theirs = LogisticRegression(C=1 / (len(x["train"]) * RIDGE), tol=1e-8, max_iter=1000)
    theirs.fit((x["train"] - mean) / deviation, train.labels[kind].numpy())
    probabilities = theirs.predict_proba((x[split] - mean) / deviation)
    labels = sets[split].labels[kind].numpy()

    rows, _ = separability(train, sets, CLASSES, RIDGE, tolerance=1e-12)
    [row] = [row for row in rows if (row.labels, row.split) == (kind, split)]
    correct = accuracy_score(labels, probabilities.argmax(1), normalize=False)
    assert (row.correct, row.count, row.features) == (correct, len(labels), 6)
    assert row.accuracy == correct / len(labels)
    assert (row.low, row.high) == wilson(int(correct), len(labels))
    assert row.loss == pytest.approx(log_loss(labels, probabilities), abs=1e-5)
    assert row.converged
    assert row.failed == ""


def test_rows_carry_the_certificate_of_their_fit(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """The objective is training loss plus penalty of the returned weights, and belongs to the kind, not the set."""
    rows, weights = separability(train, {"train": train, "test": test}, CLASSES, RIDGE, tolerance=1e-9)
    penalties = RIDGE / 2 * _start(weights)[:, :-1].square().sum((1, 2))
    for own, other, penalty in zip(rows[::2], rows[1::2], penalties.tolist(), strict=True):
        assert own.loss is not None
        assert own.objective == pytest.approx(own.loss + penalty, abs=1e-12)
        assert own.ridge == RIDGE
        assert own.gap is not None
        assert own.gap <= 1e-9
        certificates = [(r.objective, r.gap, r.gradient_norm, r.iterations, r.converged) for r in (own, other)]
        assert certificates[0] == certificates[1]
    assert rows[0].objective != rows[2].objective


def test_true_and_given_labels_have_their_own_probes(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """Where labels are corrupted, clusters are easier to tell by true than by given labels."""
    rows, _ = separability(train, {"train": train, "test": test}, CLASSES, RIDGE)
    true_train, true_test, given_train, given_test = [row.accuracy or 0.0 for row in rows]
    assert true_train > given_train + 0.2
    assert true_test > given_test + 0.2


def test_equal_label_kinds_give_equal_rows() -> None:
    """Without corruption both kinds have the same scores."""
    train = _set(100, seed=2, corrupted=False)
    rows, _ = separability(train, {"train": train}, CLASSES, RIDGE)
    assert astuple(rows[0])[2:] == pytest.approx(astuple(rows[1])[2:], abs=1e-12)


def test_separable_clusters_are_told_apart_without_error() -> None:
    """Far clusters give accuracy 1 on both sets, and the interval's upper end is 1."""
    labels = torch.arange(60) % CLASSES
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    data = LabelledFeatures(50 * torch.eye(CLASSES, 4)[labels] + noise, {"true": labels})
    [row], _ = separability(data, {"train": data}, CLASSES, RIDGE)
    assert (row.accuracy, row.correct) == (1.0, 60)
    assert row.high == pytest.approx(1)


def test_weights_start_the_next_call(train: LabelledFeatures) -> None:
    """Weights have one matrix per kind, the bias as last row; started from them a fit takes next to no iterations."""
    cold, weights = separability(train, {"train": train}, CLASSES, RIDGE)
    start = _start(weights)
    assert start.shape == (2, 7, CLASSES)
    warm, _ = separability(train, {"train": train}, CLASSES, RIDGE, start=start)
    assert min(row.iterations or 0 for row in cold) > 2
    assert max(row.iterations or 0 for row in warm) <= 1
    assert [row.objective for row in warm] == pytest.approx([row.objective for row in cold], abs=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("broken", ["train", "test", "both"])
def test_features_that_are_not_finite_give_failed_rows(
    broken: str, value: float, train: LabelledFeatures, test: LabelledFeatures
) -> None:
    """NaN or infinity in any set gives rows that say where, hold no numbers, and no weights."""
    if broken in {"train", "both"}:
        train = _with(train, value)
    if broken in {"test", "both"}:
        test = _with(test, value)
    rows, weights = separability(train, {"train": train, "test": test}, CLASSES, RIDGE)
    assert weights is None
    kinds_and_splits = [(kind, split) for kind in ("true", "given") for split in ("train", "test")]
    assert [(row.labels, row.split) for row in rows] == kinds_and_splits
    where = "test" if broken == "test" else "train"
    assert {row.failed for row in rows} == {f"features of the {where} set contain NaN or infinity"}
    assert all(row.accuracy is row.loss is row.gap is None and not row.converged for row in rows)


def test_training_features_that_are_not_scored_are_checked_too(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """NaN in the training set gives failed rows also where only another set is scored."""
    rows, weights = separability(_with(train, np.nan), {"test": test}, CLASSES, RIDGE)
    assert weights is None
    assert {row.failed for row in rows} == {"features contain NaN or infinity"}


def test_several_ridges_are_those_of_single_calls(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """Probes of several ridges in one call score like probes of one each, and the first is chosen."""
    sets = {"train": train, "test": test}
    rows, weights = separability(train, sets, CLASSES, [1e-1, 1e-3])
    assert [(row.labels, row.ridge, row.split) for row in rows] == [
        (kind, ridge, split) for kind in ("true", "given") for ridge in (1e-1, 1e-3) for split in sets
    ]
    assert _start(weights).shape == (4, 7, CLASSES)
    for ridge in (1e-1, 1e-3):
        single, _ = separability(train, sets, CLASSES, ridge)
        for row, alone in zip([row for row in rows if row.ridge == ridge], single, strict=True):
            assert row.correct == alone.correct
            assert row.objective == pytest.approx(alone.objective, abs=2e-6)
    assert [row.chosen for row in rows] == [True, True, False, False] * 2


def test_the_ridge_is_chosen_by_the_held_out_loss(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """For each label kind it is the one with the smallest loss on the held-out set, whatever the other sets say."""
    ridges = [1e1, 1e-1, 1e-4]
    rows, _ = separability(train, {"train": train, "held_out": test}, CLASSES, ridges)
    for kind in ("true", "given"):
        loss = {row.ridge: row.loss for row in rows if (row.labels, row.split) == (kind, "held_out")}
        best = min(ridges, key=lambda ridge: loss[ridge] or 0.0)
        assert {row.ridge for row in rows if row.labels == kind and row.chosen} == {best}


@pytest.mark.parametrize(
    ("without", "most"),
    [
        ({"test": ["given"]}, 1),
        ({"train": ["given"]}, 2),
        ({"train": ["true", "given"], "test": ["given"]}, 2),
        ({}, 0),
    ],
)
def test_samples_without_a_label_cost_one_copy_of_a_set(
    without: dict[str, list[str]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the training set and another at a time; where that is whole, none. Results are those of kept features."""

    def sets() -> dict[str, LabelledFeatures]:
        found = {"train": _set(150, 0), "test": _set(90, 1), "more": _set(60, 2)}
        for split, kinds in without.items():
            for kind in kinds:
                found[split].labels[kind][::7] = -1
        return found

    expected, weights = separability((kept := sets())["train"], kept, CLASSES, RIDGE)
    assert all(torch.equal(data.features, sets()[split].features) for split, data in kept.items())
    copies: list[weakref.ref[Tensor]] = []
    held: list[int] = []

    def counted(new: Tensor, old: Tensor) -> None:
        copies.extend([weakref.ref(new)] if new is not old else [])
        held.append(sum(copy() is not None for copy in copies))

    def select(data: LabelledFeatures, kind: str) -> LabelledFeatures:
        chosen = with_label(data, kind)
        counted(chosen.features, data.features)
        return chosen

    def standardise(self: Standardisation, features: Tensor, in_place: bool = False) -> Tensor:
        found = standardised(self, features, in_place)
        counted(found, features)
        return found

    standardised = Standardisation.__call__
    monkeypatch.setattr(Standardisation, "__call__", standardise)
    monkeypatch.setattr(import_module("stratoscope.probes.linear.separability"), "with_label", select)
    rows, found = separability((given := sets())["train"], given, CLASSES, RIDGE, in_place=True)
    assert rows == expected
    assert torch.equal(_start(found), _start(weights))
    assert max(held) == most


@pytest.mark.parametrize("in_place", [False, True])
def test_the_size_of_features_changes_no_result(
    train: LabelledFeatures, test: LabelledFeatures, in_place: bool
) -> None:
    """Accuracy, objective and certificate of features x 1e200, x 1e-200, and of mixtures, are those of the features."""

    def scores(factor: torch.Tensor | float) -> list[Separability]:
        sets = [replace(data, features=data.features.double() * factor) for data in (train, test)]
        return separability(sets[0], {"train": sets[0], "test": sets[1]}, 3, 1e-2, in_place=in_place)[0]

    known = scores(1.0)
    assert all(row.converged and not row.failed for row in known)
    width = train.features.shape[1]
    mixed = torch.logspace(-200, 200, width, dtype=torch.float64)
    for factor in (1e200, 1e-200, mixed):
        for one, other in zip(scores(factor), known, strict=True):
            assert (one.correct, one.converged) == (other.correct, other.converged)
            assert one.objective == pytest.approx(other.objective, abs=2e-6)
            assert one.gap is not None
            assert one.gap <= 1e-6


def test_features_that_have_no_digits_left_give_failed_rows(train: LabelledFeatures, test: LabelledFeatures) -> None:
    """They are not chance with a certificate; nor are sets beyond what the training set was standardised for."""
    tiny = replace(train, features=train.features.double() * 1e-315)
    for in_place in (False, True):
        rows, weights = separability(tiny, {"train": tiny}, 3, 1e-2, in_place=in_place)
        assert weights is None
        assert all("vary by less" in row.failed and row.accuracy is None for row in rows)
    small = replace(train, features=train.features.double() * 1e-200)
    far = replace(test, features=test.features.double() * 1e200)
    rows, _ = separability(small, {"test": far}, 3, 1e-2)
    assert all("not finite" in row.failed for row in rows)
