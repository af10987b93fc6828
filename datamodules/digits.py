"""Handwritten digits that come with scikit-learn: real images without a download."""

import numpy as np
import torch
from torch.nn.functional import pad

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.image_data import ImageDataModule, labelled

TEST = 360  # the last fifth, which other people wrote


class Digits(ImageDataModule):
    """1,437 training and 360 test images of the digits 0 to 9 (Alpaydin & Kaynak 1998), as 3x28x28 images.

    Each of the 8x8 pixels becomes a square of 3x3, with a margin of 2, in three equal colour channels.

    Args:
        corruption: What is done to the data, drawn once; None leaves them as they are.
        batch_size: Training samples per step, over all devices together.
        seed: Decides the order of the training samples in every epoch; None takes the run's `seed_everything`.
    """

    def __init__(self, corruption: Corruption | None = None, batch_size: int = 128, seed: int | None = None) -> None:
        super().__init__(corruption, batch_size, seed)

    def load(self) -> tuple[Batch, Batch]:
        """Return the first 1,437 images and the last 360."""
        from sklearn.datasets import load_digits  # heavy

        pixels, digit = (np.asarray(part) for part in load_digits(return_X_y=True))
        grey = torch.from_numpy(np.rint(pixels.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8))
        image = pad(grey.repeat_interleave(3, 1).repeat_interleave(3, 2), (2, 2, 2, 2))[:, None].expand(-1, 3, -1, -1)
        label = torch.from_numpy(digit)
        return labelled(image[:-TEST].contiguous(), label[:-TEST]), labelled(image[-TEST:].contiguous(), label[-TEST:])
