"""Tests of probes/reading/standardisation.py."""

import pytest
import torch

from stratoscope.probes.linear.products import ROWS
from stratoscope.probes.reading.standardisation import Standardisation


def _features(n: int, d: int, dtype: torch.dtype) -> torch.Tensor:
    draws = torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draws * torch.logspace(-2, 2, d) + torch.linspace(-5, 5, d)).to(dtype)


@pytest.mark.parametrize("n", [2, 100, ROWS, 2 * ROWS + 17])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])
def test_training_set_gets_mean_0_and_deviation_1(n: int, dtype: torch.dtype, tolerance: float) -> None:
    """Every feature of the set it was fitted on has mean 0 and population standard deviation 1 afterwards."""
    features = _features(n, 7, dtype)
    standardised = Standardisation.fit(features)(features)
    assert standardised.dtype == dtype
    ours = standardised.double()
    torch.testing.assert_close(ours.mean(0), torch.zeros(7).double(), atol=tolerance, rtol=0)
    torch.testing.assert_close(ours.std(0, correction=0), torch.ones(7).double(), atol=tolerance, rtol=0)


def test_mean_is_measured_in_float64() -> None:
    """A large offset in float32 does not blur mean and deviation."""
    features = (_features(5000, 1, torch.float64) * 100 + 1000).float()  # some 500 +- 1
    fitted = Standardisation.fit(features)
    torch.testing.assert_close(fitted.mean, features.double().mean(0).float(), rtol=1e-7, atol=0)
    expected = 1 / features.double().std(0, correction=0)
    torch.testing.assert_close(fitted.inverse_scale, expected.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3, 1e4, -123456.7, 1e-20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_feature_becomes_zero(constant: float, dtype: torch.dtype) -> None:
    """A feature that is constant in the training set is exactly 0, there and in every other set."""
    features = _features(999, 2, dtype)
    features[:, 0] = constant
    fitted = Standardisation.fit(features)
    assert fitted(features)[:, 0].count_nonzero() == 0
    assert fitted(_features(10, 2, dtype) + 3)[:, 0].count_nonzero() == 0
    assert fitted(features)[:, 1].count_nonzero() == 999


def test_other_sets_get_the_training_statistics() -> None:
    """Another set is mapped by the training set's mean and deviation, not by its own."""
    train = torch.tensor([[0.0, 10.0], [4.0, 30.0]])
    test = torch.tensor([[2.0, 20.0], [6.0, 0.0], [2.5, 50.0]])
    expected = torch.tensor([[0.0, 0.0], [2.0, -2.0], [0.25, 3.0]])
    torch.testing.assert_close(Standardisation.fit(train)(test), expected)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1.7e307, 1e-290])
def test_features_of_any_size_are_standardised(scale: float) -> None:
    """Squares beyond float64 make no feature constant; powers of 2 change no digit, and mixtures are columns each."""
    features = _features(999, 5, torch.float64).clamp(-50, 50)  # whose tenfold is a number still
    fitted = Standardisation.fit(features)(features)
    scaled = features * (scale / 50)
    torch.testing.assert_close(Standardisation.fit(scaled)(scaled), fitted, rtol=1e-12, atol=1e-12)
    by_2 = features * 2.0**664
    assert torch.equal(Standardisation.fit(by_2)(by_2), fitted)
    mixed = features * torch.tensor([scale / 50, 1.0, 1e-200, 1e200, 1.0], dtype=torch.float64)
    torch.testing.assert_close(Standardisation.fit(mixed)(mixed), fitted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float64, 1e-313), (torch.float32, 1e-42)])
def test_features_without_digits_are_refused(dtype: torch.dtype, scale: float) -> None:
    """What varies below the normal numbers is not called constant; beside features that do, it is."""
    features = (_features(99, 2, torch.float64) * scale).to(dtype)
    with pytest.raises(ValueError, match="features vary by less than"):
        Standardisation.fit(features)
    features[:, 1] = _features(99, 2, dtype)[:, 1]
    assert (Standardisation.fit(features).inverse_scale > 0).tolist() == [False, True]
