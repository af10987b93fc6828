"""What a batch, and a whole set, consists of."""

from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


class Batch(NamedTuple):
    """Images with the label they are trained on and the label they really have.

    Attributes:
        image: (n, channels, height, width): pixels in [0, 255] in a set, whitened float32 in a batch.
        given_label: The label training sees, possibly corrupted.
        true_label: The label of the original data.
        index: Position in the original set.
    """

    image: Shaped[Tensor, "n channel height width"]
    given_label: Int[Tensor, " n"]
    true_label: Int[Tensor, " n"]
    index: Int[Tensor, " n"]  # type: ignore[assignment]  # it hides tuple.index


Sets = dict[str, Batch]  # the set `train` and the test sets by name, `test` first


def labelled(image: Shaped[Tensor, "n channel height width"], label: Int[Tensor, " n"]) -> Batch:
    """A clean set: the given labels are the true ones.

    Args:
        image: Pixels, uint8.
        label: Classes from 0.
    """
    return Batch(image, label.long(), label.long(), torch.arange(len(label)))
