"""The loss that networks are trained on."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import cross_entropy

from stratoscope.datamodules import Batch


def batch_loss(logits: Tensor, batch: Batch, reduction: Literal["mean", "sum", "none"] = "mean") -> Tensor:
    """Cross-entropy on the given labels, in nats.

    Args:
        logits: (n, classes).
        batch: The batch they belong to.
        reduction: Over the samples; none gives (n).
    """
    return cross_entropy(logits, batch.given_label, reduction=reduction)
