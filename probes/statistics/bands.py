"""How far a curve's mean over seeds can be trusted."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

ENTRIES = 2**22  # means held at a time (32 MiB)


def bootstrap_band(
    values: Float[Tensor, "seeds points"], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"], Float[Tensor, " points"]]:
    """Mean over seeds at every point, and its percentile bootstrap interval.

    Seeds are drawn with replacement, whole curves, so all points share their draws; the ends are quantiles of the means
    of the draws. Draws come from the raw bits of PCG64 and never change.

    With few seeds the band is too narrow: with 2 or 3 at 95 % it is their range, which holds the true mean of normal
    values in 50 % or 75 % of cases; a figure should say how many seeds it shows. One seed has no spread to draw from:
    both ends are the mean, a band of width 0 that plots without special cases and pretends nothing.

    Args:
        values: One curve per seed (run).
        confidence: Share of the draws' means inside the band, in (0, 1).
        resamples: Number of draws.
        seed: Decides the draws.

    Returns:
        Lower end, mean and upper end at every point, float32 (float64 if the values are). A point at which a seed has
        NaN has NaN for all three.

    Raises:
        ValueError: If there are no values or no draws, or the confidence is not in (0, 1).

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if values.numel() == 0 or resamples < 1:
        raise ValueError(f"a band needs values and draws, got shape {tuple(values.shape)} and {resamples} draws")
    mean = values.double().mean(0)
    deviation = values.double() - mean
    counts = _draws(len(values), resamples, seed).to(values.device)
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64, device=values.device)
    blocks = deviation.split(max(1, ENTRIES // resamples), dim=1)
    low, high = mean + torch.cat([(counts @ block / len(values)).quantile(ends, dim=0) for block in blocks], dim=1)
    kept = values.dtype if values.dtype == torch.float64 else torch.float32
    return low.to(kept), mean.to(kept), high.to(kept)


def _draws(seeds: int, resamples: int, seed: int) -> Float[Tensor, "resamples seeds"]:
    """How often each draw contains each seed."""
    bits = np.random.PCG64(seed).random_raw(resamples * seeds)
    chosen = ((bits >> np.uint64(32)) * np.uint64(seeds)) >> np.uint64(32)  # uniform in [0, seeds), from the upper half
    places = torch.from_numpy(chosen.astype(np.int64)).view(resamples, seeds)
    return torch.zeros(resamples, seeds, dtype=torch.float64).scatter_add_(
        1, places, torch.ones(resamples, seeds, dtype=torch.float64)
    )
