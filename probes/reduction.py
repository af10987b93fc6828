"""Activations of any shape as features of bounded width.

A reduction is called with an activation (n, ...) and returns features (n, d): a new float32 tensor (float64 if the
activation is), never a view, as the activation may be overwritten by the next layer. What it makes of a sample depends
on nothing but the sample, its own settings and the number of features, so every batch, epoch and process gets the same.
A layer that comes out narrower than it went in was not probed in full; whoever writes the table marks it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt, sqrt
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

SIGNS = 2**24  # entries of a random projection made at a time (64 MiB in float32)

Reduction = Callable[[Tensor], Tensor]


def reduction(name: str, width: int | None, seed: int = 0) -> Reduction:
    """The reduction of this name.

    Args:
        name: 'none' (all features), 'average_pool' (means of neighbours), 'channel_means' (one mean per channel),
            'feature_subset' (some features, drawn at random once) or 'random_projection' (random signed sums).
        width: Most features per sample; None keeps all. 'none' and 'channel_means' do without.
        seed: Decides the subset and the projection.

    Returns:
        A function of an activation (n, ...) that returns new features (n, d).

    Raises:
        ValueError: If the name is unknown or the width is below 1.
    """
    if width is not None and width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")
    reductions: dict[str, Reduction] = {
        "none": Flatten(),
        "average_pool": AveragePool(width),
        "channel_means": ChannelMeans(),
        "feature_subset": FeatureSubset(width, seed),
        "random_projection": RandomProjection(width, seed),
    }
    if name not in reductions:
        raise ValueError(f"unknown reduction {name!r}: choose one of {', '.join(reductions)}")
    return reductions[name]


def average_pool(activation: Float[Tensor, "n ..."], width: int | None) -> Float[Tensor, "n d"]:
    """Flatten an activation to at most `width` features per sample, averaging neighbours where it has more.

    Feature maps (n, channels, height, width) are averaged over the finest square grid that fits: 64 channels and width
    1,024 give 4 x 4 means per channel. Anything else, and maps with more channels than `width`, is averaged over
    neighbouring entries of the flattened activation.

    Args:
        activation: Output of a layer for n samples.
        width: Most features per sample; None keeps all.

    Returns:
        A new float32 tensor (float64 if the activation is), never a view of the activation.
    """
    dtype = torch.float64 if activation.dtype == torch.float64 else torch.float32
    features = activation.to(dtype)
    if width is not None and features[0].numel() > width:
        side = isqrt(width // features.shape[1])
        if features.ndim == 4 and side >= 1:
            features = functional.adaptive_avg_pool2d(
                features, (min(side, features.shape[2]), min(side, features.shape[3]))
            )
        else:
            features = functional.adaptive_avg_pool1d(features.flatten(1), width)
    features = features.flatten(1)
    shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
    return features.clone(memory_format=torch.contiguous_format) if shared else features.contiguous()


@dataclass(frozen=True)
class Flatten:
    """All features: an activation of any width keeps it."""

    def __call__(self, activation: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Return the activation as rows."""
        return average_pool(activation, None)


@dataclass(frozen=True)
class AveragePool:
    """Means of neighbours, see `average_pool`: at most `width` features, for feature maps often somewhat fewer.

    Attributes:
        width: Most features per sample; None keeps all.
    """

    width: int | None

    def __call__(self, activation: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Return the pooled activation."""
        return average_pool(activation, self.width)


@dataclass(frozen=True)
class ChannelMeans:
    """One feature per channel of a feature map (n, channels, height, width): its mean over positions.

    The width is the number of channels, however many. Any other activation keeps all its features.

    Source: Alain & Bengio 2016, who probe ResNet-50 so.
    """

    def __call__(self, activation: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Return the means, summed in float32 at least."""
        if activation.ndim != 4:
            return average_pool(activation, None)
        return activation.mean((2, 3), dtype=_dtype(activation))


@dataclass(frozen=True)
class FeatureSubset:
    """A fixed random subset of the features: exactly `width` of them, or all where there are no more.

    Layers with equally many features get the same subset, and a smaller subset is part of a larger one.

    Attributes:
        width: Most features per sample; None keeps all.
        seed: Decides the subset, with the number of features.

    Source: Alain & Bengio 2016, who probe Inception v3 on 1,000 random features of each layer.
    """

    width: int | None
    seed: int = 0

    def __call__(self, activation: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Return the features chosen, in their order."""
        flat = activation.flatten(1)
        if self.width is None or flat.shape[1] <= self.width:
            return average_pool(activation, None)
        places = torch.from_numpy(_subset(flat.shape[1], self.width, self.seed)).to(flat.device)
        return flat.index_select(1, places).to(_dtype(activation))


@dataclass(frozen=True)
class RandomProjection:
    """Random signed sums of all features: exactly `width` of them, or the features themselves where there are no more.

    y = R'x / sqrt(width) with independent signs R_ij = +-1. Squared distances between samples are kept on average, with
    a relative standard deviation below sqrt(2 / width) (5 % at 1,000). The signs are remembered as single bits, for the
    32 sizes used last, and turned into numbers a block at a time.

    Attributes:
        width: Most features per sample; None keeps all.
        seed: Decides the signs, with the number of features and the width.

    Source: Achlioptas 2003, J. Comput. Syst. Sci. 66:671-687, theorem 1.1, after Johnson & Lindenstrauss 1984.
    """

    width: int | None
    seed: int = 0

    def __call__(self, activation: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Return the sums, computed in float32 at least, also under autocast."""
        flat = activation.flatten(1)
        if self.width is None or flat.shape[1] <= self.width:
            return average_pool(activation, None)
        bits = _sign_bits(flat.shape[1], self.width, self.seed, flat.device)
        features = torch.zeros(len(flat), self.width, dtype=_dtype(activation), device=flat.device)
        block = max(1, SIGNS // self.width)
        with torch.autocast(flat.device.type, enabled=False):
            for some, rows in zip(flat.split(block, dim=1), bits.split(block), strict=True):
                features += some.to(features.dtype) @ _signs(rows, self.width).to(features.dtype)
        return features / sqrt(self.width)


def _dtype(activation: Tensor) -> torch.dtype:
    return torch.float64 if activation.dtype == torch.float64 else torch.float32


def _raw_bits(seed: int, purpose: str, sizes: tuple[int, ...], count: int) -> NDArray[np.uint64]:
    """64-bit words that never change, of the stream named by seed, purpose and sizes."""
    return np.random.PCG64(np.random.SeedSequence([seed, crc32(purpose.encode()), *sizes])).random_raw(count)


@lru_cache(maxsize=32)
def _subset(count: int, width: int, seed: int) -> NDArray[np.int64]:
    """`width` places in [0, count), in order: those of the smallest words."""
    order = np.argsort(_raw_bits(seed, "feature subset", (count,), count), kind="stable")
    return np.sort(order[:width])


@lru_cache(maxsize=32)
def _sign_bits(count: int, width: int, seed: int, device: torch.device) -> UInt8[Tensor, "count bytes"]:
    """The signs of `count` features, each `width` bits in whole words."""
    words = -(-width // 64)
    bits = _raw_bits(seed, "random projection", (count, width), count * words)
    return torch.from_numpy(bits.astype("<u8").view(np.uint8).reshape(count, 8 * words)).to(device)


def _signs(rows: UInt8[Tensor, "b bytes"], width: int) -> Float[Tensor, "b width"]:
    """Bits as -1 and +1, the lowest bit of a byte first."""
    mask = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=rows.device)
    positive = (rows[..., None] & mask).ne(0).flatten(1)[:, :width]
    return positive.float().mul_(2).sub_(1)
