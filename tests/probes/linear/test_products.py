"""Tests of probes/linear/products.py."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from stratoscope.probes.linear.products import ROWS, moments, times

SIZES = [1, 7, ROWS - 1, ROWS, 2 * ROWS + 3]


def drawn(*shape: int) -> Tensor:
    """Random numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("d", "m"), [(1, 1), (5, 10), (64, 20)])
def test_products_are_those_of_float64(n: int, dtype: torch.dtype, d: int, m: int) -> None:
    """Both products agree with float64 to the precision they are computed in, for any number of rows."""
    features, weight, rows = drawn(n, d).to(dtype), drawn(m, d), drawn(m, n)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[kind]
    exact = weight.to(kind).double() @ features.double().T
    assert_close(times(features, weight.to(kind)).double(), exact, rtol=0, atol=tolerance * float(exact.abs().max()))
    exact = rows.to(kind).double() @ features.double()
    scale = float((rows.abs() @ features.double().abs()).max())
    assert_close(moments(rows.to(kind), features).double(), exact, rtol=0, atol=tolerance * scale)


def test_float64_products_of_float32_features_are_not_rounded() -> None:
    """The precision is that of the few rows, not of the features."""
    features, weight = drawn(2 * ROWS + 5, 30).float(), drawn(10, 30)
    assert_close(times(features, weight), weight @ features.double().T, rtol=1e-12, atol=1e-12)
    assert_close(moments(drawn(10, len(features)), features), drawn(10, len(features)) @ features.double())


def test_strided_features_are_read_as_they_are() -> None:
    """Columns of a wider matrix, and a transposed one, give the same products."""
    wide = drawn(ROWS + 10, 12).float()
    weight = drawn(3, 6).float()
    for features in (wide[:, ::2], wide[:, :6], wide.T.contiguous().T[:, 6:]):
        assert_close(times(features, weight), times(features.contiguous(), weight), rtol=1e-5, atol=1e-5)
        rows = drawn(3, ROWS + 10).float()
        assert_close(moments(rows, features), moments(rows, features.contiguous()), rtol=1e-4, atol=1e-3)
