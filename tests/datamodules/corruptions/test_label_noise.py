"""Tests of datamodules/corruptions/label_noise.py; what all corruptions must keep to is in test_corruption.py."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.cifar10 import NAMES
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.corruptions.label_noise import (
    AsymmetricLabels,
    ConfusedLabels,
    PartialLabels,
    RandomLabels,
)

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
LABELS = 20_000
CLASS_SHARES = [0.0, 1.0, 0.5, 0.5, 0.25, 0.75, 0.1, 0.2, 0.9, 0.4]
EYE: list[list[float]] = np.eye(10).tolist()


def many_labels(classes: int = 10) -> Sets:
    """20,000 training and 100 test samples, equally many of every class, with images of one pixel."""
    sizes = {"train": LABELS, "test": 100}
    return {
        name: labelled(torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.arange(n) * 7 % classes)
        for name, n in sizes.items()
    }


def noisy(corruption: Corruption, classes: int = 10) -> Batch:
    """The training set with corrupted labels."""
    return corruption(many_labels(classes), classes)["train"]


def confusions(data: Batch, classes: int = 10) -> Tensor:
    """How often each true label (rows) was given each label (columns)."""
    counts = torch.bincount(data.true_label * classes + data.given_label, minlength=classes**2)
    assert len(counts) == classes**2
    return counts.view(classes, classes)


def uneven_matrix(classes: int = 10) -> list[list[float]]:
    """A matrix with another distribution in every row, zeros at its beginning, middle and end among them."""
    row = np.arange(classes)
    weights = (row[:, None] * 3 + row * 5) % 7
    matrix: list[list[float]] = (weights / weights.sum(1, keepdims=True)).tolist()
    return matrix


def assert_rows_fit(counts: Tensor, matrix: list[list[float]]) -> None:
    """Check each row of counts against its probabilities (chi-square), and that what is impossible never happened."""
    for row, shares in zip(counts.numpy(), np.array(matrix), strict=True):
        assert (row[shares == 0] == 0).all()
        possible = shares > 0
        if possible.sum() > 1:
            expected = row.sum() * shares[possible] / shares.sum()
            assert stats.chisquare(row[possible], expected).pvalue > FALSE_ALARM


def test_p_0_leaves_all_labels() -> None:
    """With p = 0 no label is redrawn."""
    train = noisy(PartialLabels(0.0))
    assert torch.equal(train.given_label, train.true_label)


def test_p_1_is_random_labels() -> None:
    """With p = 1 and the same seed, the labels are those of `RandomLabels`."""
    assert torch.equal(noisy(PartialLabels(1.0, seed=5)).given_label, noisy(RandomLabels(seed=5)).given_label)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
def test_the_share_of_changed_labels(p: float) -> None:
    """Of 20,000 labels 0.9 p are changed, as a redraw may hit the old class (exact binomial test)."""
    train = noisy(PartialLabels(p))
    changed = int((train.given_label != train.true_label).sum())
    assert stats.binomtest(changed, LABELS, 0.9 * p).pvalue > FALSE_ALARM


@pytest.mark.parametrize("classes", [2, 10])
def test_new_labels_are_uniform_and_independent_of_the_old(classes: int) -> None:
    """Random labels hit every class equally often, whatever the old class (chi-square, n = 20,000)."""
    table = confusions(noisy(RandomLabels(), classes), classes)
    assert stats.chisquare(table.sum(0).numpy()).pvalue > FALSE_ALARM
    independence: Any = stats.chi2_contingency(table.numpy())
    assert independence.pvalue > FALSE_ALARM


def test_whether_a_label_is_redrawn_is_independent_of_it() -> None:
    """At p = 0.5 the old classes are equally often changed, and the new ones equally often hit (chi-square)."""
    train = noisy(PartialLabels(0.5))
    changed = train.given_label != train.true_label
    for label in (train.true_label, train.given_label):
        assert stats.chisquare(torch.bincount(label[changed], minlength=10).numpy()).pvalue > FALSE_ALARM


def test_corruptions_are_nested_in_p() -> None:
    """What is redrawn at a smaller p is redrawn at a larger one, to the same label."""
    shares = [noisy(PartialLabels(p, seed=2)) for p in (0.0, 0.2, 0.5, 0.8, 1.0)]
    for fewer, more in pairwise(shares):
        changed = fewer.given_label != fewer.true_label
        assert torch.equal(fewer.given_label[changed], more.given_label[changed])
        assert (more.given_label != more.true_label).sum() > changed.sum()


def test_every_class_has_its_own_p() -> None:
    """Of each class's 2,000 labels a share 0.9 p of its own p is changed, uniformly (exact binomial, chi-square)."""
    counts = confusions(noisy(PartialLabels(CLASS_SHARES)))
    for label, p in enumerate(CLASS_SHARES):
        changed = torch.cat([counts[label, :label], counts[label, label + 1 :]])
        assert stats.binomtest(int(changed.sum()), LABELS // 10, 0.9 * p).pvalue > FALSE_ALARM
        if p:
            assert stats.chisquare(changed.numpy()).pvalue > FALSE_ALARM


def test_one_p_for_each_class_redraws_as_one_for_all() -> None:
    """Ten equal probabilities are one; a class's samples do not depend on the other classes' p."""
    together, by_class = noisy(PartialLabels(0.3, seed=4)), noisy(PartialLabels([0.3] * 10, seed=4))
    assert torch.equal(together.given_label, by_class.given_label)
    one = noisy(PartialLabels([0.3 * (label == 6) for label in range(10)], seed=4))
    of_class = one.true_label == 6
    assert torch.equal(one.given_label[of_class], together.given_label[of_class])
    assert torch.equal(one.given_label[~of_class], one.true_label[~of_class])


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), float("inf")])
def test_p_out_of_range_is_refused(p: float) -> None:
    """The message has the probability, alone or among those of the classes."""
    for of_all in (p, [0.5] * 9 + [p]):
        with pytest.raises(ValueError, match=rf"p must be in \[0, 1\], got {p}"):
            PartialLabels(of_all)


@pytest.mark.parametrize("entries", [0, 9, 11])
def test_as_many_p_as_classes_are_needed(entries: int) -> None:
    """The message has both numbers."""
    with pytest.raises(ValueError, match=f"p must have one entry for each of 10 classes, got {entries}"):
        noisy(PartialLabels([0.5] * entries))


@pytest.mark.parametrize("classes", [2, 10])
def test_labels_are_confused_after_the_matrix(classes: int) -> None:
    """Each true class's labels follow its row, and what has probability 0 never happens (chi-square, n = 20,000)."""
    matrix = uneven_matrix(classes)
    assert any(0 in row for row in matrix)
    assert_rows_fit(confusions(noisy(ConfusedLabels(matrix), classes), classes), matrix)


def test_the_identity_confuses_nothing() -> None:
    """With ones on the diagonal every label stays; with ones beside it every label is the next."""
    train = noisy(ConfusedLabels(EYE))
    assert torch.equal(train.given_label, train.true_label)
    train = noisy(ConfusedLabels(EYE[1:] + EYE[:1]))
    assert torch.equal(train.given_label, (train.true_label + 1) % 10)


def test_a_matrix_of_equal_rows_is_independent_of_the_label() -> None:
    """Ten rows of tenths redraw every label uniformly (chi-square)."""
    independence: Any = stats.chi2_contingency(confusions(noisy(ConfusedLabels([[0.1] * 10] * 10))).numpy())
    assert independence.pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([0.5, 0.6, 0.0], "that sum to 1; row 1 does not"),
        ([0.5, 0.4, 0.0], "that sum to 1; row 1 does not"),
        ([1.5, -0.5, 0.0], "that sum to 1; row 1 does not"),
        ([float("nan"), 0.5, 0.5], "that sum to 1; row 1 does not"),
        ([0.5, 0.5], "must be square; row 1 of 3 has 2 entries"),
        ([0.25, 0.25, 0.25, 0.25], "must be square; row 1 of 3 has 4 entries"),
        ([], "must be square; row 1 of 3 has 0 entries"),
    ],
)
def test_a_matrix_that_is_none_is_refused(row: list[float], reason: str) -> None:
    """The message has the row."""
    with pytest.raises(ValueError, match=f"confusion matrix.*{reason}"):
        ConfusedLabels([[1.0, 0.0, 0.0], row, [0.0, 0.0, 1.0]])


def test_a_matrix_for_other_classes_is_refused() -> None:
    """The message has both numbers."""
    with pytest.raises(ValueError, match="confusion matrix must have 10 rows, one per class, got 2"):
        noisy(ConfusedLabels([[0.5, 0.5], [0.5, 0.5]]))


def test_likely_mistakes_are_those_of_patrini() -> None:
    """With p = 1 trucks become automobiles, birds airplanes, deer horses, cats dogs, dogs cats, and the others stay."""
    train = noisy(AsymmetricLabels(1.0))
    pairs = set(zip(train.true_label.tolist(), train.given_label.tolist(), strict=True))
    named = {NAMES[true]: NAMES[given] for true, given in pairs if true != given}
    assert named == {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}
    assert len(pairs) == 10


@pytest.mark.parametrize("p", [0.0, 0.2, 0.6])
def test_the_share_of_asymmetric_flips(p: float) -> None:
    """Each of the five classes flips with probability p, and nothing else happens (chi-square, n = 20,000)."""
    matrix = np.eye(10)
    for label, like in ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)):
        matrix[label, label], matrix[label, like] = 1 - p, p
    assert_rows_fit(confusions(noisy(AsymmetricLabels(p))), matrix.tolist())


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_a_share_of_flips_out_of_range_is_refused(p: float) -> None:
    """The message has the probability."""
    with pytest.raises(ValueError, match=rf"label noise p must be in \[0, 1\], got {p}"):
        AsymmetricLabels(p)


def test_asymmetric_noise_is_for_ten_classes() -> None:
    """Other numbers of classes are refused."""
    with pytest.raises(ValueError, match="must have 2 rows, one per class, got 10"):
        noisy(AsymmetricLabels(0.5), classes=2)


def test_one_corruption_after_another_sees_its_labels() -> None:
    """The second acts on the given labels: two confusions follow the product of their matrices (chi-square)."""
    first, second = np.array(uneven_matrix()), np.roll(np.array(uneven_matrix()), 1, axis=0)
    sets = ConfusedLabels(first.tolist(), seed=0)(many_labels(), 10)
    assert_rows_fit(confusions(sets["train"]), first.tolist())
    once = sets["train"].given_label
    sets = ConfusedLabels(second.tolist(), seed=1)(sets, 10)
    assert_rows_fit(confusions(sets["train"]), (first @ second).tolist())
    assert_rows_fit(confusions(sets["train"]._replace(true_label=once)), second.tolist())


def test_the_p_of_a_class_is_that_of_the_label_so_far() -> None:
    """After a confusion that makes every label the next one, class 3's p counts for samples of class 2."""
    sets = ConfusedLabels(EYE[1:] + EYE[:1])(many_labels(), 10)
    train = PartialLabels([1.0 * (label == 3) for label in range(10)])(sets, 10)["train"]
    redrawn = train.given_label != (train.true_label + 1) % 10
    assert set(train.true_label[redrawn].tolist()) == {2}
    assert stats.binomtest(int(redrawn.sum()), LABELS // 10, 0.9).pvalue > FALSE_ALARM
