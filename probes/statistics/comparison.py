"""Whether one of two classifiers is better, on the same test samples."""

from dataclasses import dataclass
from math import log, sqrt

import torch
from jaxtyping import Bool
from torch import Tensor

from stratoscope.probes.statistics.interval import wilson


@dataclass(frozen=True)
class Comparison:
    """Two classifiers, a and b, on the same samples.

    Attributes:
        count: Samples.
        only_a: Samples that only a classifies correctly.
        only_b: Samples that only b classifies correctly.
        difference: Accuracy of a minus accuracy of b.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: Probability, were both equally good, of counts `only_a` and `only_b` at least as unequal.
    """

    count: int
    only_a: int
    only_b: int
    difference: float
    low: float
    high: float
    p_value: float


def compare(correct_a: Bool[Tensor, " n"], correct_b: Bool[Tensor, " n"]) -> Comparison:
    """McNemar's test of two classifiers on the same samples, and an interval for the difference of their accuracies.

    Only samples on which they differ tell them apart. If both are equally good, each of these is as likely to be a's
    as b's: the p-value is that of the exact two-sided binomial test, at any number of samples. The interval is
    Newcombe's for paired proportions (method 10), made from two Wilson intervals and the correlation of the two.
    Interval and test are made differently and can disagree near p = 0.05.

    Args:
        correct_a: Which samples a classifies correctly.
        correct_b: Which samples b does, in the same order.

    Returns:
        Counts, difference, its 95 % interval, and p-value.

    Raises:
        ValueError: If there are no samples, or not the same number.

    Source: McNemar 1947, Psychometrika 12:153-157; Newcombe 1998, Statistics in Medicine 17:2635-2650.
    """
    if correct_a.shape != correct_b.shape or correct_a.numel() == 0:
        raise ValueError(f"both need the same samples, one at least, got {len(correct_a)} and {len(correct_b)}")
    n = len(correct_a)
    both, only_a = int((correct_a & correct_b).sum()), int((correct_a & ~correct_b).sum())
    only_b = int((~correct_a & correct_b).sum())
    difference = (only_a - only_b) / n
    low, high = _newcombe(both, only_a, only_b, n - both - only_a - only_b)
    return Comparison(n, only_a, only_b, difference, low, high, _binomial(only_a, only_b))


def _binomial(b: int, c: int) -> float:
    """Two-sided exact p-value of b against c at odds 1 : 1, twice the smaller tail."""
    m = b + c
    i = torch.arange(min(b, c) + 1, dtype=torch.float64)
    total = torch.tensor(float(m), dtype=torch.float64)
    log_share = torch.lgamma(total + 1) - torch.lgamma(i + 1) - torch.lgamma(total - i + 1) - m * log(2)
    return min(1.0, 2 * float(log_share.logsumexp(0).exp()))


def _newcombe(e: int, f: int, g: int, h: int) -> tuple[float, float]:
    """95 % interval of (f - g)/n: both have e samples right, only the first f, only the second g, neither h."""
    n = e + f + g + h
    p1, p2 = (e + f) / n, (e + g) / n
    (l1, u1), (l2, u2) = wilson(e + f, n), wilson(e + g, n)
    margins = (e + f) * (g + h) * (e + g) * (f + h)
    association = float(e * h - f * g)
    if association > 0:
        association = max(association - n / 2, 0.0)  # the continuity correction that makes method 8 method 10
    phi = association / sqrt(margins) if margins else 0.0
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    difference = (f - g) / n
    return difference - sqrt(max(below, 0.0)), difference + sqrt(max(above, 0.0))
