"""Tests of datamodules/digits.py."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from stratoscope.datamodules.digits import Digits


def test_shapes_and_counts() -> None:
    """1,437 training and 360 test images, 3x28x28 in uint8, each set counted from 0."""
    sets = Digits().load()
    assert list(sets) == ["train", "test"]
    for part, count in zip(sets.values(), (1437, 360), strict=True):
        assert part.image.shape == (count, 3, 28, 28)
        assert part.image.dtype == torch.uint8
        assert part.image.is_contiguous()
        assert torch.equal(part.index, torch.arange(count))


def test_pixels_are_those_of_scikit_learn() -> None:
    """Every 8x8 pixel, from 0..16 to 0..255, fills a 3x3 square of all channels; the margin of 2 is black."""
    digits: Any = load_digits()
    source = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    image = torch.cat([part.image for part in Digits().load().values()]).numpy()
    expected = np.zeros((1797, 3, 28, 28), dtype=np.uint8)
    for row in range(24):
        for column in range(24):
            expected[:, :, 2 + row, 2 + column] = source[:, row // 3, column // 3, None]
    assert np.array_equal(image, expected)
    assert image.max() == 255


def test_labels_are_those_of_scikit_learn() -> None:
    """Given and true labels are scikit-learn's, in its order."""
    train, test = Digits().load().values()
    digits: Any = load_digits()
    expected = torch.from_numpy(digits.target)
    for name in ("given_label", "true_label"):
        assert torch.equal(torch.cat([getattr(train, name), getattr(test, name)]), expected)
    assert train.given_label.dtype == torch.int64


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_are_equal(channels: int) -> None:
    """Any number of channels holds the same grey; labels do not depend on it."""
    for part, colour in zip(Digits(channels=channels).load().values(), Digits().load().values(), strict=True):
        assert part.image.shape == (len(part.index), channels, 28, 28)
        assert part.image.is_contiguous()
        assert torch.equal(part.image, colour.image[:, :1].expand(-1, channels, -1, -1))
        assert torch.equal(part.true_label, colour.true_label)


def test_no_channel_is_refused() -> None:
    """The message has the number."""
    with pytest.raises(ValueError, match="channels must be 1 or more, got 0"):
        Digits(channels=0)


def test_settings_are_those_of_all_image_data() -> None:
    """Batch size, seed, normalisation and so on are passed on; what there is not is refused."""
    data = Digits(channels=1, batch_size=32, seed=5, normalisation="unit")
    assert (data.batch_size, data.seed, data.normalisation) == (32, 5, "unit")
    with pytest.raises(TypeError, match="shuffle"):
        Digits(shuffle=True)
