"""A random part of the training set."""

import torch

from stratoscope.datamodules.batch import Batch, Sets
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.draws import permutations, raw_bits


class RandomSubset(Corruption):
    """A random part of the training set, in the original order; test sets stay.

    With one seed a smaller part is inside every larger one. What comes after it in a list of corruptions sees the part
    only; a corruption before it does to a sample what it would do without it.

    Args:
        n: Number of samples kept.
        balanced: Whether every class of the true labels keeps equally many (but for one sample, where n does not
            divide by the classes).
        seed: Decides the samples; None takes the run's.
    """

    def __init__(self, n: int, balanced: bool = False, seed: int | None = None) -> None:
        super().__init__(seed)
        if n < 1:
            raise ValueError(f"a subset must have n of 1 or more samples, got {n}")
        self.n, self.balanced = n, balanced

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Choose samples.

        Raises:
            ValueError: If there are not enough.
        """
        train = sets["train"]
        order = torch.from_numpy(permutations(raw_bits(self.seed, "subset", len(train.index))))
        if self.balanced:
            label = train.true_label[order]
            turn = torch.zeros_like(label)  # how many of its class come before a sample
            for of_class in range(classes):
                turn[label == of_class] = torch.arange(int((label == of_class).sum()))
            full = -(-self.n // classes)
            if len(chosen := order[turn < full]) < full * classes:
                raise ValueError(f"a balanced subset of {self.n} needs {full} samples of each of {classes} classes")
            order = chosen[turn[turn < full].argsort(stable=True)]
        if self.n > len(order):
            raise ValueError(f"a subset of {self.n} samples cannot be taken from {len(order)}")
        chosen = order[: self.n].sort().values
        return {**sets, "train": Batch(*(part[chosen] for part in train))}
