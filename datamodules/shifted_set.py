"""A further test set beside the original one: what it is called, and where it comes from."""

from abc import ABC, abstractmethod

from stratoscope.datamodules.batch import Batch


class ShiftedSet(ABC):
    """Images of the same classes as a data set's, from elsewhere.

    Attributes:
        name: What it is called in metrics and probe tables.
        classes: Number of classes.
    """

    name: str
    classes: int = 10

    @abstractmethod
    def load(self) -> Batch:
        """Return the set: uint8 images of the size the data set has before its crop, in original order."""
