"""Handwritten digits that come with scikit-learn: real images without a download."""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from stratoscope.datamodules.batch import Sets, labelled
from stratoscope.datamodules.image_data import ImageDataModule

TEST = 360  # the last fifth, which other people wrote


class Digits(ImageDataModule):
    """1,437 training and 360 test images of the digits 0 to 9 (Alpaydin & Kaynak 1998), of 28x28 pixels.

    Each of the 8x8 pixels becomes a square of 3x3, with a margin of 2, in equal colour channels.

    Args:
        channels: Colour channels: 3 for networks of CIFAR-10, 1 for those of MNIST.
        **settings: Corruption, batch size, seed, augmentation and normalisation, of `ImageDataModule`.
    """

    def __init__(self, channels: int = 3, **settings: Any) -> None:
        if channels < 1:
            raise ValueError(f"channels must be 1 or more, got {channels}")
        super().__init__(**settings)
        self.channels = channels

    def load(self) -> Sets:
        """Return the first 1,437 images and the last 360."""
        from sklearn.datasets import load_digits  # heavy

        pixels, digit = (np.asarray(part) for part in load_digits(return_X_y=True))
        grey = torch.from_numpy(np.rint(pixels.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8))
        image = pad(grey.repeat_interleave(3, 1).repeat_interleave(3, 2), (2, 2, 2, 2))[:, None]
        image, label = image.expand(-1, self.channels, -1, -1).contiguous(), torch.from_numpy(digit)
        return {"train": labelled(image[:-TEST], label[:-TEST]), "test": labelled(image[-TEST:], label[-TEST:])}
