"""Wrong labels: redrawn uniformly (Zhang et al. 2017, section 2.1) or after a confusion matrix. Test labels stay."""

from collections.abc import Sequence

import numpy as np
import torch

from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.draws import integers, raw_bits, uniform

ALIKE = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # CIFAR-10: truck > automobile, bird > airplane, deer > horse, cat <> dog


class PartialLabels(Corruption):
    """Each training label is, with probability p, redrawn uniformly over all classes (partially corrupted labels).

    A redraw may hit the old class, so a share p (1 - 1/classes) of the labels really changes. With one seed the samples
    redrawn at a smaller p are among those redrawn at a larger one, to the same new labels.

    Args:
        p: Probability of a redraw, in [0, 1]; or one for each class of the label.
        seed: Decides which labels are redrawn, and to what; None takes the run's.
    """

    def __init__(self, p: float | list[float], seed: int | None = None) -> None:
        super().__init__(seed)
        self.p = p
        for share in p if isinstance(p, Sequence) else [p]:
            if not 0 <= share <= 1:
                raise ValueError(f"label noise p must be in [0, 1], got {share}")

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Redraw training labels.

        Raises:
            ValueError: If p has not one entry per class.
        """
        train = sets["train"]
        if isinstance(self.p, Sequence) and len(self.p) != classes:
            raise ValueError(f"label noise p must have one entry for each of {classes} classes, got {len(self.p)}")
        bits = raw_bits(self.seed, "labels", 2 * len(train.given_label)).reshape(-1, 2)
        p = torch.as_tensor(self.p, dtype=torch.float64).expand(classes)[train.given_label]
        redrawn = torch.from_numpy(uniform(bits[:, 0])) < p
        drawn = torch.from_numpy(integers(bits[:, 1], classes))
        return {**sets, "train": train._replace(given_label=torch.where(redrawn, drawn, train.given_label))}


class RandomLabels(PartialLabels):
    """Every training label is replaced by a random one: `PartialLabels` with p = 1.

    Args:
        seed: Decides the labels; None takes the run's.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, seed)


class ConfusedLabels(Corruption):
    """Each training label is redrawn from the row of a confusion matrix that belongs to it (asymmetric label noise).

    Args:
        matrix: One row per class of the label, of probabilities for the label given: they sum to 1.
        seed: Decides the labels; None takes the run's.
    """

    def __init__(self, matrix: list[list[float]], seed: int | None = None) -> None:
        super().__init__(seed)
        rows = [np.asarray(row, dtype=np.float64) for row in matrix]
        for number, row in enumerate(rows):
            if len(row) != len(rows):
                raise ValueError(f"confusion matrix must be square; row {number} of {len(rows)} has {len(row)} entries")
            if not (row >= 0).all() or abs(row.sum() - 1) > 1e-6:
                raise ValueError(f"confusion matrix rows must be probabilities that sum to 1; row {number} does not")
        self.matrix = matrix

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Redraw training labels.

        Raises:
            ValueError: If the matrix is for another number of classes.
        """
        train = sets["train"]
        if len(self.matrix) != classes:
            raise ValueError(f"confusion matrix must have {classes} rows, one per class, got {len(self.matrix)}")
        rows = torch.tensor(self.matrix, dtype=torch.float64)
        rows = rows / rows.sum(1, keepdim=True)
        bounds = rows.cumsum(1)[:, :-1]
        bounds[rows.flip(1).cumsum(1).flip(1)[:, 1:] == 0] = 1  # rounding must not reach classes of probability 0
        drawn = torch.from_numpy(uniform(raw_bits(self.seed, "confused labels", len(train.given_label))))
        label = (drawn[:, None] >= bounds[train.given_label]).sum(1)
        return {**sets, "train": train._replace(given_label=label)}


class AsymmetricLabels(ConfusedLabels):
    """Training labels of CIFAR-10 flip, with probability p, to the class most like theirs.

    Trucks become automobiles, birds airplanes, deer horses, cats dogs and dogs cats, as in Patrini et al. 2017 (section
    5); the other five classes stay. For other data sets there is `ConfusedLabels`.

    Args:
        p: Probability of a flip, in [0, 1].
        seed: Decides which labels flip; None takes the run's.
    """

    only_for = "CIFAR10"

    def __init__(self, p: float, seed: int | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"label noise p must be in [0, 1], got {p}")
        matrix = np.eye(10)
        for label, like in ALIKE.items():
            matrix[label, label], matrix[label, like] = 1 - p, p
        super().__init__(matrix.tolist(), seed)
        self.p = p
