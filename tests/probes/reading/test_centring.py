"""Tests of probes/reading/centring.py."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stratoscope.probes.geometry.collapse import neural_collapse
from stratoscope.probes.geometry.neighbours import neighbour_accuracy
from stratoscope.probes.geometry.rank import spectrum
from stratoscope.probes.geometry.similarity import linear_cka
from stratoscope.probes.linear.logistic import fit_logistic
from stratoscope.probes.linear.ridge_regression import fit_ridge
from stratoscope.probes.reading import centring
from stratoscope.probes.reading.centring import Centred


def _features(n: int, d: int) -> Tensor:
    draws = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draws + torch.linspace(-100, 100, d)).float()


@pytest.mark.parametrize(("rows", "entries"), [(4096, 2**22), (7, 2**22), (4096, 40), (4096, 1)])
@pytest.mark.parametrize(("n", "d"), [(50, 6), (6, 50), (1, 1)])
def test_blocks_hold_all_rows_less_the_mean(
    n: int, d: int, rows: int, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of any size, put together, are the features less their float64 mean; so are the inner products."""
    monkeypatch.setattr(centring, "ROWS", rows)
    monkeypatch.setattr(centring, "ENTRIES", entries)
    x = _features(n, d)
    expected = x.double() - x.double().mean(0)
    centred = Centred.of(x)
    for size in (None, 3):
        torch.testing.assert_close(torch.cat(list(centred.rows(size))), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(centred.gram(), expected @ expected.T, rtol=1e-10, atol=1e-10)
    assert max(len(block) for block in centred.rows()) <= max(1, min(rows, entries // d))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, -123456.7, 1e-20])
def test_constant_features_are_told_from_those_that_vary(constant: float, dtype: torch.dtype) -> None:
    """Features without any variation are constant; with one entry changed they are not, beside whatever others."""
    x = torch.full((30, 4), constant, dtype=dtype)
    assert Centred.of(x).constant()
    x[3, 2] += abs(constant) / 100 + 1e-10
    assert not Centred.of(x).constant()
    x[:, 0] = 1e20
    assert not Centred.of(x).constant()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_or_not_there_is_refused_by_name(value: float) -> None:
    """NaN, infinity and emptiness are errors that use the name given."""
    x = _features(20, 3)
    x[17, 1] = value
    with pytest.raises(ValueError, match="activations contain NaN or infinity"):
        Centred.of(x, "activations")
    with pytest.raises(ValueError, match=r"features are empty: shape \(0, 3\)"):
        Centred.of(x[:0])


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("measure", ["spectrum", "cka", "collapse", "neighbours", "ridge", "logistic"])
def test_what_squares_features_refuses_those_whose_squares_are_lost(measure: str, scale: float) -> None:
    """Features that are not standardised, too large or too small: an error, never a number that looks sound."""
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(12) % 3
    known: dict[str, Callable[[Tensor], object]] = {
        "spectrum": spectrum,
        "cka": lambda features: linear_cka(x, features),
        "collapse": lambda features: neural_collapse(features, labels, 3),
        "neighbours": lambda features: neighbour_accuracy(features, labels, features, labels, 3, k=2),
        "ridge": lambda features: fit_ridge(features, labels[None], 3, [1e-3]),
        "logistic": lambda features: fit_logistic(features, labels[None], 3, 1e-3),
    }
    known[measure](x)
    with pytest.raises(ValueError, match=r"must be between 1e-70 and 1e\+70 in size"):
        known[measure](x * scale)
