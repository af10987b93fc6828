"""Features with mean 0 and standard deviation 1, so that one ridge means the same in every layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.products import rows_at_once


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
        n, first = len(features), features[0].double()
        total, squares = torch.zeros_like(first), torch.zeros_like(first)
        for rows in features.split(rows_at_once(features)):
            shifted = rows.double() - first  # near the mean, or no farther than the data: their squares do not cancel
            total += shifted.sum(0)
            squares += shifted.square_().sum(0)
        mean = first + total / n
        deviation = (squares / n - (total / n).square()).clamp(min=0).sqrt()
        kind = torch.finfo(features.dtype)
        rounding = 8 * kind.eps * mean.abs() + kind.tiny
        inverse_scale = torch.where(deviation > rounding, 1 / deviation, 0.0)
        return cls(mean.to(features.dtype), inverse_scale.to(features.dtype))

    def __call__(self, features: Float[Tensor, "n d"], in_place: bool = False) -> Float[Tensor, "n d"]:
        """Return (features - mean) * inverse_scale, in their own memory if `in_place`."""
        standardised = features if in_place else torch.empty_like(features)
        for rows, out in zip(
            features.split(rows_at_once(features)), standardised.split(rows_at_once(features)), strict=True
        ):
            torch.sub(rows, self.mean, out=out)
            out *= self.inverse_scale
        return standardised
