"""How alike two layers, or one layer at two epochs, arrange the same samples."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.reading.centring import Centred


def linear_cka(x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"], unbiased: bool = False) -> float:
    """Centred kernel alignment with the linear kernel, HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)).

    It is 1 for features equal up to rotation, scale and shift. Over centred features X and Y, (n, d1) and (n, d2),

        HSIC(x, y) = |X'Y|^2 = tr(XX' YY'),

    up to a factor that cancels. Between independent features this is above 0, much so where n is not far above the
    widths. The unbiased estimator leaves the diagonals of K = XX' and L = YY' out (HSIC_1 of Song et al. 2012; as X is
    centred, row i of K without its diagonal sums to -K_ii):

        HSIC_1(x, y) = |X'Y|^2 - n/(n - 2) sum_i K_ii L_ii + sum_i K_ii sum_i L_ii / ((n - 1)(n - 2)),

    up to the same factor; the ratio is then 0 on average for independent features, and may be negative. All is computed
    in float64, in feature space, O(n d1 d2), or in sample space, O(n^2 (d1 + d2)), whichever is less work.

    Args:
        x: Features of n samples in one layer.
        y: Features of the same samples, in the same order, in another, of any width.
        unbiased: Whether to use HSIC_1; it needs at least 4 samples.

    Returns:
        A number in [0, 1], or in [-1, 1] if unbiased.

    Raises:
        ValueError: If features are constant, empty or not finite, or there are too few samples.

    Source: Kornblith et al. 2019, ICML, section 3 and table 1; unbiased as in Nguyen, Raghu & Kornblith 2021, ICLR,
    from Song et al. 2012, JMLR 13:1393-1434.
    """
    if len(x) != len(y):
        raise ValueError(f"x and y must be features of the same samples, got {len(x)} and {len(y)} rows")
    if unbiased and len(x) < 4:
        raise ValueError(f"unbiased CKA needs at least 4 samples, got {len(x)}")
    a, b = Centred.of(x, "features x"), Centred.of(y, "features y")
    for name, features in (("x", a), ("y", b)):
        if features.constant():
            raise ValueError(f"features {name} are constant: their similarity to others is not defined")
    xy, xx, yy = (_hsic(*pair, unbiased) for pair in ((a, b), (a, a), (b, b)))
    if min(xx, yy) <= 0:
        raise ValueError(f"features {'x' if xx <= 0 else 'y'} vary in too few samples for unbiased CKA")
    return max(-1.0, min(1.0, xy / sqrt(xx) / sqrt(yy)))  # rounding may lead just beyond


@dataclass(frozen=True)
class Arrangement:
    """How a layer arranges n samples, for comparisons with many others: inner products of the centred features.

    Attributes:
        gram: K = XX', in float64.
    """

    gram: Float[Tensor, "n n"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> "Arrangement":
        """Take the inner products.

        Args:
            features: One row per sample; at least 4.

        Raises:
            ValueError: As in `linear_cka`.
        """
        if len(features) < 4:
            raise ValueError(f"unbiased CKA needs at least 4 samples, got {len(features)}")
        x = Centred.of(features)
        if x.constant():
            raise ValueError("features are constant: their similarity to others is not defined")
        return cls(x.gram())

    def cka(self, other: "Arrangement") -> float:
        """Unbiased linear CKA with another arrangement of the same samples, as `linear_cka` gives it.

        Raises:
            ValueError: If features vary in too few samples.
        """
        xy, xx, yy = (
            _without_diagonal((a.gram * b.gram).sum(), a.gram.diagonal(), b.gram.diagonal())
            for a, b in ((self, other), (self, self), (other, other))
        )
        if min(xx, yy) <= 0:
            raise ValueError("features vary in too few samples for unbiased CKA")
        return max(-1.0, min(1.0, xy / sqrt(xx) / sqrt(yy)))


def _hsic(x: Centred, y: Centred, unbiased: bool) -> float:
    """HSIC or HSIC_1, up to their common factor."""
    n, d1, d2 = len(x.features), x.features.shape[1], y.features.shape[1]
    size = min(x.size, y.size)
    if n * (d1 + d2) < d1 * d2:
        hsic = (x.gram() * y.gram()).sum()
    else:
        product = torch.zeros(d1, d2, dtype=torch.float64, device=x.mean.device)
        for rows_x, rows_y in zip(x.rows(size), y.rows(size), strict=True):
            product += rows_x.T @ rows_y
        hsic = product.square().sum()
    if not unbiased:
        return float(hsic)
    k, m = (torch.cat([rows.square().sum(1) for rows in z.rows()]) for z in (x, y))  # diagonals of K and L
    return _without_diagonal(hsic, k, m)


def _without_diagonal(hsic: Tensor, k: Float[Tensor, " n"], m: Float[Tensor, " n"]) -> float:
    """HSIC_1 from HSIC and the diagonals of K and L; 0 if it is less than rounding."""
    n = len(k)
    rounding = n * torch.finfo(torch.float64).eps * (hsic + k @ m)
    hsic_1 = hsic - n / (n - 2) * (k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(torch.where(hsic_1.abs() > rounding, hsic_1, 0.0))
