"""Activations of any shape as features of bounded width.

A reduction is called with an activation (n, ...) and the axis of its channels, and returns features (n, d): a new
float32 tensor (float64 if the activation is), never a view, as the activation may be overwritten by the next layer.
What it makes of a sample depends on nothing but the sample, its own settings and the number of features, so every
batch, epoch and process gets the same. A layer that comes out narrower than it went in was not probed in full; whoever
writes the table marks it (see `LayerReduction.reduced`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt, sqrt
from typing import Any, Protocol, runtime_checkable
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from stratoscope.probes.reading.layout import Layout
from stratoscope.probes.reading.taps import Tap

SIGNS = 2**24  # entries of a random projection made at a time (64 MiB in float32)

AVERAGE_POOL = "average_pool"


@runtime_checkable
class Reduction(Protocol):
    """Turns activations into features."""

    def __call__(self, activation: Tensor, channels: int | None = None, /) -> Tensor:
        """Return new features (n, d) of an activation (n, ...) with its channels along this axis, if that is known."""
        ...


def reduction(how: str | Callable[[Tensor], Tensor], width: int | None, seed: int = 0) -> Reduction:
    """The reduction of this name.

    Args:
        how: 'average_pool' (means of neighbouring positions; of token layers (n, t, d) the mean over all tokens),
            'channel_means' (one mean per channel), 'token_mean' and 'cls' (of token layers their mean and their first
            one, however narrow they are, of others 'average_pool'), 'none' (all features), 'feature_subset' (some
            features, drawn at random once) or 'random_projection' (random signed sums). Or a function of an activation
            (n, ...) that returns features (n, d).
        width: Most features per sample; None keeps all. 'none' and a function do without; the means over all positions
            and 'cls' have one feature per channel, however many.
        seed: Decides the subset and the projection.

    Returns:
        A function of an activation (n, ...) and the axis of its channels that returns new features (n, d).

    Raises:
        ValueError: If the name is unknown or the width is below 1.
    """
    if width is not None and width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")
    if callable(how):
        return Custom(how)
    reductions: dict[str, Reduction] = {
        "none": Flatten(),
        AVERAGE_POOL: AveragePool(width),
        "channel_means": ChannelMeans(),
        "token_mean": TokenMean(width),
        "cls": FirstToken(width),
        "feature_subset": FeatureSubset(width, seed),
        "random_projection": RandomProjection(width, seed),
    }
    if how not in reductions:
        raise ValueError(f"unknown reduction {how!r}: choose one of {', '.join(reductions)}")
    return reductions[how]


@dataclass(frozen=True)
class LayerReduction:
    """What is made of one layer.

    Attributes:
        how: For every layer.
        name: What `how` is called.
        layout: Of this one.
    """

    how: Reduction
    name: str
    layout: Layout

    def __call__(self, activation: Float[Tensor, "..."]) -> Float[Tensor, "n d"]:
        """Return new features of an activation as the network gives it, such as (t, n, d)."""
        return self.how(self.layout.samples_first(activation), self.layout.channels)

    def reduced(self, width: int, features: int) -> str:
        """What was done to the layer: the reduction's name, nothing where all of its features are probed.

        Args:
            width: Entries per sample of the activation.
            features: Features per sample.
        """
        if width == features and not isinstance(self.how, Custom):
            return ""
        if self.name == AVERAGE_POOL and self.layout.tokens:
            return "token_mean"
        return AVERAGE_POOL if self.name in {"token_mean", "cls"} and not self.layout.tokens else self.name


def by_layer(
    how: str | Callable[[Tensor], Tensor], taps: Sequence[Tap], width: int | None, seed: int = 0
) -> dict[str, LayerReduction]:
    """What is made of each layer, by its name; see `reduction` for the arguments."""
    return {tap.name: LayerReduction(reduction(how, width, seed), named(how), tap.layout) for tap in taps}


def named(how: str | Callable[..., Any]) -> str:
    """What a reduction, or another function of the user's, is called in tables."""
    return how if isinstance(how, str) else str(getattr(how, "__name__", type(how).__name__))


def average_pool(
    activation: Float[Tensor, "n ..."], width: int | None, channels: int | None = None
) -> Float[Tensor, "n d"]:
    """Flatten an activation to at most `width` features per sample, averaging neighbours where it has more.

    Feature maps (n, channels, height, width), or with their channels elsewhere, are averaged over the finest square
    grid that fits: 64 channels and width 1,024 give 4 x 4 means per channel, in this order. So are sequences and
    volumes over their one or three axes, each channel at least as one mean, however many channels there are. Tokens
    (n, t, d) are averaged over all t of them. Anything else, and maps with more channels than `width`, is averaged over
    neighbouring entries of the flattened activation.

    Args:
        activation: Output of a layer for n samples.
        width: Most features per sample; None keeps all.
        channels: The axis of the channels. If it is not known, four axes are those of a map, and others have none.

    Returns:
        A new float32 tensor (float64 if the activation is), never a view of the activation.
    """
    features = activation.to(_dtype(activation))
    if width is not None and features.shape[1:].numel() > width:
        if channels == 2 and features.ndim == 3:
            return _token_mean(activation)
        features = _pooled(features, width, 1 if channels is None and features.ndim == 4 else channels)
    features = features.flatten(1)
    shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
    return features.clone(memory_format=torch.contiguous_format) if shared else features.contiguous()


def _pooled(features: Float[Tensor, "n ..."], width: int, channels: int | None) -> Float[Tensor, "n ..."]:
    """Means of neighbours, not yet flat."""
    if channels is None or features.ndim == 2:
        return functional.adaptive_avg_pool1d(features.flatten(1), width)
    features = features if channels == 1 else features.movedim(channels, 1).contiguous()  # sums in the same order
    if features.ndim > 5:
        features = features.flatten(2)
    positions, each = features.ndim - 2, width // features.shape[1]
    if positions == 2 and not each:
        return functional.adaptive_avg_pool1d(features.flatten(1), width)
    side = {1: each, 2: isqrt(each), 3: next(side for side in range(each + 1, -1, -1) if side**3 <= each)}[positions]
    sizes = [min(max(side, 1), size) for size in features.shape[2:]]
    if positions == 1:
        return functional.adaptive_avg_pool1d(features, sizes[0])
    if positions == 2:
        return functional.adaptive_avg_pool2d(features, (sizes[0], sizes[1]))
    return functional.adaptive_avg_pool3d(features, (sizes[0], sizes[1], sizes[2]))


@dataclass(frozen=True)
class Flatten:
    """All features: an activation of any width keeps it."""

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return the activation as rows."""
        return average_pool(activation, None)


@dataclass(frozen=True)
class AveragePool:
    """Means of neighbours, see `average_pool`: at most `width` features, for feature maps often somewhat fewer.

    Attributes:
        width: Most features per sample; None keeps all.
    """

    width: int | None

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return the pooled activation."""
        return average_pool(activation, self.width, channels)


@dataclass(frozen=True)
class TokenMean:
    """The mean over tokens of (n, t, d), one feature per channel, however many; anything else as by `AveragePool`.

    Attributes:
        width: Most features per sample of anything else; None keeps all.
    """

    width: int | None

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return the means, summed in float32 at least."""
        if _has_tokens(activation, channels):
            return _token_mean(activation)
        return average_pool(activation, self.width, channels)


@dataclass(frozen=True)
class FirstToken:
    """The first token of (n, t, d), which in many transformers stands for the class; else as by `AveragePool`.

    Attributes:
        width: Most features per sample of anything else; None keeps all.
    """

    width: int | None

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return the token."""
        if _has_tokens(activation, channels):
            return average_pool(activation[:, 0], None)
        return average_pool(activation, self.width, channels)


@dataclass(frozen=True)
class Custom:
    """A function of the user's.

    Attributes:
        function: Turns an activation (n, ...), a copy, into features (n, d).
    """

    function: Callable[[Tensor], Any]

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return its features.

        Raises:
            ValueError: If it gives anything else.
        """
        features = self.function(activation.detach().clone())
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(activation):
            raise ValueError(
                f"the reduction {getattr(self.function, '__name__', self.function)} must turn an activation "
                f"{tuple(activation.shape)} into features ({len(activation)}, d), got {shape}"
            )
        return features.to(_dtype(features)).contiguous()


@dataclass(frozen=True)
class ChannelMeans:
    """One feature per channel of a feature map (n, channels, height, width), or with its channels elsewhere: its mean.

    The width is the number of channels, however many. An activation without positions keeps all its features, as does
    one of which it is not known where its channels are.

    Source: Alain & Bengio 2016, who probe ResNet-50 so.
    """

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
        """Return the means, summed in float32 at least."""
        channels = 1 if channels is None and activation.ndim == 4 else channels
        if channels is None or activation.ndim == 2:
            return average_pool(activation, None)
        activation = activation if channels == 1 else activation.movedim(channels, 1).contiguous()
        return activation.mean(tuple(range(2, activation.ndim)), dtype=_dtype(activation))


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

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
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

    def __call__(self, activation: Float[Tensor, "n ..."], channels: int | None = None, /) -> Float[Tensor, "n d"]:
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


def _token_mean(tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n d"]:
    return tokens.mean(1, dtype=_dtype(tokens))


def _has_tokens(activation: Tensor, channels: int | None) -> bool:
    return activation.ndim == 3 and channels != 1


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
