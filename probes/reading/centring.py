"""Features less their mean, in float64, a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.checks import check_features
from stratoscope.probes.reading.standardisation import Standardisation

ROWS = 4096  # rows turned into float64 at a time, at most
ENTRIES = 2**22  # and entries (32 MB)


@dataclass(frozen=True)
class Centred:
    """Features x_i of n samples, to be read as x_i - mean.

    Attributes:
        features: The features as they are, in any floating-point type.
        mean: Their mean in float64.
    """

    features: Float[Tensor, "n d"]
    mean: Float[Tensor, " d"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], name: str = "features") -> "Centred":
        """Measure the mean.

        Args:
            features: One row per sample.
            name: What errors call them.

        Raises:
            ValueError: If there is nothing to measure (see `check_features`).
        """
        check_features(features, name)
        total = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
        for rows in features.split(_size(features.shape[1])):
            total += rows.double().sum(0)
        return cls(features, total / len(features))

    @property
    def size(self) -> int:
        """Rows read at a time unless said otherwise."""
        return _size(self.features.shape[1])

    def rows(self, size: int | None = None) -> Iterator[Float[Tensor, "r d"]]:
        """The rows less the mean, `size` at a time."""
        for rows in self.features.split(size or self.size):
            yield rows.double() - self.mean

    def columns(self) -> Iterator[Float[Tensor, "n b"]]:
        """The columns less the mean, some at a time."""
        size = _size(len(self.features))
        for columns, mean in zip(self.features.split(size, dim=1), self.mean.split(size), strict=True):
            yield columns.double() - mean

    def gram(self) -> Float[Tensor, "n n"]:
        """The inner products of the rows less the mean."""
        gram = self.mean.new_zeros(len(self.features), len(self.features))
        for columns in self.columns():
            gram.addmm_(columns, columns.T)
        return gram

    def constant(self) -> bool:
        """Whether no feature varies by more than rounding (see `Standardisation`)."""
        return not bool(Standardisation.fit(self.features).inverse_scale.any())


def _size(width: int) -> int:
    return min(ROWS, max(1, ENTRIES // width))
