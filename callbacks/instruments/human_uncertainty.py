"""How a network's uncertainty compares with people's: CIFAR-10H (Peterson et al. 2019)."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from stratoscope.callbacks.instruments.instrument import Instrument, Planned
from stratoscope.callbacks.samples.probed_sets import TRAIN
from stratoscope.datamodules.set_names import named_sets

BINS = 15  # of confidence, in the calibration error
ROUNDING = 1e-12  # a variance of entropies no larger than this is none
DIGEST = "ab4fe794f7b3068790805d9b96bb86b8d4d5ef649d1663512b68e0f3d86185a0"  # SHA-256 of the shares
AGREEMENT = 0.9  # people mostly choose the true label: in CIFAR-10H for 99 % of the images
SOURCE = "https://github.com/jcpeterson/cifar-10h"


class HumanUncertainty(Instrument):
    """Compares a network's probabilities q with the shares p of people who chose each class, image by image.

    Logs at the end of every validation and test epoch, for one test set (definitions: `HumanMetrics`):
    `human/accuracy`, `human/agreement`, `human/cross_entropy`, `human/divergence`, `human/calibration_error` and
    `human/entropy_correlation`. The module's validation and test steps must return the logits, as `Classifier`'s do,
    and batches have the field `index`.

    Args:
        file: `cifar10h-probs.npy` of the authors: float64 (images, classes), rows in the test set's original order.
        test_set: Name of the test set the file is about.
        name: Tells several HumanUncertainty in one run apart: of `other`, the metrics are `human/other/accuracy` and
            so on.
    """

    TABLE = "human"

    def __init__(self, file: str, test_set: str = "test", name: str | None = None) -> None:
        super().__init__(name)
        self.file, self.test_set = Path(file).expanduser(), test_set
        self.human = read_shares(self.file)
        self.metrics = HumanMetrics()
        self.place = 0  # of the test set among them

    def refuse(self, planned: Planned) -> list[str]:
        """See whether the file is about the test set."""
        self.check({name: part for name, part in planned.sets.items() if name != TRAIN})
        return []

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """All that `HumanMetrics` may give."""
        yield from map(self.metric, (*HumanMetrics.NAMES, "calibration_error", "entropy_correlation"))

    def comes_too_late(self, at_epoch_end: bool) -> str:
        """Nothing: there is no validation without them."""
        return ""

    def check(self, sets: Mapping[str, Any]) -> None:
        """Compare the file with the test set it is about.

        Args:
            sets: Test sets by name.

        Raises:
            ValueError: If the test set is not there, or is not what the file is about.
        """
        if self.test_set not in sets:
            raise ValueError(f"HumanUncertainty is for the test set {self.test_set}; there are {', '.join(sets)}")
        if (size := len(sets[self.test_set])) != len(self.human):
            raise ValueError(f"{self.file} is about {len(self.human):,} images; {self.test_set} has {size:,}")
        labels = getattr(getattr(sets[self.test_set], "data", None), "true_label", None)
        if labels is not None and int(labels.max()) >= self.human.shape[1]:
            raise ValueError(f"{self.file} has {self.human.shape[1]} classes; {self.test_set} has more")
        if labels is not None:
            chosen = self.human.gather(1, labels[:, None].to(self.human.device))[:, 0]
            if float((chosen == self.human.amax(1)).double().mean()) < AGREEMENT:
                raise ValueError(f"{self.file} is about other images than {self.test_set}, or another order of them")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._begin(pl_module, trainer.val_dataloaders)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self._begin(pl_module, trainer.test_dataloaders)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Compare a batch.

        Raises:
            TypeError: If logits or index are not there.
            ValueError: If there are other classes than in the file.
        """
        if dataloader_idx != self.place:
            return
        if not isinstance(outputs, Tensor) or not hasattr(batch, "index") or callable(batch.index):
            raise TypeError(
                "HumanUncertainty needs validation and test steps that return the logits, and batches with the field "
                f"index; got {type(outputs).__name__} and {type(batch).__name__}"
            )
        if outputs.shape[1:] != self.human.shape[1:]:
            raise ValueError(f"{self.file} has {self.human.shape[1]} classes, the logits {tuple(outputs.shape[1:])}")
        self.metrics.update(outputs, self.human[batch.index])

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Compare a batch."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means over the whole test set."""
        pl_module.log_dict({self.metric(name): mean for name, mean in self.metrics.compute().items()})
        self.metrics.reset()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means over the whole test set."""
        self.on_validation_epoch_end(trainer, pl_module)

    def _begin(self, pl_module: LightningModule, loaders: Any) -> None:
        """Find the test set.

        Raises:
            ValueError: If it is not there, or not what the file is about.
        """
        sets = named_sets(loaders, self.test_set)  # of one without a name it is taken to be that one
        self.check({name: loader.dataset for name, loader in sets.items()})
        self.place = list(sets).index(self.test_set)
        self.human = self.human.to(pl_module.device)
        self.metrics = self.metrics.to(pl_module.device)
        self.metrics.reset()


class HumanMetrics(Metric):
    """Comparison of a network's probabilities q with the shares p of people who chose each class.

    `compute` gives means over images: `accuracy` (p of the class the network predicts), `agreement` (share of images
    where no class was chosen by more people than the predicted one), `cross_entropy` (-sum p log q, in nats) and
    `divergence` (the Kullback-Leibler divergence sum p log p/q, in nats); `calibration_error` (over 15 bins of equal
    width by the predicted class's q, the mean distance of mean q and mean p of that class: the expected calibration
    error of Guo et al. 2017 with people's shares as outcome) and, unless either is constant, `entropy_correlation`
    (Pearson's, of the entropies of p and q over the images). States are float64 sums, so the values hold for all
    devices together.
    """

    NAMES = ("accuracy", "agreement", "cross_entropy", "divergence")  # of the means
    full_state_update = False
    means: Tensor
    bins: Tensor
    moments: Tensor

    def __init__(self) -> None:
        super().__init__()
        # images, p of the predicted class, agreements, cross-entropy, divergence
        self.add_state("means", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")
        # confidence less p of the predicted class, by bin
        self.add_state("bins", torch.zeros(BINS, dtype=torch.float64), dist_reduce_fx="sum")
        # of human and network entropy: sums, sums of squares, sum of products
        self.add_state("moments", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, human: Tensor) -> None:
        """Add a batch; nothing leaves the device.

        Args:
            logits: (n, classes).
            human: Shares p (n, classes), float64.
        """
        log_q = logits.detach().double().log_softmax(1)
        confidence, predicted = log_q.exp().max(1)
        chosen = human.gather(1, predicted[:, None])[:, 0]
        cross_entropy, human_entropy = -(human * log_q).sum(1), torch.special.entr(human).sum(1)
        entropy = -(log_q.exp() * log_q).nan_to_num(0.0).sum(1)  # 0 log 0 is 0
        agrees = (chosen == human.amax(1)).double()
        parts = [torch.ones_like(chosen), chosen, agrees, cross_entropy, cross_entropy - human_entropy]
        self.means += torch.stack(parts).sum(1)
        place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        self.bins += torch.zeros_like(self.bins).index_add(0, place, confidence - chosen)
        squares = [human_entropy.square(), entropy.square(), human_entropy * entropy]
        self.moments += torch.stack([human_entropy, entropy, *squares]).sum(1)

    def compute(self) -> dict[str, Tensor]:
        """Return the values over all images since the last reset."""
        count, *sums = self.means
        means = {name: total / count for name, total in zip(self.NAMES, sums, strict=True)}
        means["calibration_error"] = self.bins.abs().sum() / count
        h, q, hh, qq, hq = self.moments / count
        variances = torch.stack([hh - h * h, qq - q * q])
        if variances.min() > ROUNDING:
            means["entropy_correlation"] = (hq - h * q) / variances.prod().sqrt()
        return {name: mean.float() for name, mean in means.items()}


def read_shares(file: Path) -> Tensor:
    """Read the shares of people who chose each class: float64 (images, classes).

    Args:
        file: An .npy.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not have shares that sum to 1 in every row.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there are no human shares in {file}: fetch cifar10h-probs.npy from {SOURCE}")
    try:
        shares = np.load(file, allow_pickle=False)
    except Exception as error:  # whatever a damaged file brings about
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file} cannot be read as an .npy of numbers ({type(error).__name__}: {reason})") from None
    if not isinstance(shares, np.ndarray) or shares.ndim != 2 or shares.dtype.kind != "f" or not shares.size:
        form = f"{shares.dtype} {shares.shape}" if isinstance(shares, np.ndarray) else "several arrays"
        raise ValueError(f"{file} must have floating-point shares (images, classes), got {form}")
    wrong = ~((shares >= 0).all(1) & (shares <= 1).all(1) & (abs(shares.sum(1) - 1) < 1e-6))
    if wrong.any():
        raise ValueError(f"{file} must have shares in [0, 1] that sum to 1 in every row; row {wrong.argmax()} does not")
    shares = shares.astype(np.float64)
    if shares.shape == (10_000, 10) and hashlib.sha256(shares.tobytes()).hexdigest() != DIGEST:
        raise ValueError(f"{file} is damaged: its shares are not those of CIFAR-10H; fetch it from {SOURCE}")
    return torch.from_numpy(shares)
