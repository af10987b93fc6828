"""Tests of probes/statistics/bands.py."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from stratoscope.probes.statistics.bands import ENTRIES, bootstrap_band


def _values(seeds: int, points: int) -> Tensor:
    return torch.randn(seeds, points, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("seeds", [4, 5, 6])
@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_ends_are_quantiles_of_all_possible_draws(seeds: int, confidence: float) -> None:
    """With few seeds all seeds ** seeds draws can be listed: the ends are the quantiles of their means."""
    values = _values(seeds, 40)
    means = values.numpy()[np.array(list(product(range(seeds), repeat=seeds)))].mean(1)
    low, mean, high = bootstrap_band(values, confidence, resamples=50_000)
    # The share of draws below an end is the one asked for, to sampling error and ties.
    for end, share in ((low, (1 - confidence) / 2), (high, (1 + confidence) / 2)):
        assert ((means < end.numpy() - 1e-12).mean(0) <= share + 0.01).all()
        assert ((means <= end.numpy() + 1e-12).mean(0) >= share - 0.01).all()
    torch.testing.assert_close(mean, values.mean(0))


@pytest.mark.parametrize("seeds", [2, 3])
def test_two_and_three_seeds_have_their_range(seeds: int) -> None:
    """One draw in 4, or 27, is the smallest value only: at 95 % the ends are the smallest and the largest."""
    values = _values(seeds, 20)
    low, _, high = bootstrap_band(values)
    torch.testing.assert_close(low, values.amin(0))
    torch.testing.assert_close(high, values.amax(0))


def test_many_seeds_have_the_normal_interval() -> None:
    """At 400 seeds the band is the mean +- 1.96 standard errors, to some per cent."""
    values = _values(400, 30)
    low, mean, high = bootstrap_band(values)
    error = values.std(0) / 20
    torch.testing.assert_close((high - low) / 2, 1.96 * error, rtol=0.06, atol=0)
    torch.testing.assert_close((high + low) / 2, mean, rtol=0, atol=0.006)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_seed_is_its_own_band(dtype: torch.dtype) -> None:
    """A single curve is the mean and both ends, exactly."""
    values = _values(1, 10).to(dtype)
    for end in bootstrap_band(values):
        assert end.dtype == dtype
        assert torch.equal(end, values[0])


def test_draws_never_change() -> None:
    """The first draw of four seeds is 2, 1, 0, 0: the upper two bits of PCG64's words for seed 0."""
    values = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    low, _, high = bootstrap_band(values, resamples=1)
    assert low.item() == high.item() == (100 + 10 + 1 + 1) / 4


def test_same_seed_same_band() -> None:
    """The band is a function of its arguments: repeated it is the same, with another seed another."""
    values = _values(5, 7)
    first, again, other = (bootstrap_band(values, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_points_share_their_draws() -> None:
    """A point's band does not depend on the other points, also where they are handled in blocks."""
    resamples = ENTRIES // 3
    values = _values(3, 4)
    together = bootstrap_band(values, 0.3, resamples)
    alone = [bootstrap_band(values[:, point : point + 1], 0.3, resamples) for point in range(4)]
    for place in range(3):
        torch.testing.assert_close(together[place], torch.cat([one[place] for one in alone]), rtol=0, atol=1e-14)


def test_band_moves_and_stretches_with_the_values() -> None:
    """Percent instead of shares give the same band in per cent; an offset moves it."""
    values = _values(5, 6)
    low, mean, high = bootstrap_band(values, resamples=500)
    for one, other in zip((low, mean, high), bootstrap_band(100 * values + 7, resamples=500), strict=True):
        torch.testing.assert_close(other, 100 * one + 7)
    assert bool(((low < mean) & (mean < high)).all())


def test_nan_stays_at_its_point() -> None:
    """A point that one seed does not have is NaN; the others are what they were."""
    values = _values(4, 3)
    whole = bootstrap_band(values, resamples=100)
    values[2, 1] = torch.nan
    for end, before in zip(bootstrap_band(values, resamples=100), whole, strict=True):
        assert end.isnan().tolist() == [False, True, False]
        assert torch.equal(end[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_impossible_confidence_is_refused(confidence: float) -> None:
    """A confidence that is no share between 0 and 1 is refused, naming it."""
    with pytest.raises(ValueError, match=f"got {confidence}"):
        bootstrap_band(_values(3, 2), confidence)


@pytest.mark.parametrize(("seeds", "points", "resamples"), [(0, 2, 10), (2, 0, 10), (2, 2, 0)])
def test_nothing_to_draw_is_refused(seeds: int, points: int, resamples: int) -> None:
    """Without a seed, a point or a draw there is no band; the message has all three."""
    with pytest.raises(ValueError, match=rf"got shape \({seeds}, {points}\) and {resamples} draws"):
        bootstrap_band(torch.zeros(seeds, points), resamples=resamples)
