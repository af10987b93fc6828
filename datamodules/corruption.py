"""What is done to the data: corruptions, each a pure function of (data, seed).

A corruption is drawn once for a whole data set: it does not change between epochs, nor with ranks, workers or machines.
Several are applied in the order of their list.
"""

from abc import ABC, abstractmethod

from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.draws import run_seed


class Corruption(ABC):
    """A change of a data set, drawn once from a seed.

    A subclass that takes `seed: int | None = None`, and passes it on, has its seed in every stored config, and so the
    same data wherever a checkpoint is evaluated. One that takes none follows `seed_everything` of that command.

    Args:
        seed: Decides the draws; None takes the run's, that of `seed_everything`.

    Attributes:
        only_for: The data set it is about, if it says something about one only.
    """

    only_for: str = ""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    @property
    def seed(self) -> int:
        """Decides the draws: its own seed or else, when it is asked for, the run's."""
        return run_seed() if self._seed is None else self._seed

    @seed.setter
    def seed(self, seed: int | None) -> None:
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}")
        self._seed = seed

    @abstractmethod
    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Return the corrupted sets; the given ones are left as they are.

        Args:
            sets: The set `train` and the test sets by name, images uint8 (or what an earlier corruption made of them).
            classes: Number of classes.
        """
