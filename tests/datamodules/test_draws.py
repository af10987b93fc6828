"""Tests of datamodules/draws.py."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from stratoscope.datamodules.draws import integers, permutations, raw_bits, single_uniform, uniform

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
EXTREMES: NDArray[np.uint64] = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)


def test_raw_words_never_change() -> None:
    """PCG64's words for a seed and a purpose are those written down here."""
    assert raw_bits(0, "labels", 3).tolist() == [11308800550927209393, 12161579053975297836, 2077980848652282816]
    assert raw_bits(12345, "order of epoch 7", 3).tolist() == [
        11534509808252051919,
        3207335263940047600,
        2152445191241543909,
    ]
    assert raw_bits(2**40, "labels", 1).tolist() == [8842135996016787529]


def test_a_longer_stream_begins_with_the_shorter_one() -> None:
    """The number of words asked for does not change them."""
    assert np.array_equal(raw_bits(3, "labels", 100)[:10], raw_bits(3, "labels", 10))


def test_streams_of_different_purposes_and_seeds_differ() -> None:
    """No two of all the streams of a long run begin alike."""
    corruptions = ["labels", "confused labels", "shuffled pixels", "subset"]
    corruptions += [f"{kind} pixels {split}" for kind in ("random", "gaussian") for split in ("train", "test")]
    purposes = [*corruptions, *(f"order of epoch {epoch}" for epoch in range(1000))]
    purposes += [f"augmentation {place} of epoch {epoch}" for place in range(4) for epoch in range(1000)]
    words = [int(raw_bits(0, purpose, 1)[0]) for purpose in purposes]
    words += [int(raw_bits(seed, "labels", 1)[0]) for seed in range(1, 1000)]
    assert len(set(words)) == len(words)


def test_streams_of_different_purposes_are_uncorrelated() -> None:
    """Streams of one seed and two purposes, and of one purpose and two seeds, have no correlation (n = 20,000)."""
    one = uniform(raw_bits(0, "labels", 20_000))
    for other in (raw_bits(0, "shuffled pixels", 20_000), raw_bits(1, "labels", 20_000)):
        correlation: Any = stats.pearsonr(one, uniform(other))
        assert correlation.pvalue > FALSE_ALARM


def test_uniform_known_answers() -> None:
    """The smallest word gives 0, the middle one a half, the largest the float before 1."""
    assert uniform(EXTREMES).tolist() == [0.0, 0.5, 1 - 2.0**-53]


def test_uniform_numbers_are_uniform() -> None:
    """50,000 numbers lie in [0, 1) and pass the Kolmogorov-Smirnov test."""
    numbers = uniform(raw_bits(0, "test", 50_000))
    assert 0 <= numbers.min() < numbers.max() < 1
    assert stats.kstest(numbers, "uniform").pvalue > FALSE_ALARM


def test_single_uniform_known_answers() -> None:
    """The smallest word gives 0, the middle one a half, the largest the float of single precision before 1."""
    numbers = single_uniform(EXTREMES)
    assert numbers.dtype == np.float32
    assert numbers.tolist() == [0.0, 0.5, 1 - 2.0**-24]


def test_single_uniform_numbers_are_uniform() -> None:
    """They are the double ones cut to 24 bits, so never 1, and pass the Kolmogorov-Smirnov test (n = 50,000)."""
    words = raw_bits(0, "test", 50_000)
    numbers = single_uniform(words)
    assert np.array_equal(numbers, np.floor(uniform(words) * 2**24) / 2**24)
    assert stats.kstest(numbers, "uniform").pvalue > FALSE_ALARM


@pytest.mark.parametrize("below", [1, 2, 7, 10, 1000])
def test_integers_known_answers(below: int) -> None:
    """The smallest word gives 0, the middle one below // 2, the largest below - 1."""
    assert integers(EXTREMES, below).tolist() == [0, below // 2, below - 1]


@pytest.mark.parametrize("below", [2, 7, 10])
def test_integers_are_uniform(below: int) -> None:
    """50,000 integers lie in [0, below) and pass the chi-square test."""
    counts = np.bincount(integers(raw_bits(0, "test", 50_000), below), minlength=below)
    assert len(counts) == below
    assert stats.chisquare(counts).pvalue > FALSE_ALARM


def test_permutations_known_answer() -> None:
    """The permutation is the order of the words along the last axis."""
    words: NDArray[np.uint64] = np.array([[30, 10, 20, 10], [2**64 - 1, 2**63, 0, 1]], dtype=np.uint64)
    assert permutations(words).tolist() == [[1, 3, 2, 0], [2, 3, 1, 0]]


def test_equal_words_keep_their_places() -> None:
    """Of 1,000 words of which every other is 0, the zeros come first, in their order, then the ones in theirs."""
    words: NDArray[np.uint64] = np.tile(np.array([0, 1], dtype=np.uint64), 500)
    assert permutations(words).tolist() == [*range(0, 1000, 2), *range(1, 1000, 2)]


def test_permutations_are_permutations() -> None:
    """Every row holds every position once."""
    orders = permutations(raw_bits(0, "test", 50 * 64).reshape(50, 64))
    assert np.array_equal(np.sort(orders), np.tile(np.arange(64), (50, 1)))


def test_permutations_are_uniform() -> None:
    """Of 24,000 permutations of four things all 24 are equally frequent (chi-square)."""
    orders = permutations(raw_bits(0, "test", 4 * 24_000).reshape(-1, 4))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > FALSE_ALARM
