"""How much memory features and fits may take: what goes beyond it is kept in files."""

from collections.abc import Mapping
from dataclasses import dataclass

from stratoscope.probes.linear.logistic import working_memory

GIB = 2**30


@dataclass(frozen=True)
class Budget:
    """How much memory the probes of one process may take.

    It knows the sizes of the sets, not their labels: where some samples have none, the others of a layer are copied, in
    memory, while it is measured and fitted (see `separability`), which takes up to the size of a layer more.

    Attributes:
        bytes: For features and for fitting; None for no bound.
        ranks: Processes that share the samples.
        problems: Label kinds times ridges fitted at once.
        classes: Number of classes.
    """

    bytes: float | None
    ranks: int
    problems: int
    classes: int

    def in_files(self, features: Mapping[str, int], fitted: int, samples: int, itemsize: int = 4) -> set[str]:
        """Which layers' features have to be kept in files.

        Args:
            features: Features per sample by layer, in the order in which they are kept in memory while they fit.
            fitted: Samples that probes are fitted on.
            samples: Samples of all sets.
            itemsize: Bytes of a feature.

        Returns:
            Names of the layers that do not fit.

        Raises:
            ValueError: If not even the fitting of the widest layer fits.
        """
        if self.bytes is None:
            return set()
        work = max(working_memory(fitted, width, self.problems, self.classes) for width in features.values())
        if work > self.bytes:
            least = work / GIB
            raise ValueError(f"a memory of {self.bytes / GIB:g} GiB is too little: fitting alone takes {least:.2g} GiB")
        held, gathered, in_files = 0, 0, set()
        for layer, width in features.items():
            share = -(-samples // self.ranks) * width * itemsize
            whole = max(gathered, samples * width * itemsize if self.ranks > 1 else 0)
            if work + held + share + whole <= self.bytes:
                held, gathered = held + share, whole
            else:
                in_files.add(layer)
        return in_files
