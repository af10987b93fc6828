"""Corruptions of the pixels (Zhang et al. 2017, section 2.1): of training and test images alike; labels stay."""

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from stratoscope.datamodules.batch import Batch, Sets
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.draws import permutations, raw_bits
from stratoscope.datamodules.normalisation import channel_statistics

IMAGES = 1000  # images whose pixels are drawn at a time: bounds the memory


class ShuffledPixels(Corruption):
    """One random permutation of the pixel positions, the same for all training and test images.

    Args:
        seed: Decides the permutation; None takes the run's.
    """

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Permute positions; the colours of a pixel stay together."""
        positions = sets["train"].image[0, 0].numel()
        order = torch.from_numpy(permutations(raw_bits(self.seed, "shuffled pixels", positions)))
        return {
            name: data._replace(image=data.image.flatten(2)[:, :, order].view_as(data.image))
            for name, data in sets.items()
        }


class RandomPixels(Corruption):
    """An independent random permutation of the pixel positions for every image, fixed over epochs.

    Args:
        seed: Decides the permutations; None takes the run's.
    """

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Permute the positions of each image by itself; the colours of a pixel stay together."""
        return {name: self._permuted(data, name) for name, data in sets.items()}

    def _permuted(self, data: Batch, name: str) -> Batch:
        n, _, height, width = data.image.shape
        bits = raw_bits(self.seed, f"random pixels {name}", n * height * width).reshape(n, 1, -1)
        chunks = zip(data.image.flatten(2).split(IMAGES), np.split(bits, range(IMAGES, n, IMAGES)), strict=True)
        image = [pixels.gather(2, _orders(words).expand_as(pixels)) for pixels, words in chunks]
        return data._replace(image=torch.cat(image).view_as(data.image))


class GaussianPixels(Corruption):
    """Every image is replaced by Gaussian noise with the mean and variance of the original training images.

    They are matched in each colour channel, and so over all pixels too. Images become float16: on the scale of uint8,
    which would cut off the tails.

    Args:
        seed: Decides the noise; None takes the run's.
    """

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Draw every pixel of every image afresh."""
        mean, deviation = channel_statistics(sets["train"].image)
        # 16 bits pick one of 65,536 equally likely quantiles: exact on every machine, |z| up to 4.3
        quantiles = torch.from_numpy(ndtri((np.arange(65536) + 0.5) / 65536))
        table = (mean[:, None] + deviation[:, None] * quantiles).half()
        return {name: self._noise(data, table, name) for name, data in sets.items()}

    def _noise(self, data: Batch, table: Tensor, name: str) -> Batch:
        bits = raw_bits(self.seed, f"gaussian pixels {name}", -(-data.image.numel() // 4))
        words = bits.astype("<u8").view("<u2")[: data.image.numel()].reshape(data.image.shape)
        image = torch.empty(data.image.shape, dtype=torch.float16)
        for channel, quantiles in enumerate(table):
            for chunk, drawn in zip(
                image.split(IMAGES), np.split(words, range(IMAGES, len(words), IMAGES)), strict=True
            ):
                chunk[:, channel] = quantiles[torch.from_numpy(drawn[:, channel].astype(np.int64))]
        return data._replace(image=image)


def _orders(words: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> Tensor:
    return torch.from_numpy(permutations(words))
