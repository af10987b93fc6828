"""Tests of models/parts/loss.py."""

import torch

from stratoscope.datamodules import Batch
from stratoscope.models.parts.loss import batch_loss


def test_the_loss_is_that_of_the_given_labels() -> None:
    """- log of the softmax at the given label, over all samples as asked."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    given, true = torch.tensor([0, 1, 2, 3, 0, 1]), torch.zeros(6, dtype=torch.long)
    batch = Batch(image=torch.zeros(6, 1), given_label=given, true_label=true, index=torch.arange(6))
    by_hand = torch.stack([row.exp().sum().log() - row[label] for row, label in zip(logits, given, strict=True)])
    torch.testing.assert_close(batch_loss(logits, batch, "none"), by_hand)
    torch.testing.assert_close(batch_loss(logits, batch, "sum"), by_hand.sum())
    torch.testing.assert_close(batch_loss(logits, batch), by_hand.mean())
