"""Products of a tall feature matrix with few columns: what fitting a probe consists of.

On a CPU they are bound by memory and by kernels made for square matrices. The same products are a 1x1 convolution over
blocks of rows, and its weight gradient, for which oneDNN has kernels that take a quarter less time at ten columns.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

ROWS = 1000  # rows of features read at a time: they stay in the cache while they are converted and multiplied
ENTRIES = 2**23  # and entries on an accelerator, where every block costs launches (64 MiB as float64)
IMAGES = 16  # images below which torch takes its own slow convolution on one thread


def times(features: Float[Tensor, "n d"], weight: Float[Tensor, "m d"]) -> Float[Tensor, "m n"]:
    """The product weight @ features.T.

    Args:
        features: In any floating-point type; converted to that of `weight`, a block of rows at a time.
        weight: Few rows.
    """
    n, m = len(features), len(weight)
    rows = _rows_per_image(features, weight)
    whole = n // rows * rows if rows else 0
    product = weight.new_empty(m, n)
    if whole:
        blocks = conv2d(_as_images(features[:whole], rows), weight[:, :, None, None])  # (blocks, m, rows, 1)
        product[:, :whole].view(m, -1, rows).copy_(blocks[..., 0].transpose(0, 1))
    block = n if _is(weight.dtype, features) else rows_at_once(features)
    for start in range(whole, n, block):
        place = slice(start, start + block)
        product[:, place] = weight @ features[place].to(weight.dtype).T
    return product


def moments(rows: Float[Tensor, "m n"], features: Float[Tensor, "n d"]) -> Float[Tensor, "m d"]:
    """The product rows @ features.

    Args:
        rows: Few rows, one entry per sample.
        features: In any floating-point type; converted to that of `rows`, a block of rows at a time.
    """
    (m, n), d = rows.shape, features.shape[1]
    size = _rows_per_image(features, rows)
    whole = n // size * size if size else 0
    total = rows.new_zeros(m, d)
    if whole:
        gradient = rows[:, :whole].view(m, -1, size, 1).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        weight = rows.new_empty(m, d, 1, 1)
        geometry = (None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # no bias, stride 1, no padding, ..., one group
        found = torch.ops.aten.convolution_backward(
            gradient, _as_images(features[:whole], size), weight, *geometry, [False, True, False]
        )
        total = found[1].view(m, d)
    block = n if _is(rows.dtype, features) else rows_at_once(features)
    for start in range(whole, n, block):
        place = slice(start, start + block)
        total = total + rows[:, place] @ features[place].to(rows.dtype)
    return total


def finite(features: Float[Tensor, "n d"]) -> bool:
    """Whether no feature is NaN or infinite."""
    return all(bool(torch.isfinite(rows).all()) for rows in features.split(rows_at_once(features)))


def rows_at_once(features: Float[Tensor, "n d"]) -> int:
    """How many rows to convert at a time: on a CPU those that stay in its cache, on an accelerator many."""
    return ROWS if features.device.type == "cpu" else max(ROWS, ENTRIES // features.shape[1])


def _is(dtype: torch.dtype, features: Tensor) -> bool:
    """Whether features on an accelerator need no conversion: then one product takes them all."""
    return features.device.type != "cpu" and features.dtype == dtype


def _rows_per_image(features: Tensor, few: Tensor) -> int:
    """Rows in a block that is an image; 0 where convolution is no help."""
    kind = features.dtype == few.dtype == torch.float32 and features.device.type == "cpu"
    fast = kind and features.is_contiguous() and torch.backends.mkldnn.is_available()
    return min(ROWS, len(features) // IMAGES) if fast else 0


def _as_images(features: Float[Tensor, "n d"], rows: int) -> Float[Tensor, "b d rows one"]:
    """Blocks of rows as images of d channels, in memory as they are (channels last)."""
    return features.view(-1, rows, 1, features.shape[1]).permute(0, 3, 1, 2)
