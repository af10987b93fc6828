"""Loss and accuracies of a classifier trained on labels that may be wrong."""

import torch
from torch import Tensor
from torchmetrics import Metric

from stratoscope.datamodules import Batch
from stratoscope.models.parts.loss import batch_loss


class LabelMetrics(Metric):
    """Mean loss and accuracy on the given labels; with corrupted labels, also apart for untouched and corrupted ones.

    `compute` gives a dictionary: `loss` (mean cross-entropy in nats) and `accuracy` on the given labels; where some
    given labels differ from the true ones also `accuracy_untouched` and `accuracy_corrupted` (accuracy on the given
    labels of the samples whose label is, or is not, the true one) and `accuracy_true` (on the true labels of all).
    States are sums, so the values are exact on any number of devices.
    """

    full_state_update = False
    sums: Tensor
    loss: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # samples, corrupted samples, correct, correct among corrupted, correct on the true label
        self.add_state("sums", torch.zeros(5, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch; nothing leaves the device.

        Args:
            logits: (n, classes).
            batch: The batch they belong to.
        """
        predicted = logits.argmax(1)
        corrupted = batch.given_label != batch.true_label
        correct = predicted == batch.given_label
        truly = predicted == batch.true_label
        counts = torch.stack([torch.ones_like(correct), corrupted, correct, correct & corrupted, truly])
        self.sums += counts.sum(1)
        self.loss += batch_loss(logits.detach().double(), batch, "sum")

    def compute(self) -> dict[str, Tensor]:
        """Return the means over all samples since the last reset."""
        count, corrupted, correct, corrupted_correct, truly = self.sums.double()
        means = {"loss": self.loss / count, "accuracy": correct / count}
        if corrupted > 0:
            if corrupted < count:
                means["accuracy_untouched"] = (correct - corrupted_correct) / (count - corrupted)
            means["accuracy_corrupted"] = corrupted_correct / corrupted
            means["accuracy_true"] = truly / count
        return {name: mean.float() for name, mean in means.items()}
