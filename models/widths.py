"""Networks that are wider or narrower than the one of the paper."""

from collections.abc import Sequence


def widened(widths: Sequence[int], multiplier: float) -> list[int]:
    """Channels or units times a factor, rounded, at least one.

    Args:
        widths: Those of the paper.
        multiplier: The factor.

    Raises:
        ValueError: If it is not above 0.
    """
    if not multiplier > 0:
        raise ValueError(f"width_multiplier must be above 0, got {multiplier}")
    return [max(1, round(multiplier * width)) for width in widths]
