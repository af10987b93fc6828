"""How many directions the features of a layer spread over."""

import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.reading.centring import Centred


def spectrum(features: Float[Tensor, "n d"]) -> Float[Tensor, " r"]:
    """Eigenvalues of the covariance 1/n sum_i (x_i - mean)(x_i - mean)', of which at most r = min(n, d) are not zero.

    They are computed in float64, from the covariance (d, d) or, where there are fewer samples than features, from the
    inner products (n, n), in time O(n d r + r^3). What lies below the rounding of this computation is set to 0; the
    rounding of the features themselves is not removed: in float32 it gives a direction a standard deviation of some
    1e-7 of the largest.

    Args:
        features: One row per sample.

    Returns:
        Variances along the principal directions, largest first, in float64; all 0 if the features are constant.

    Raises:
        ValueError: If the features are empty or not finite.
    """
    n, d = features.shape
    x = Centred.of(features)
    if x.constant():
        return torch.zeros(min(n, d), dtype=torch.float64, device=features.device)
    if n < d:
        moments = x.gram()
    else:
        moments = torch.zeros(d, d, dtype=torch.float64, device=features.device)
        for rows in x.rows():
            moments += rows.T @ rows
    variances = torch.linalg.eigvalsh(moments / n).flip(0)
    rounding = max(n, d) * torch.finfo(torch.float64).eps * variances[0]
    return torch.where(variances > rounding, variances, 0.0)


def effective_rank(variances: Float[Tensor, " r"]) -> float:
    """Effective rank, over the singular values s_k of centred features.

        exp(-sum_k p_k log p_k),    p_k = s_k / sum_j s_j.

    It is d where all directions vary alike, 1 on a line, and no more than the rank.

    Args:
        variances: Eigenvalues of the covariance, from `spectrum`: s_k is proportional to their square root.

    Returns:
        A number in [1, r]; 0 for constant features.

    Raises:
        ValueError: If a variance is negative or not finite.

    Source: Roy & Vetterli 2007, EUSIPCO, pp. 606-610, section 2; there of any matrix, here of centred features.
    """
    _check(variances)
    s = variances.double().sqrt()
    if not bool(s.any()):
        return 0.0
    return float(torch.special.entr(s / s.sum()).sum().exp())


def participation_ratio(variances: Float[Tensor, " r"]) -> float:
    """Participation ratio of the variances v_k: a rank that weak directions hardly count in.

        (sum_k v_k)^2 / sum_k v_k^2.

    Args:
        variances: Eigenvalues of the covariance, from `spectrum`.

    Returns:
        A number in [1, r]; 0 for constant features.

    Raises:
        ValueError: If a variance is negative or not finite.

    Source: Gao et al. 2017, bioRxiv 214262 (its dimension of neural data).
    """
    _check(variances)
    if not bool(variances.any()):
        return 0.0
    v = variances.double() / variances.max()
    return float(v.sum().square() / v.square().sum())


def _check(variances: Tensor) -> None:
    if not bool(torch.isfinite(variances).all()) or bool((variances < 0).any()):
        raise ValueError("variances must be finite and not negative")
