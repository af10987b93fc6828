"""Tests of probes/reduction.py."""

from math import ceil, floor

import pytest
import torch
from torch import Tensor

from stratoscope.probes.reduction import average_pool


def _activation(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_map_is_averaged_over_blocks() -> None:
    """64 channels of 8 x 8 at width 1,024 become the 4 x 4 means of 2 x 2 blocks."""
    activation = _activation(3, 64, 8, 8)
    blocks = activation.view(3, 64, 4, 2, 4, 2).mean((3, 5))
    torch.testing.assert_close(average_pool(activation, 1024), blocks.reshape(3, 1024))


def test_map_that_does_not_divide_is_averaged_over_overlapping_blocks() -> None:
    """64 channels of 14 x 14 at width 1,024 become 4 x 4 means over rows floor(14 i / 4) to ceil(14 (i + 1) / 4)."""
    activation = _activation(2, 64, 14, 14)
    bins = [slice(floor(14 * i / 4), ceil(14 * (i + 1) / 4)) for i in range(4)]
    expected = torch.stack([activation[:, :, rows, columns].mean((2, 3)) for rows in bins for columns in bins], 2)
    features = average_pool(activation, 1024)
    assert features.shape == (2, 64 * 4 * 4)
    torch.testing.assert_close(features, expected.flatten(1))


def test_grid_is_the_finest_square_that_fits() -> None:
    """At width 100, 4 channels get 5 x 5 means each; at width 99, 4 x 4."""
    activation = _activation(2, 4, 20, 20)
    torch.testing.assert_close(average_pool(activation, 100), activation.view(2, 4, 5, 4, 5, 4).mean((3, 5)).flatten(1))
    torch.testing.assert_close(average_pool(activation, 99), activation.view(2, 4, 4, 5, 4, 5).mean((3, 5)).flatten(1))


def test_flat_map_keeps_its_short_side() -> None:
    """A map one pixel high is averaged along its other side only."""
    activation = _activation(2, 4, 1, 16)
    torch.testing.assert_close(average_pool(activation, 16), activation.view(2, 4, 2, 8).mean(3).flatten(1))


def test_more_channels_than_width_averages_neighbouring_entries() -> None:
    """16 channels of 3 x 3 at width 8 become 8 means of 18 neighbours."""
    activation = _activation(2, 16, 3, 3)
    torch.testing.assert_close(average_pool(activation, 8), activation.reshape(2, 8, 18).mean(2))


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 2, 1, 2, 3)])
def test_vectors_and_sequences_average_neighbouring_entries(shape: tuple[int, ...]) -> None:
    """Anything but a feature map is averaged over neighbours of the flattened activation."""
    activation = _activation(*shape)
    torch.testing.assert_close(average_pool(activation, 4), activation.reshape(5, 4, 3).mean(2))


@pytest.mark.parametrize("width", [None, 54, 1000])
@pytest.mark.parametrize("shape", [(4, 54), (4, 6, 3, 3), (4, 6, 9)])
def test_activation_that_fits_is_kept_whole(shape: tuple[int, ...], width: int | None) -> None:
    """An activation with at most `width` entries, or without limit, is only flattened."""
    activation = _activation(*shape)
    assert torch.equal(average_pool(activation, width), activation.reshape(4, 54))


@pytest.mark.parametrize("shape", [(3, 7), (3, 1001), (3, 5, 11, 13), (3, 40, 7, 7), (3, 1, 30, 2), (3, 11, 9)])
@pytest.mark.parametrize("width", [1, 5, 7, 33, 64])
def test_features_are_never_more_than_width(shape: tuple[int, ...], width: int) -> None:
    """Whatever the shape, there are between 1 and `width` features, and a constant activation stays that constant."""
    features = average_pool(torch.full(shape, 2.5), width)
    assert len(features) == 3
    assert 1 <= features.shape[1] <= width
    torch.testing.assert_close(features, torch.full_like(features, 2.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [None, 6, 54])
@pytest.mark.parametrize("layout", ["vector", "map", "channels last", "transposed", "slice", "select"])
def test_features_outlive_the_activation(layout: str, width: int | None, dtype: torch.dtype) -> None:
    """Overwriting the activation in place, as a following in-place ReLU does, leaves the features alone."""
    activation = {
        "vector": _activation(4, 54).to(dtype),
        "map": _activation(4, 6, 3, 3).to(dtype),
        "channels last": _activation(4, 6, 3, 3).to(dtype, memory_format=torch.channels_last),
        "transposed": _activation(54, 4).to(dtype).T,
        "slice": _activation(4, 60).to(dtype)[:, 3:57],
        "select": _activation(4, 2, 54).to(dtype)[:, 1],
    }[layout]
    features = average_pool(activation, width)
    kept = features.clone()
    activation.fill_(float("nan"))
    assert bool(kept.isfinite().all())
    assert torch.equal(features, kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize("shape", [(3, 64), (3, 1, 8, 8)])
def test_half_precision_is_averaged_in_float32(shape: tuple[int, ...], width: int | None, dtype: torch.dtype) -> None:
    """Features of half-precision activations are float32, and their means are not rounded to half precision."""
    activation = _activation(*shape).to(dtype)
    features = average_pool(activation, width)
    assert features.dtype == torch.float32
    assert torch.equal(features, average_pool(activation.float(), width))


def test_float64_stays_float64() -> None:
    """Features of float64 activations keep their precision."""
    activation = _activation(3, 12).double() / 3
    features = average_pool(activation, 4)
    torch.testing.assert_close(features, activation.view(3, 4, 3).mean(2), rtol=1e-15, atol=1e-15)
