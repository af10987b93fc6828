"""Features with mean 0 and standard deviation 1, so that one ridge means the same in every layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROWS = 4096  # rows turned into float64 at a time


@dataclass(frozen=True)
class Standardisation:
    """An affine map of features, fitted on the training set and applied to every set.

    Attributes:
        mean: Mean of each feature.
        inverse_scale: One over its standard deviation; 0 for a constant feature, which so carries nothing.
    """

    mean: Float[Tensor, " d"]
    inverse_scale: Float[Tensor, " d"]

    @classmethod
    def fit(cls, features: Float[Tensor, "n d"]) -> "Standardisation":
        """Measure mean and (population) standard deviation, in float64."""
        n = features.shape[0]
        mean = torch.stack([rows.double().sum(0) for rows in features.split(ROWS)]).sum(0) / n
        squares = torch.stack([(rows.double() - mean).square().sum(0) for rows in features.split(ROWS)]).sum(0)
        deviation = (squares / n).sqrt()
        kind = torch.finfo(features.dtype)
        rounding = 8 * kind.eps * mean.abs() + kind.tiny
        inverse_scale = torch.where(deviation > rounding, 1 / deviation, 0.0)
        return cls(mean.to(features.dtype), inverse_scale.to(features.dtype))

    def __call__(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return (features - mean) * inverse_scale."""
        return (features - self.mean) * self.inverse_scale
