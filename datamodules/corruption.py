"""The randomisations of Zhang et al. 2017, section 2.1, each a pure function of (data, seed).

A corruption is drawn once for a whole data set: it does not change between epochs, nor with ranks, workers or machines.
Label corruptions touch the training labels only; pixel corruptions apply to training and test images alike and keep
the labels.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.draws import integers, permutations, raw_bits, uniform

IMAGES = 1000  # images whose pixels are drawn at a time: bounds the memory


class Corruption(ABC):
    """A change of a data set, drawn once from a seed."""

    seed: int

    @abstractmethod
    def __call__(self, train: Batch, test: Batch, classes: int) -> tuple[Batch, Batch]:
        """Return the corrupted training and test sets; the given ones are left as they are.

        Args:
            train: Training set, images uint8.
            test: Test set.
            classes: Number of classes.
        """


class PartialLabels(Corruption):
    """Each training label is, with probability p, redrawn uniformly over all classes (partially corrupted labels).

    A redraw may hit the old class, so a share p (1 - 1/classes) of the labels really changes. With one seed the samples
    redrawn at a smaller p are among those redrawn at a larger one, to the same new labels.

    Args:
        p: Probability of a redraw, in [0, 1].
        seed: Decides which labels are redrawn, and to what.
    """

    def __init__(self, p: float, seed: int = 0) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"label noise p must be in [0, 1], got {p}")
        self.p, self.seed = p, _checked(seed)

    def __call__(self, train: Batch, test: Batch, classes: int) -> tuple[Batch, Batch]:
        """Redraw training labels (Zhang et al. 2017, section 2.1)."""
        bits = raw_bits(self.seed, "labels", 2 * len(train.true_label)).reshape(-1, 2)
        redrawn = torch.from_numpy(uniform(bits[:, 0]) < self.p)
        drawn = torch.from_numpy(integers(bits[:, 1], classes))
        return train._replace(given_label=torch.where(redrawn, drawn, train.given_label)), test


class RandomLabels(PartialLabels):
    """Every training label is replaced by a random one: `PartialLabels` with p = 1.

    Args:
        seed: Decides the labels.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(1.0, seed)


class ShuffledPixels(Corruption):
    """One random permutation of the pixel positions, the same for all training and test images.

    Args:
        seed: Decides the permutation.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = _checked(seed)

    def __call__(self, train: Batch, test: Batch, classes: int) -> tuple[Batch, Batch]:
        """Permute positions; the colours of a pixel stay together."""
        positions = train.image[0, 0].numel()
        order = torch.from_numpy(permutations(raw_bits(self.seed, "shuffled pixels", positions)))
        shuffled = (
            part._replace(image=part.image.flatten(2)[:, :, order].view_as(part.image)) for part in (train, test)
        )
        train, test = shuffled
        return train, test


class RandomPixels(Corruption):
    """An independent random permutation of the pixel positions for every image, fixed over epochs.

    Args:
        seed: Decides the permutations.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = _checked(seed)

    def __call__(self, train: Batch, test: Batch, classes: int) -> tuple[Batch, Batch]:
        """Permute the positions of each image by itself; the colours of a pixel stay together."""
        return self._permuted(train, "train"), self._permuted(test, "test")

    def _permuted(self, data: Batch, split: str) -> Batch:
        n, _, height, width = data.image.shape
        bits = raw_bits(self.seed, f"random pixels {split}", n * height * width).reshape(n, 1, -1)
        chunks = zip(data.image.flatten(2).split(IMAGES), np.split(bits, range(IMAGES, n, IMAGES)), strict=True)
        image = [pixels.gather(2, _orders(words).expand_as(pixels)) for pixels, words in chunks]
        return data._replace(image=torch.cat(image).view_as(data.image))


class GaussianPixels(Corruption):
    """Every image is replaced by Gaussian noise with the mean and variance of the original training images.

    They are matched in each colour channel, and so over all pixels too. Images become float16: on the scale of uint8,
    which would cut off the tails.

    Args:
        seed: Decides the noise.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = _checked(seed)

    def __call__(self, train: Batch, test: Batch, classes: int) -> tuple[Batch, Batch]:
        """Draw every pixel of every image afresh."""
        values = torch.arange(256, dtype=torch.float64)
        shares = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in train.image.unbind(1)])
        mean = (shares * values).sum(1) / shares.sum(1)
        deviation = ((shares * values.square()).sum(1) / shares.sum(1) - mean.square()).sqrt()
        # 16 bits pick one of 65,536 equally likely quantiles: exact on every machine, |z| up to 4.3
        quantiles = torch.from_numpy(ndtri((np.arange(65536) + 0.5) / 65536))
        table = (mean[:, None] + deviation[:, None] * quantiles).half()
        return self._noise(train, table, "train"), self._noise(test, table, "test")

    def _noise(self, data: Batch, table: Tensor, split: str) -> Batch:
        bits = raw_bits(self.seed, f"gaussian pixels {split}", -(-data.image.numel() // 4))
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


def _checked(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    return seed
