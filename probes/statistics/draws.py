"""Random numbers from the raw bits of PCG64, which NumPy guarantees never to change."""

import numpy as np
from numpy.typing import NDArray


def uniform(bits: np.random.PCG64, count: int) -> NDArray[np.float64]:
    """Numbers that are uniform in (0, 1).

    Args:
        bits: Where to draw from.
        count: How many.
    """
    found: NDArray[np.float64] = ((bits.random_raw(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return found


def normal(bits: np.random.PCG64, count: int) -> NDArray[np.float64]:
    """Standard normal numbers, by the inverse of their distribution function.

    Args:
        bits: Where to draw from.
        count: How many.
    """
    from scipy.special import ndtri  # heavy

    found: NDArray[np.float64] = ndtri(uniform(bits, count))
    return found
