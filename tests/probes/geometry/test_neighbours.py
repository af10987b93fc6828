"""Tests of probes/geometry/neighbours.py."""

from collections import Counter

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from stratoscope.probes.geometry import neighbours
from stratoscope.probes.geometry.neighbours import neighbour_accuracy
from stratoscope.probes.statistics.interval import wilson

CLASSES = 4


def _set(n: int, seed: int, d: int = 6, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Overlapping clusters, one per class, as a layer gives them: of unlike scales and off the origin."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    noise = torch.randn(n, d, generator=generator)
    return (noise + 1.5 * torch.eye(CLASSES, d)[labels]) * torch.linspace(0.5, 2, d) + offset, labels


def _by_hand(train: Tensor, labels: Tensor, test: Tensor, truth: Tensor, k: int, metric: str) -> int:
    """Correct decisions of scikit-learn's neighbours, with ties of votes broken in plain Python."""
    found = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(train.double().numpy())
    correct = 0
    for near, true in zip(found.kneighbors(test.double().numpy())[1].tolist(), truth.tolist(), strict=True):
        votes = [int(labels[i]) for i in near]
        counts = Counter(votes)
        correct += max(votes, key=lambda label: (counts[label], -votes.index(label))) == true
    return correct


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_scikit_learns(metric: str, k: int, dtype: torch.dtype) -> None:
    """The count is that of scikit-learn's nearest neighbours, and no trivial one."""
    train, labels = _set(400, seed=0)
    test, truth = _set(150, seed=1)
    train, test = train.to(dtype), test.to(dtype)
    correct, count = neighbour_accuracy(train, labels, test, truth, CLASSES, k, cosine=metric == "cosine")
    assert correct == _by_hand(train, labels, test, truth, k, metric)
    assert count == 150
    assert 60 < correct < 150


@pytest.mark.parametrize("k", [1, 3, 15])
def test_majority_of_two_classes_is_scikit_learns(k: int) -> None:
    """Without ties, the accuracy is that of KNeighborsClassifier, and an interval can be put on it."""
    train, labels = _set(300, seed=2)
    test, truth = _set(100, seed=3)
    theirs = KNeighborsClassifier(n_neighbors=k).fit(train.numpy(), (labels % 2).numpy())
    correct, count = neighbour_accuracy(train, labels % 2, test, truth % 2, 2, k)
    assert correct / count == theirs.score(test.numpy(), (truth % 2).numpy())
    low, high = wilson(correct, count)
    assert low < correct / count < high


def test_tie_of_votes_goes_to_the_nearest() -> None:
    """Two against two and one: the class of the nearer pair's first voter wins, not the first class."""
    train = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    test = torch.zeros(1, 1)
    for labels, winner in (([2, 1, 1, 2, 0], 2), ([0, 3, 2, 2, 3], 3), ([0, 2, 1, 1, 1], 1)):
        for label in range(CLASSES):
            correct, _ = neighbour_accuracy(train, torch.tensor(labels), test, torch.tensor([label]), CLASSES, k=5)
            assert correct == (label == winner)


@pytest.mark.parametrize("cosine", [False, True])
def test_every_sample_is_its_own_nearest(cosine: bool) -> None:
    """With one neighbour, the training set classifies itself without error."""
    train, labels = _set(200, seed=4)
    assert neighbour_accuracy(train, labels, train, labels, CLASSES, k=1, cosine=cosine) == (200, 200)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_order_of_rows_and_size_of_blocks_do_not_matter(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in another order, read in blocks of any size, give the same count."""
    train, labels = _set(90, seed=5, offset=offset)
    test, truth = _set(30, seed=6, offset=offset)
    expected = neighbour_accuracy(train, labels, test, truth, CLASSES)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    assert neighbour_accuracy(train[order], labels[order], test.flip(0), truth.flip(0), CLASSES) == expected
    for rows, entries in ((7, 2**22), (90, 2**22), (1024, 64), (1024, 1)):
        monkeypatch.setattr(neighbours, "ROWS", rows)
        monkeypatch.setattr(neighbours, "ENTRIES", entries)
        assert neighbour_accuracy(train, labels, test, truth, CLASSES) == expected


def test_common_offset_does_not_blur_distances() -> None:
    """Features in float32 far from the origin have the neighbours that float64 finds."""
    train, labels = _set(400, seed=7, offset=3e4)
    test, truth = _set(100, seed=8, offset=3e4)
    correct, _ = neighbour_accuracy(train, labels, test, truth, CLASSES)
    assert correct == _by_hand(train, labels, test, truth, 20, "euclidean")


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_the_features_does_not_matter(scale: float, cosine: bool) -> None:
    """Features whose squares are beyond float32 give the count of those of ordinary size."""
    train, labels = _set(200, seed=9)
    test, truth = _set(100, seed=10)
    expected = neighbour_accuracy(train, labels, test, truth, CLASSES, cosine=cosine)
    assert neighbour_accuracy(train * scale, labels, test * scale, truth, CLASSES, cosine=cosine) == expected


def test_angle_ignores_lengths_of_rows() -> None:
    """By the angle, a row counts the same whatever its length; by the distance it does not."""
    train, labels = _set(200, seed=11)
    test, truth = _set(100, seed=12)
    length = torch.logspace(-3, 3, 200)[:, None]
    angles = [neighbour_accuracy(rows, labels, test, truth, CLASSES, cosine=True) for rows in (train, train * length)]
    assert angles[0] == angles[1]
    assert neighbour_accuracy(train * length, labels, test, truth, CLASSES) != angles[0]


def test_zero_rows_are_nearest_to_zero_rows_by_angle() -> None:
    """Samples no unit answers to are alike, and at right angles with, so farther than, all that share a direction."""
    train = torch.tensor([[0.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
    test = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, -1.0]])
    labels = torch.tensor([0, 1, 2])
    correct, _ = neighbour_accuracy(train, labels, test, torch.tensor([0, 1, 0]), 3, k=1, cosine=True)
    assert correct == 3


def test_constant_features_are_decided_by_the_first_rows() -> None:
    """Where all training samples are equally far, the first k in order vote: here all of class 1."""
    train, labels = torch.full((60, 3), 0.1), torch.tensor([1] * 5 + [0] * 55)
    for k, winner in ((5, 1), (9, 1), (10, 1), (11, 0), (60, 0)):
        truth = torch.full((8,), winner)
        assert neighbour_accuracy(train, labels, torch.full((8, 3), 0.1), truth, 2, k) == (8, 8)


def test_missing_class_is_never_voted_for() -> None:
    """A class without training samples costs its test samples, no more."""
    train, labels = _set(200, seed=13)
    train, labels = train[labels != 2], labels[labels != 2]
    test, truth = _set(100, seed=14)
    everything, _ = neighbour_accuracy(train, labels, test, truth, CLASSES)
    others, _ = neighbour_accuracy(train, labels, test[truth != 2], truth[truth != 2], CLASSES)
    assert everything == others > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("broken", ["training", "test"])
def test_features_that_are_not_finite_are_refused(broken: str, value: float) -> None:
    """NaN or infinity in either set is an error that names the set."""
    features, labels = _set(50, seed=15)
    spoilt = features.clone()
    spoilt[30, 2] = value
    train, test = (spoilt, features) if broken == "training" else (features, spoilt)
    with pytest.raises(ValueError, match=f"{broken} features contain NaN or infinity"):
        neighbour_accuracy(train, labels, test, labels, CLASSES)


@pytest.mark.parametrize("k", [-1, 0, 51])
def test_impossible_numbers_of_neighbours_are_refused(k: int) -> None:
    """No neighbours, and more than there are training samples, are an error that names both numbers."""
    features, labels = _set(50, seed=16)
    with pytest.raises(ValueError, match=rf"k must be in \[1, 50\].*got {k}"):
        neighbour_accuracy(features, labels, features, labels, CLASSES, k)


def test_unusable_sets_are_refused() -> None:
    """Labels out of range and empty sets are errors that say which set."""
    features, labels = _set(50, seed=17)
    with pytest.raises(ValueError, match=r"training labels must be in \[0, 3\), got 0 to 3"):
        neighbour_accuracy(features, labels, features, labels, 3)
    with pytest.raises(ValueError, match=r"test labels must be in \[0, 4\), got -1 to 2"):
        neighbour_accuracy(features, labels, features, labels - 1, CLASSES)
    with pytest.raises(ValueError, match=r"test features are empty: shape \(0, 6\)"):
        neighbour_accuracy(features, labels, features[:0], labels[:0], CLASSES)
