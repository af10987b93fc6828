"""Tests of probes/geometry/collapse.py."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from stratoscope.probes.geometry.collapse import neural_collapse
from stratoscope.probes.reading import centring

CLASSES = 4


def _draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _rotation(d: int, seed: int) -> Tensor:
    q: Tensor = torch.linalg.qr(_draw(d, d, seed)).Q
    return q


def _simplex(classes: int, d: int) -> Tensor:
    """The corners of a regular simplex around the origin, rotated."""
    corners = torch.eye(classes, d, dtype=torch.float64)
    corners[:, :classes] -= 1 / classes
    return corners @ _rotation(d, seed=9)


def _clusters(d: int = 8, spread: float = 0.7) -> tuple[Tensor, Tensor]:
    """Overlapping clusters of 30 samples each, off the origin, at no particular places."""
    labels = torch.arange(30 * CLASSES) % CLASSES
    return _draw(CLASSES, d, seed=1)[labels] + spread * _draw(len(labels), d, seed=2) + 3, labels


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("d", [10, 40])
def test_collapsed_network_has_distance_0(d: int, classes: int) -> None:
    """Samples at the corners of a simplex, anywhere in space, in classes of unlike size, are collapsed altogether."""
    corners = _simplex(classes, d)
    labels = torch.arange(classes).repeat_interleave(torch.arange(1, classes + 1))
    features = 5 * corners[labels] + torch.linspace(-2, 2, d)
    collapse = neural_collapse(features, labels, classes, weight=0.3 * corners, logits=features @ corners.T)
    assert astuple(collapse) == pytest.approx((0, 0, 0, 0, 0), abs=1e-12)


@pytest.mark.parametrize("d", [2, 8, 200])
def test_measurements_are_the_papers_formulas(d: int) -> None:
    """NC1 to NC4 equal the formulas written out in NumPy with full scatter matrices, also where d > n or d < C."""
    features, labels = _clusters(d)
    weight, logits = _draw(CLASSES, d, seed=3), _draw(len(labels), CLASSES, seed=4)
    x, y, w = features.numpy(), labels.numpy(), weight.numpy()
    means = np.stack([x[y == c].mean(0) for c in range(CLASSES)])
    m = means - x.mean(0)
    within, between = (x - means[y]).T @ (x - means[y]) / len(x), m.T @ m / CLASSES
    norms = np.linalg.norm(m, axis=1)
    cosines = (m @ m.T / np.outer(norms, norms))[~np.eye(CLASSES, dtype=bool)]
    nearest = NearestCentroid().fit(x, y).predict(x)
    collapse = neural_collapse(features, labels, CLASSES, weight, logits)
    assert collapse.nc1 == pytest.approx(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / CLASSES, rel=1e-8)
    assert collapse.nc2_norms == pytest.approx(norms.std() / norms.mean(), rel=1e-10)
    assert collapse.nc2_angles == pytest.approx(np.abs(cosines + 1 / (CLASSES - 1)).mean(), rel=1e-10)
    assert collapse.nc3 == pytest.approx(np.linalg.norm(w / np.linalg.norm(w) - m / np.linalg.norm(m)), rel=1e-10)
    assert collapse.nc4 == np.mean(nearest != logits.numpy().argmax(1))


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_isotropic_noise_gives_its_known_variability(spread: float) -> None:
    """Noise of variance v around a simplex of squared radius 1 - 1/C has NC1 = v (C - 1)."""
    labels = torch.arange(4000) % CLASSES
    features = _simplex(CLASSES, 6)[labels] + spread * _draw(4000, 6, seed=5)
    assert neural_collapse(features, labels, CLASSES).nc1 == pytest.approx(spread**2 * (CLASSES - 1), rel=0.1)


def test_classes_count_alike_whatever_their_size() -> None:
    """Samples given twice in one class change nothing: the mean is over classes, not over samples."""
    features, labels = _clusters()
    more = torch.cat([features, features[labels == 1]]), torch.cat([labels, labels[labels == 1]])
    expected = astuple(neural_collapse(features, labels, CLASSES))[:3]
    assert astuple(neural_collapse(*more, CLASSES))[:3] == pytest.approx(expected, rel=1e-9)


def test_rotation_shift_scale_and_order_do_not_matter() -> None:
    """Features moved, turned and stretched, with the classifier turned alike, have the same collapse."""
    features, labels = _clusters()
    weight, logits = _draw(CLASSES, 8, seed=3), _draw(len(labels), CLASSES, seed=4)
    rotation = _rotation(8, seed=6)
    moved = 1e3 * (features @ rotation).flip(0) - 50
    expected = neural_collapse(features, labels, CLASSES, weight, logits)
    found = neural_collapse(moved, labels.flip(0), CLASSES, weight @ rotation, logits.flip(0))
    assert astuple(found) == pytest.approx(astuple(expected), rel=1e-9)


def test_names_of_the_classes_do_not_matter() -> None:
    """Classes numbered in another order give the same."""
    features, labels = _clusters()
    order = torch.tensor([2, 0, 3, 1])
    weight, logits = _draw(CLASSES, 8, seed=3), _draw(len(labels), CLASSES, seed=4)
    expected = neural_collapse(features, order[labels], CLASSES, weight, logits)
    found = neural_collapse(features, labels, CLASSES, weight[order], logits[:, order])
    assert astuple(found) == pytest.approx(astuple(expected), rel=1e-9)


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many rows are read at a time changes the measurements by rounding only."""
    features, labels = _clusters()
    arguments = (features.float(), labels, CLASSES, _draw(CLASSES, 8, seed=3), _draw(len(labels), CLASSES, seed=4))
    expected = astuple(neural_collapse(*arguments))
    for rows, entries in ((1, 2**22), (7, 2**22), (4096, 100)):
        monkeypatch.setattr(centring, "ROWS", rows)
        monkeypatch.setattr(centring, "ENTRIES", entries)
        assert astuple(neural_collapse(*arguments)) == pytest.approx(expected, rel=1e-10)


def test_classifier_of_the_class_means_is_self_dual_and_its_opposite_farthest() -> None:
    """NC3 is 0 for weights along the centred means, 2 for those against them."""
    features, labels = _clusters()
    means = torch.stack([features[labels == c].mean(0) for c in range(CLASSES)])
    centred = means - means.mean(0)
    assert neural_collapse(features, labels, CLASSES, weight=7 * centred).nc3 == pytest.approx(0, abs=1e-12)
    assert neural_collapse(features, labels, CLASSES, weight=-centred).nc3 == pytest.approx(2)


def test_nearest_mean_network_never_disagrees() -> None:
    """Logits made of distances to the class means give NC4 = 0; turned around, the share decided otherwise."""
    features, labels = _clusters()
    means = torch.stack([features[labels == c].mean(0) for c in range(CLASSES)])
    logits = -torch.cdist(features, means)
    assert neural_collapse(features, labels, CLASSES, logits=logits).nc4 == 0
    logits[:12] *= -1
    assert neural_collapse(features, labels, CLASSES, logits=logits).nc4 == 12 / 120


def test_without_classifier_and_logits_there_is_no_nc3_and_nc4() -> None:
    """What cannot be measured is None; the rest is as with them."""
    features, labels = _clusters()
    alone = neural_collapse(features, labels, CLASSES)
    assert alone.nc3 is None
    assert alone.nc4 is None
    whole = neural_collapse(features, labels, CLASSES, _draw(CLASSES, 8), _draw(len(labels), CLASSES))
    assert astuple(whole)[:3] == astuple(alone)[:3]


def test_one_class_in_the_middle_has_a_defined_angle() -> None:
    """A class mean at the mean of all is at right angles with the others: 1/2, 1/2 and |-1 + 1/2| of three classes."""
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    collapse = neural_collapse(features, torch.arange(3), 3)
    assert collapse.nc2_angles == pytest.approx(0.5)
    assert collapse.nc1 == 0


@pytest.mark.parametrize("constant", [0.0, 0.1, -123456.7])
def test_constant_features_have_no_geometry(constant: float) -> None:
    """Features that do not vary are an error, not 0/0."""
    with pytest.raises(ValueError, match="all class means coincide"):
        neural_collapse(torch.full((40, 3), constant), torch.arange(40) % CLASSES, CLASSES)


def test_classes_around_one_mean_have_no_geometry() -> None:
    """Classes that differ, but not in their means, are an error."""
    half = _draw(20, 3).repeat_interleave(2, dim=0)
    labels = torch.arange(40) % 2
    with pytest.raises(ValueError, match="all class means coincide"):
        neural_collapse(torch.cat([half, -half]), torch.cat([labels, labels]), 2)


def test_missing_classes_are_refused_by_number() -> None:
    """A class without samples has no mean; the error names it."""
    features, labels = _clusters()
    with pytest.raises(ValueError, match=r"classes 1, 4 have no sample"):
        neural_collapse(features[labels != 1], labels[labels != 1], CLASSES + 1)


@pytest.mark.parametrize("name", ["features", "weight", "logits"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    """NaN or infinity is an error that names where."""
    features, labels = _clusters()
    given = {"features": features, "weight": _draw(CLASSES, 8), "logits": _draw(len(labels), CLASSES)}
    given[name][2, 1] = value
    with pytest.raises(ValueError, match=f"{name} contain NaN or infinity"):
        neural_collapse(given["features"], labels, CLASSES, given["weight"], given["logits"])


def test_impossible_arguments_are_refused() -> None:
    """Labels out of range, one class, no samples, and a classifier of nothing or of other classes are errors."""
    features, labels = _clusters()
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), got 0 to 3"):
        neural_collapse(features, labels, 3)
    with pytest.raises(ValueError, match="at least 2 classes, got 1"):
        neural_collapse(features, 0 * labels, 1)
    with pytest.raises(ValueError, match=r"features are empty: shape \(0, 8\)"):
        neural_collapse(features[:0], labels[:0], CLASSES)
    with pytest.raises(ValueError, match="weight is all 0"):
        neural_collapse(features, labels, CLASSES, weight=torch.zeros(CLASSES, 8))
    with pytest.raises(ValueError, match=r"weight must have shape \(4, 8\), got \(5, 8\)"):
        neural_collapse(features, labels, CLASSES, weight=torch.ones(5, 8))
    with pytest.raises(ValueError, match=r"logits must have shape \(120, 4\), got \(120, 5\)"):
        neural_collapse(features, labels, CLASSES, logits=torch.ones(120, 5))
