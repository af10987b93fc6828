"""Networks that are wider or narrower than the one of the paper."""

from collections.abc import Sequence

MOST_LAYERS = 10_000


def check_depth(depth: int, least: int = 0) -> None:
    """Refuse a number of layers that no network has.

    Args:
        depth: The number.
        least: The smallest that is right.

    Raises:
        ValueError: If it is out of range.
    """
    if not least <= depth <= MOST_LAYERS:
        raise ValueError(f"depth must be from {least} to {MOST_LAYERS:,} layers, got {depth}")


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
