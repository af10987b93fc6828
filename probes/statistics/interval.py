"""How sure a counted accuracy is."""

from math import sqrt

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson(correct: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion; unlike p +- z s it stays in [0, 1] and holds at 0 and 1.

    Args:
        correct: Number of successes.
        count: Number of trials, above 0.
        z: Normal quantile; the default gives 95 %.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If correct is not in [0, count] or count is 0.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209-212.
    """
    if not 0 <= correct <= count or count == 0:
        raise ValueError(f"correct must be in [0, count] and count above 0, got {correct} of {count}")
    p = correct / count
    centre = p + z * z / (2 * count)
    spread = z * sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
