"""Tests of datamodules/corruptions/subset.py; what all corruptions must keep to is in test_corruption.py."""

from itertools import pairwise

import pytest
import torch
from scipy import stats
from torch import Tensor

from stratoscope.datamodules import Corruption, GaussianPixels, RandomPixels
from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.corruptions.label_noise import PartialLabels, RandomLabels
from stratoscope.datamodules.corruptions.subset import RandomSubset

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
each_kind = pytest.mark.parametrize("balanced", [False, True])


def numbered(train: int = 200, test: int = 20, classes: int = 10) -> Sets:
    """Images of 3x2x2 pixels that are all different, of classes in turn."""

    def part(n: int, shift: int) -> Batch:
        image = (torch.arange(n * 12) * 37 + shift).remainder(256).to(torch.uint8).view(n, 3, 2, 2)
        return labelled(image, torch.arange(n) % classes)

    return {"train": part(train, 0), "test": part(test, 5)}


def chosen(n: int, balanced: bool = False, seed: int = 0, data: Sets | None = None) -> Tensor:
    """The samples of a subset."""
    return RandomSubset(n, balanced, seed)(data or numbered(), 10)["train"].index


def equal(one: Batch, other: Batch) -> bool:
    """Whether two sets are the same in every bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@each_kind
@pytest.mark.parametrize("n", [1, 10, 37, 199, 200])
def test_samples_keep_their_order_and_all_they_have(n: int, balanced: bool) -> None:
    """As many samples as asked for come in the original order, with images, labels and positions of their own."""
    data = numbered()
    sets = RandomSubset(n, balanced)(data, 10)
    index = sets["train"].index
    assert len(index) == n
    assert (index.diff() > 0).all()
    assert equal(sets["train"], Batch(*(part[index] for part in data["train"])))


@each_kind
def test_the_test_sets_stay(balanced: bool) -> None:
    """No test set is touched."""
    data = {**numbered(), "other": numbered()["test"]}
    sets = RandomSubset(10, balanced)(data, 10)
    assert list(sets) == ["train", "test", "other"]
    for name in ("test", "other"):
        assert equal(sets[name], data[name])


@each_kind
def test_all_samples_are_the_whole_set(balanced: bool) -> None:
    """A subset of the full size is the set itself."""
    assert torch.equal(chosen(200, balanced), torch.arange(200))


@each_kind
def test_a_smaller_part_is_inside_a_larger_one(balanced: bool) -> None:
    """With one seed the parts are nested, whatever their sizes."""
    for fewer, more in pairwise([1, 5, 10, 11, 60, 137, 200]):
        assert set(chosen(fewer, balanced, seed=3).tolist()) < set(chosen(more, balanced, seed=3).tolist())


@each_kind
def test_every_sample_is_equally_likely(balanced: bool) -> None:
    """Over 500 seeds each of 40 samples is chosen equally often (chi-square against a hypergeometric variance)."""
    data, seeds, n = numbered(40), 500, 10
    counts = sum(torch.bincount(chosen(n, balanced, seed, data), minlength=40) for seed in range(seeds))
    assert isinstance(counts, Tensor)
    groups, degrees = (4, 30) if balanced else (40, 39)  # a balanced part draws one of 4 samples of each class
    share = 1 / groups if balanced else n / groups
    squares = ((counts - seeds * n / 40).double() ** 2 / (seeds * share * (1 - share))).sum().item()
    assert stats.chi2.sf(squares * (groups - 1) / groups, degrees) > FALSE_ALARM


@pytest.mark.parametrize("n", [1, 9, 10, 55, 100, 101])
def test_a_balanced_part_has_equally_many_of_every_class(n: int) -> None:
    """The classes' numbers are n // 10, or one more where n does not divide, also where classes are uneven."""
    label = torch.cat([torch.arange(10).repeat_interleave(11), torch.zeros(500).long()])
    data = {"train": labelled(torch.zeros(len(label), 1, 1, 1, dtype=torch.uint8), label)}
    counts = torch.bincount(label[chosen(n, balanced=True, data=data)], minlength=10)
    assert counts.sum() == n
    assert counts.min() == n // 10
    assert counts.max() == -(-n // 10)


def test_a_part_is_balanced_after_the_true_labels() -> None:
    """Corrupted labels do not matter."""
    noisy = RandomLabels()(numbered(), 10)
    assert torch.equal(chosen(50, balanced=True, data=noisy), chosen(50, balanced=True))


def test_an_unbalanced_part_is_random_in_its_classes() -> None:
    """Without `balanced` the classes' numbers differ, as drawn."""
    counts = torch.bincount(chosen(100) % 10, minlength=10)
    assert counts.min() < 10 < counts.max()


def test_another_seed_chooses_others() -> None:
    """Seeds 0, 1 and 2^40 choose different parts."""
    parts = {tuple(chosen(50, seed=seed).tolist()) for seed in (0, 1, 2**40)}
    assert len(parts) == 3


@pytest.mark.parametrize("n", [0, -3])
def test_no_samples_are_refused(n: int) -> None:
    """The message has the number."""
    with pytest.raises(ValueError, match=f"n of 1 or more samples, got {n}"):
        RandomSubset(n)


def test_more_samples_than_there_are_are_refused() -> None:
    """The message has both numbers."""
    with pytest.raises(ValueError, match="a subset of 201 samples cannot be taken from 200"):
        chosen(201)


def test_more_samples_than_a_class_has_are_refused() -> None:
    """A balanced part needs enough of the rarest class; the message says how many."""
    data = {"train": Batch(*(part[:195] for part in numbered()["train"]))}  # 19 samples of the last five classes
    assert len(chosen(190, balanced=True, data=data)) == 190
    with pytest.raises(ValueError, match="a balanced subset of 196 needs 20 samples of each of 10 classes"):
        chosen(196, balanced=True, data=data)


@pytest.mark.parametrize("corruption", [PartialLabels(0.5), RandomPixels(), GaussianPixels()])
def test_a_corruption_before_it_does_what_it_does_without(corruption: Corruption) -> None:
    """The samples of the part are those of the whole corrupted set."""
    whole = corruption(numbered(), 10)
    part = RandomSubset(50)(whole, 10)["train"]
    assert equal(part, Batch(*(entry[chosen(50)] for entry in whole["train"])))


@pytest.mark.parametrize("corruption", [PartialLabels(0.5), RandomPixels(), GaussianPixels()])
def test_a_corruption_after_it_sees_the_part_only(corruption: Corruption) -> None:
    """It does what it does to a set that consists of the part."""
    part = RandomSubset(50)(numbered(), 10)
    alone = {**part, "train": part["train"]._replace(index=torch.arange(50))}
    after, expected = corruption(part, 10)["train"], corruption(alone, 10)["train"]
    assert equal(after, expected._replace(index=part["train"].index))


def test_a_part_of_a_part() -> None:
    """Two subsets, one after the other, leave samples of the first with their original positions."""
    part = RandomSubset(50, seed=1)(numbered(), 10)
    smaller = RandomSubset(20, seed=2)(part, 10)["train"]
    assert set(smaller.index.tolist()) < set(part["train"].index.tolist())
    assert torch.equal(smaller.image, numbered()["train"].image[smaller.index])
