"""Features with mean 0 and standard deviation 1, so that one ridge means the same in every layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.checks import LARGE, SMALL
from stratoscope.probes.linear.products import rows_at_once


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
        """Measure mean and (population) standard deviation, in float64.

        Raises:
            ValueError: If all that varies does so by less than the type's normal numbers.
        """
        n = len(features)
        # each feature in a unit of its own, a power of 2: no square is too large or too small, and no digit changes
        unit = _unit(features)
        first = features[0].double() / (1 if unit is None else unit)
        total, squares = torch.zeros_like(first), torch.zeros_like(first)
        for rows in features.split(rows_at_once(features)):
            # near the mean, or no farther than the data: their squares do not cancel
            shifted = rows.double() - first if unit is None else (rows / unit).sub_(first)
            total += shifted.sum(0)
            squares += shifted.square_().sum(0)
        mean = first + total / n
        deviation = (squares / n - (total / n).square()).clamp(min=0).sqrt()
        if unit is not None:
            mean, deviation = mean * unit, deviation * unit
        kind = torch.finfo(features.dtype)
        rounding = 8 * kind.eps * mean.abs()
        varies = deviation > rounding + kind.tiny
        if not bool(varies.any()) and bool((deviation > rounding).any()):
            raise ValueError(
                f"features vary by less than {kind.tiny:.0e}, the smallest {features.dtype} with all digits"
            )
        inverse_scale = torch.where(varies, 1 / deviation, 0.0)
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


def _unit(features: Float[Tensor, "n d"]) -> Float[Tensor, " d"] | None:
    """For each feature a power of 2 that its largest value is near to; None where all squares fit, as of float32."""
    if features.dtype != torch.float64:
        return None
    largest = torch.stack([rows.abs().amax(0) for rows in features.split(rows_at_once(features))]).amax(0)
    fits = (largest > SMALL) & (largest < LARGE) | ~largest.isfinite() | (largest == 0)
    if bool(fits.all()):
        return None
    exponent = torch.where(fits, 0, torch.frexp(largest).exponent).clamp(-1021, 1023)
    return torch.ldexp(torch.ones_like(largest), exponent)
