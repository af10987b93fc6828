"""Tests of datamodules/whitening.py."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from stratoscope.datamodules.whitening import per_image_whitening


def formula(image: Tensor) -> Tensor:
    """TensorFlow's per_image_standardization of pixels / 255, in float64 and without torch."""
    pixels: NDArray[np.float64] = image.numpy().astype(np.float64) / 255
    axes = (1, 2, 3)
    mean, deviation = pixels.mean(axes, keepdims=True), pixels.std(axes, keepdims=True)
    entries = pixels[0].size
    return torch.from_numpy((pixels - mean) / np.maximum(deviation, 1 / np.sqrt(entries)))


def images(n: int = 5) -> Tensor:
    """Random uint8 images of different contrast."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (n, 3, 28, 28), generator=generator)
    return (noise // torch.arange(1, n + 1).view(-1, 1, 1, 1)).to(torch.uint8)


def test_equals_the_formula_on_uint8() -> None:
    """Whitened uint8 images equal the formula in float64, to 1e-5."""
    whitened = per_image_whitening(images())
    assert whitened.dtype == torch.float32
    assert_close(whitened.double(), formula(images()), rtol=0, atol=1e-5)


def test_equals_the_formula_on_float16() -> None:
    """Half-precision pixels below 0 and above 255 are not clipped; the result is float32."""
    half = (torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 70 + 120).half()
    assert half.min() < 0
    assert half.max() > 255
    whitened = per_image_whitening(half)
    assert whitened.dtype == torch.float32
    assert_close(whitened.double(), formula(half), rtol=0, atol=1e-5)


def test_mean_and_deviation() -> None:
    """Every image has mean 0 and population deviation 1 over all its pixels and channels."""
    deviation, mean = torch.std_mean(per_image_whitening(images()).double(), dim=(1, 2, 3), correction=0)
    assert_close(mean, torch.zeros(5).double(), rtol=0, atol=1e-6)
    assert_close(deviation, torch.ones(5).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0, 1, 200, 255])
def test_a_constant_image_becomes_zero(value: int) -> None:
    """An image of equal entries gives zeros, to rounding."""
    whitened = per_image_whitening(torch.full((2, 3, 28, 28), value, dtype=torch.uint8))
    assert_close(whitened, torch.zeros(2, 3, 28, 28), rtol=0, atol=1e-4)


def test_a_nearly_constant_image_is_divided_by_the_least_deviation() -> None:
    """A deviation below 1 / sqrt(entries) is replaced by it."""
    image = torch.full((1, 3, 28, 28), 100, dtype=torch.uint8)
    image[0, 1, 2, 3] = 101
    assert_close(per_image_whitening(image).double(), formula(image), rtol=0, atol=1e-5)
    assert per_image_whitening(image).max() == pytest.approx(2352**0.5 / 255, rel=1e-2)


def test_images_do_not_see_each_other() -> None:
    """An image alone is whitened as in a batch, and the input stays as it is."""
    batch = images()
    together = per_image_whitening(batch)
    assert torch.equal(batch, images())
    for i in range(len(batch)):
        assert_close(per_image_whitening(batch[i : i + 1])[0], together[i], rtol=0, atol=1e-6)
