"""Tests of datamodules/digits.py."""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from stratoscope.datamodules.digits import Digits


def test_shapes_and_counts() -> None:
    """1,437 training and 360 test images, 3x28x28 in uint8, each set counted from 0."""
    for part, count in zip(Digits().load(), (1437, 360), strict=True):
        assert part.image.shape == (count, 3, 28, 28)
        assert part.image.dtype == torch.uint8
        assert part.image.is_contiguous()
        assert torch.equal(part.index, torch.arange(count))


def test_pixels_are_those_of_scikit_learn() -> None:
    """Every 8x8 pixel, from 0..16 to 0..255, fills a 3x3 square of all channels; the margin of 2 is black."""
    digits: Any = load_digits()
    source = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    image = torch.cat([part.image for part in Digits().load()]).numpy()
    expected = np.zeros((1797, 3, 28, 28), dtype=np.uint8)
    for row in range(24):
        for column in range(24):
            expected[:, :, 2 + row, 2 + column] = source[:, row // 3, column // 3, None]
    assert np.array_equal(image, expected)
    assert image.max() == 255


def test_labels_are_those_of_scikit_learn() -> None:
    """Given and true labels are scikit-learn's, in its order."""
    train, test = Digits().load()
    digits: Any = load_digits()
    expected = torch.from_numpy(digits.target)
    for name in ("given_label", "true_label"):
        assert torch.equal(torch.cat([getattr(train, name), getattr(test, name)]), expected)
    assert train.given_label.dtype == torch.int64
