"""Tests of probes/geometry/rank.py."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from stratoscope.probes.geometry.rank import effective_rank, participation_ratio, spectrum
from stratoscope.probes.reading import centring


def _draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _correlated(n: int, d: int) -> Tensor:
    return _draw(n, d) * torch.logspace(0, -2, d) @ _draw(d, d, seed=1) + torch.linspace(-3, 3, d)


@pytest.mark.parametrize(("n", "d"), [(200, 7), (50, 50), (20, 300), (2, 5), (5, 1)])
def test_variances_are_numpys(n: int, d: int) -> None:
    """The spectrum is that of NumPy's singular values of centred features, with more samples or more features."""
    features = _correlated(n, d)
    singular = np.linalg.svd(features.numpy() - features.numpy().mean(0), compute_uv=False)
    variances = spectrum(features)
    assert variances.shape == (min(n, d),)
    np.testing.assert_allclose(variances.numpy(), singular**2 / n, rtol=1e-9, atol=1e-12 * singular[0] ** 2)


@pytest.mark.parametrize(("n", "d"), [(200, 7), (20, 300)])
def test_ranks_are_their_formulas(n: int, d: int) -> None:
    """Effective rank is the exponential of SciPy's entropy of NumPy's singular values; participation their ratio."""
    features = _correlated(n, d).float()
    x = features.double().numpy()
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)[: min(n - 1, d)]
    variances = spectrum(features)
    assert effective_rank(variances) == pytest.approx(np.exp(entropy(singular)), rel=1e-6)
    assert participation_ratio(variances) == pytest.approx((singular**2).sum() ** 2 / (singular**4).sum(), rel=1e-9)


def test_equal_variances_have_full_rank() -> None:
    """Features along d axes with one variance have rank d exactly; isotropic Gaussians nearly."""
    axes = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(spectrum(axes)) == pytest.approx(6)
    assert participation_ratio(spectrum(axes)) == pytest.approx(6)
    variances = spectrum(_draw(20_000, 10).float())
    assert 9.99 < effective_rank(variances) <= 10
    assert 9.95 < participation_ratio(variances) <= 10


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize(("n", "d"), [(100, 40), (40, 100)])
def test_rank_is_at_most_the_number_of_directions(n: int, d: int, rank: int) -> None:
    """Features within a few directions have no more nonzero variances, and no higher rank."""
    variances = spectrum(_draw(n, rank) @ _draw(rank, d, seed=1) + 5)
    assert int(variances.count_nonzero()) == rank
    assert 1 - 1e-9 <= participation_ratio(variances) <= effective_rank(variances) <= rank + 1e-9


def test_weak_directions_count_less_in_the_participation_ratio() -> None:
    """Standard deviations 3 and 1: the known answers for p = (3/4, 1/4) and for variances 9 and 1."""
    variances = torch.tensor([9.0, 1.0])
    assert effective_rank(variances) == pytest.approx(4 / 27**0.25)
    assert participation_ratio(variances) == pytest.approx(100 / 82)


@pytest.mark.parametrize(("n", "d"), [(60, 9), (9, 60)])
def test_rotation_shift_scale_and_order_do_not_matter(n: int, d: int) -> None:
    """Rotated, moved and stretched features, their rows in another order, have the same ranks."""
    features = _correlated(n, d)
    rotation = torch.linalg.qr(_draw(d, d, seed=2)).Q
    other = 1e3 * features.flip(0) @ rotation + 7
    torch.testing.assert_close(spectrum(other), 1e6 * spectrum(features), rtol=1e-9, atol=1e-9)
    assert effective_rank(spectrum(other)) == pytest.approx(effective_rank(spectrum(features)), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 9), (9, 60)])
def test_blocks_of_any_size_give_the_same(n: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many rows, or columns, are read at a time changes the variances by rounding only."""
    features = _correlated(n, d)
    expected = spectrum(features)
    for rows, entries in ((1, 2**22), (7, 2**22), (4096, 100), (4096, 1)):
        monkeypatch.setattr(centring, "ROWS", rows)
        monkeypatch.setattr(centring, "ENTRIES", entries)
        torch.testing.assert_close(spectrum(features), expected, rtol=1e-12, atol=1e-14)


def test_offset_in_float32_does_not_add_directions() -> None:
    """The spectrum of float32 features far from the origin is that of the same numbers in float64, and sums to them."""
    features = (_draw(500, 5) * torch.logspace(0, -2, 5) + 1e3).float()
    variances = spectrum(features)
    torch.testing.assert_close(variances, spectrum(features.double()), rtol=1e-9, atol=0)
    torch.testing.assert_close(variances.sum(), features.double().var(0, correction=0).sum(), rtol=1e-9, atol=0)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (4, 30), (1, 3)])
@pytest.mark.parametrize("constant", [0.0, 0.1, -123456.7])
def test_constant_features_have_rank_0(constant: float, n: int, d: int) -> None:
    """Features that do not vary, as of one sample, have no variance and rank 0."""
    variances = spectrum(torch.full((n, d), constant))
    assert variances.tolist() == [0.0] * min(n, d)
    assert effective_rank(variances) == 0
    assert participation_ratio(variances) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    """NaN or infinity is an error, never a number."""
    features = _draw(20, 3)
    features[13, 1] = value
    with pytest.raises(ValueError, match="features contain NaN or infinity"):
        spectrum(features)


def test_no_features_are_refused() -> None:
    """No samples, and no features, are an error that gives the shape."""
    for n, d in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=rf"features are empty: shape \({n}, {d}\)"):
            spectrum(torch.zeros(n, d))


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_impossible_variances_are_refused(value: float) -> None:
    """What is no spectrum has no rank."""
    for rank in (effective_rank, participation_ratio):
        with pytest.raises(ValueError, match="finite and not negative"):
            rank(torch.tensor([1.0, value]))
