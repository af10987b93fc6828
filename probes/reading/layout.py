"""Where an activation has its samples and where its channels: (n, c, h, w), (n, h, w, c), (n, t, d) or (t, n, d).

A module's kind says it of its own output; what has no say, such as an activation function, has its channels where its
input had them. They are followed through the forward pass by memory: a view, as `permute`, `transpose` and `flatten`
give, has them along the axis of the same size and stride.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import batchnorm, conv, pooling, rnn

# what works along the first axis after the samples, and what along the last one
FIRST: tuple[type[nn.Module], ...] = (
    *(conv._ConvNd, batchnorm._NormBase, nn.GroupNorm, nn.LocalResponseNorm),
    *(
        pooling._MaxPoolNd,
        pooling._AvgPoolNd,
        pooling._AdaptiveAvgPoolNd,
        pooling._AdaptiveMaxPoolNd,
        pooling._LPPoolNd,
    ),
    *(pooling._MaxUnpoolNd, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, nn.Upsample, nn.PixelShuffle),
    *(nn.PixelUnshuffle, nn.ChannelShuffle, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
SEQUENCES: tuple[type[nn.Module], ...] = (
    *(nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder, nn.TransformerEncoderLayer),
    *(nn.TransformerDecoderLayer, nn.MultiheadAttention, rnn.RNNBase),
)
LAST: tuple[type[nn.Module], ...] = (*SEQUENCES, nn.Linear, nn.Bilinear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)


@dataclass(frozen=True)
class Layout:
    """The axes of an activation.

    Attributes:
        samples: The axis of the samples: 0, or 1 where the sequence comes first.
        channels: The axis of the channels, once the samples come first; None where there is none or it is not known.
    """

    samples: int = 0
    channels: int | None = None

    @property
    def tokens(self) -> bool:
        """Whether this is a sequence with its channels last, (n, t, d)."""
        return self.channels == 2

    def samples_first(self, activation: Tensor) -> Tensor:
        """The activation as (n, ...)."""
        return activation.movedim(self.samples, 0) if self.samples else activation


@dataclass(frozen=True)
class ChannelAxis:
    """Where a tensor has its channels.

    Attributes:
        place: The axis.
        sure: Whether that is known, not guessed.
    """

    place: int
    sure: bool


class ChannelAxes:
    """Follows the channels through one forward pass; keeps all it has seen, so that no memory is used again.

    Args:
        image: What the network is given, (n, ...).
    """

    def __init__(self, image: Tensor) -> None:
        self.image, self.of_image = image, ChannelAxis(1, sure=False) if image.ndim > 3 else None
        self.seen: dict[int, list[tuple[Tensor, ChannelAxis]]] = {}  # by memory, the last output last
        self.last: tuple[Tensor, ChannelAxis] | None = None

    def note(self, part: nn.Module, leaf: bool, inputs: Sequence[Any], output: Tensor) -> ChannelAxis | None:
        """Where the output of a module that has just run has its channels; None if it has no positions beside them.

        Args:
            part: The module.
            leaf: Whether none of its children ran.
            inputs: What it was called with.
            output: What it gave.
        """
        entered = next((x for x in inputs if isinstance(x, Tensor) and x.ndim > 2), None)
        kind = _kind(part)
        if kind is not None and entered is not None:
            self._learn(entered, kind % entered.ndim)
        if output.ndim < 3:
            return None
        axis = self._of_output(part, kind, leaf, entered, output)
        self.last = output, axis
        self.seen.setdefault(_memory(output), []).append(self.last)
        return axis

    def _of_output(
        self, part: nn.Module, kind: int | None, leaf: bool, entered: Tensor | None, output: Tensor
    ) -> ChannelAxis:
        before = self._by_memory(entered) if entered is not None else None
        if isinstance(part, nn.Linear) and before and before.sure and before.place != output.ndim - 1:
            return before  # it mixes positions, as in the token layers of MLP-Mixer
        if kind is not None:
            return ChannelAxis(kind % output.ndim, sure=True)
        if found := self._by_memory(output):
            return found
        if leaf and entered is not None and entered.ndim == output.ndim:
            axis = before or self._by_shape(entered)
            return ChannelAxis(axis.place, axis.sure and entered.shape == output.shape)
        return self._by_shape(output)

    def _learn(self, entered: Tensor, place: int) -> None:
        """Where the image has its channels, from the first module that takes it, as it is or in another view."""
        known = self.of_image is not None and self.of_image.sure
        if not known and _memory(entered) == _memory(self.image):
            found = _same_axis(self.image, entered.shape[place], entered.stride(place))
            self.of_image = ChannelAxis(found, sure=True) if found else self.of_image

    def _by_memory(self, x: Tensor) -> ChannelAxis | None:
        """That of a tensor which shares memory with one that was seen."""
        for other, axis in reversed(self.seen.get(_memory(x), [])):
            if found := _same_axis(x, other.shape[axis.place], other.stride(axis.place)):
                return ChannelAxis(found, axis.sure)
        return None

    def _by_shape(self, x: Tensor) -> ChannelAxis:
        """That of the last output of the same shape, or as wide; else tokens come before channels, maps after."""
        if self.last:
            other, axis = self.last
            if x.shape == other.shape:
                return axis
            wide = [place for place in range(1, x.ndim) if x.shape[place] == other.shape[axis.place]]
            if len(wide) == 1:
                return ChannelAxis(wide[0], sure=False)
        return _guess(x.ndim)


def channel_axis(part: nn.Module, dimensions: int) -> ChannelAxis:
    """Where the output of a module has its channels, as far as its kind tells."""
    kind = _kind(part)
    return _guess(dimensions) if kind is None else ChannelAxis(kind % dimensions, sure=True)


def _guess(dimensions: int) -> ChannelAxis:
    return ChannelAxis(2 if dimensions == 3 else 1, sure=False)


def sequence_first(part: nn.Module) -> bool:
    """Whether a module of torch's says that its sequences come before its samples."""
    return isinstance(part, SEQUENCES) and not _batch_first(part)


def _batch_first(part: nn.Module) -> bool:
    inside = next((x for x in part.modules() if isinstance(getattr(x, "batch_first", None), bool)), None)
    return bool(getattr(inside, "batch_first", True))


def _kind(part: nn.Module) -> int | None:
    """The axis of the channels, 1 or -1, of modules whose `forward` is torch's own."""
    known = next(kind for kind in type(part).__mro__ if "forward" in vars(kind))
    if "forward" in vars(part) or not known.__module__.startswith("torch.nn.modules."):
        return None
    if issubclass(known, FIRST):
        return 1
    if isinstance(part, (nn.LayerNorm, nn.RMSNorm)) and len(part.normalized_shape) > 1:
        return None  # over channels and positions together
    return -1 if issubclass(known, LAST) else None


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _same_axis(x: Tensor, size: int, stride: int) -> int | None:
    """The axis of a tensor with this size and stride, if there is exactly one after the first."""
    found = [place for place in range(1, x.ndim) if (x.shape[place], x.stride(place)) == (size, stride)]
    return found[0] if len(found) == 1 else None
