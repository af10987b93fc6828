"""Tests of probes/geometry/similarity.py."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from stratoscope.probes.geometry.similarity import Arrangement, linear_cka
from stratoscope.probes.reading import centring

each_estimator = pytest.mark.parametrize("unbiased", [False, True])
SHAPES = [(60, 5, 9), (200, 3, 3), (12, 40, 100), (12, 100, 4), (4, 7, 6)]


def _draw(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _pair(n: int, d1: int, d2: int) -> tuple[Tensor, Tensor]:
    """Features that share some of what they vary in, off the origin."""
    x = _draw(n, d1)
    return x + 2, x @ _draw(d1, d2, seed=1) + 2 * _draw(n, d2, seed=2) - 1


def _hsic(k: NDArray[np.float64], m: NDArray[np.float64], unbiased: bool) -> float:
    """HSIC of two kernel matrices, and HSIC_1 as Song et al. write it, in full."""
    n = len(k)
    if not unbiased:
        h = np.eye(n) - 1 / n
        return float(np.trace(k @ h @ m @ h))
    k, m, one = k - np.diag(np.diag(k)), m - np.diag(np.diag(m)), np.ones(n)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


@each_estimator
@pytest.mark.parametrize(("n", "d1", "d2"), SHAPES)
def test_similarity_is_its_formula_over_kernels(n: int, d1: int, d2: int, unbiased: bool) -> None:
    """Computed over features or over samples, it is the formula over kernel matrices, of features not centred."""
    x, y = _pair(n, d1, d2)
    k, m = (z.numpy() @ z.numpy().T for z in (x, y))
    expected = _hsic(k, m, unbiased) / np.sqrt(_hsic(k, k, unbiased) * _hsic(m, m, unbiased))
    assert linear_cka(x, y, unbiased) == pytest.approx(expected, rel=1e-9)
    assert linear_cka(y, x, unbiased) == pytest.approx(expected, rel=1e-9)


@each_estimator
@pytest.mark.parametrize(("n", "d"), [(100, 6), (10, 30)])
def test_rotation_scale_and_shift_do_not_matter(n: int, d: int, unbiased: bool) -> None:
    """Features turned, stretched and moved are alike to themselves, and as alike to others as before."""
    x, y = _pair(n, d, 5)
    rotation = torch.linalg.qr(_draw(d, d, seed=3)).Q
    turned = 1e3 * x @ rotation - 70
    assert linear_cka(x, x, unbiased) == pytest.approx(1)
    assert linear_cka(x, turned, unbiased) == pytest.approx(1)
    assert linear_cka(turned, y, unbiased) == pytest.approx(linear_cka(x, y, unbiased), rel=1e-9)


def test_linear_maps_that_are_no_rotation_matter() -> None:
    """Features stretched along one axis are alike, but not equal."""
    x = _draw(500, 4)
    assert 0.3 < linear_cka(x, x * torch.tensor([10.0, 1, 1, 1])) < 0.7


@each_estimator
def test_order_of_the_samples_matters_only_if_it_differs(unbiased: bool) -> None:
    """The same new order in both layers changes nothing; in one of them it loses the likeness."""
    x, y = _pair(300, 5, 5)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    alike = linear_cka(x, y, unbiased)
    assert linear_cka(x[order], y[order], unbiased) == pytest.approx(alike, rel=1e-9)
    assert abs(linear_cka(x[order], y, unbiased)) < alike / 3


def test_independent_features_are_unlike_if_unbiased() -> None:
    """Over 50 draws of wide independent features the unbiased estimate is 0 on average; the other is far above."""
    pairs = [(_draw(60, 40, seed), _draw(60, 50, 1000 + seed)) for seed in range(50)]
    estimates = torch.tensor([linear_cka(x, y, unbiased=True) for x, y in pairs])
    assert abs(float(estimates.mean())) < 3 * float(estimates.std()) / 50**0.5
    assert float(estimates.abs().max()) < 0.15
    assert min(linear_cka(x, y) for x, y in pairs) > 0.3


@each_estimator
@pytest.mark.parametrize(("n", "d1", "d2"), SHAPES)
def test_blocks_of_any_size_give_the_same(
    n: int, d1: int, d2: int, unbiased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many rows, or columns, are read at a time changes the similarity by rounding only."""
    x, y = _pair(n, d1, d2)
    expected = linear_cka(x, y, unbiased)
    for rows, entries in ((1, 2**22), (7, 2**22), (4096, 50)):
        monkeypatch.setattr(centring, "ROWS", rows)
        monkeypatch.setattr(centring, "ENTRIES", entries)
        assert linear_cka(x, y, unbiased) == pytest.approx(expected, rel=1e-10)


@each_estimator
def test_offset_in_float32_is_not_taken_for_likeness(unbiased: bool) -> None:
    """Float32 features far from the origin give what the same numbers give in float64 near it."""
    x, y = ((z + 1e4).float() for z in _pair(200, 5, 6))
    near = linear_cka(x.double() - 1e4, y.double() - 1e4, unbiased)
    assert linear_cka(x, y, unbiased) == pytest.approx(near, rel=1e-9)


@each_estimator
@pytest.mark.parametrize("constant", [0.0, 0.1, -123456.7])
def test_constant_features_are_refused(constant: float, unbiased: bool) -> None:
    """Features that do not vary are like nothing; the error says which they are."""
    x = _draw(30, 4).float()
    flat = torch.full((30, 3), constant)
    for name, pair in (("x", (flat, x)), ("y", (x, flat))):
        with pytest.raises(ValueError, match=f"features {name} are constant"):
            linear_cka(*pair, unbiased)


def test_features_that_only_one_sample_varies_in_are_refused_if_unbiased() -> None:
    """One sample apart from all others leaves nothing off the diagonal to compare."""
    x = torch.zeros(30, 4)
    x[7] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert 0 < linear_cka(x, _draw(30, 4)) < 1
    with pytest.raises(ValueError, match="features x vary in too few samples"):
        linear_cka(x, _draw(30, 4), unbiased=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    """NaN or infinity is an error that says where."""
    x, y = _pair(20, 3, 4)
    y[11, 2] = value
    with pytest.raises(ValueError, match="features y contain NaN or infinity"):
        linear_cka(x, y)


def test_too_few_samples_are_refused() -> None:
    """No samples at all, and less than four where the estimator needs them, are errors that say so."""
    x, y = _pair(3, 3, 4)
    assert 0 < linear_cka(x, y) <= 1
    with pytest.raises(ValueError, match="at least 4 samples, got 3"):
        linear_cka(x, y, unbiased=True)
    with pytest.raises(ValueError, match=r"features x are empty: shape \(0, 3\)"):
        linear_cka(x[:0], y[:0])


@pytest.mark.parametrize(("n", "d1", "d2"), [(4, 3, 7), (50, 5, 80), (200, 30, 10)])
def test_arrangements_give_the_unbiased_cka(n: int, d1: int, d2: int) -> None:
    """The same numbers as from the features, for layers compared with many others."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, d1, generator=generator)
    y = torch.randn(n, d2, generator=generator) + x[:, :1]
    found = Arrangement.of(x).cka(Arrangement.of(y))
    assert found == pytest.approx(linear_cka(x, y, unbiased=True), abs=1e-12)
    assert Arrangement.of(x).cka(Arrangement.of(3 * x)) == pytest.approx(1)


def test_what_cannot_be_arranged_is_refused() -> None:
    """Constant features and too few samples, as for the features themselves."""
    with pytest.raises(ValueError, match="features are constant"):
        Arrangement.of(torch.ones(10, 3))
    with pytest.raises(ValueError, match="at least 4 samples, got 3"):
        Arrangement.of(torch.randn(3, 3))
    spike = torch.zeros(5, 1)
    spike[0] = 1
    with pytest.raises(ValueError, match="too few samples"):
        Arrangement.of(spike).cka(Arrangement.of(torch.randn(5, 2)))
