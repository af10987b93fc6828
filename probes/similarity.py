"""How alike two layers, or one layer at two epochs, arrange the same samples."""

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.centring import Centred


def linear_cka(x: Float[Tensor, "n d1"], y: Float[Tensor, "n d2"], unbiased: bool = False) -> float:
    """Centred kernel alignment with the linear kernel, HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)).

    It is 1 for features equal up to a rotation, a scale and a shift. Over centred features X and Y, (n, d1) and (n, d2),

        HSIC(x, y) = |X'Y|^2 = tr(XX' YY'),

    up to a factor that cancels. Between independent features this is above 0, much so where n is not far above the
    widths. The unbiased estimator leaves the diagonals of K = XX' and L = YY' out (Song et al. 2012, eq. 4, HSIC_1; its
    1'K1 and K1 are here -sum_i K_ii and -K_ii, since X is centred):

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

    Source: Kornblith et al. 2019, section 3, eq. 4 and 5; unbiased as in Nguyen, Raghu & Kornblith 2021, eq. 3.
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
        raise ValueError(f"features {'x' if xx <= 0 else 'y'} differ in too few samples for unbiased CKA")
    return xy / (xx * yy) ** 0.5


def _hsic(x: Centred, y: Centred, unbiased: bool) -> float:
    """HSIC or HSIC_1 of two sets of features, up to the same factor; 0 where it is within rounding of it."""
    n, d1, d2 = len(x.features), x.features.shape[1], y.features.shape[1]
    if n * (d1 + d2) < d1 * d2:
        product = (x.gram() * y.gram()).sum()
    else:
        cross = torch.zeros(d1, d2, dtype=torch.float64, device=x.mean.device)
        for rows, others in zip(_together(x, y), _together(y, x), strict=True):
            cross += rows.T @ others
        product = cross.square().sum()
    if not unbiased:
        return float(product)
    k, l = (torch.cat([rows.square().sum(1) for rows in z.rows()]) for z in (x, y))
    left = product - n / (n - 2) * (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float(left)
