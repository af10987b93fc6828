"""There is something to measure: features and labels are what they should be."""

import torch
from torch import Tensor

from stratoscope.probes.linear.products import finite, rows_at_once

SMALL, LARGE = 1e-70, 1e70  # between which sums of squares, and of their squares, stay in float64


def check_features(features: Tensor, name: str = "features", any_size: bool = False) -> None:
    """See whether there is something to measure.

    Features whose squares, and the squares of these, leave float64 are refused: what comes of them would look sound.
    Standardised features never are of such a size.

    Args:
        features: (n, d).
        name: What errors call them.
        any_size: Whether no squares are taken of them.

    Raises:
        ValueError: If there are none, or they are not finite, or too small or too large.
    """
    if features.numel() == 0:
        raise ValueError(f"{name} are empty: shape {tuple(features.shape)}")
    if not finite(features):
        raise ValueError(f"{name} contain NaN or infinity")
    if any_size or features.dtype != torch.float64:
        return
    largest = max(float(rows.abs().max()) for rows in features.split(rows_at_once(features)))
    if not (largest == 0 or SMALL <= largest <= LARGE):
        raise ValueError(f"{name} must be between {SMALL:g} and {LARGE:g} in size, got {largest:g}: scale them")


def check_labels(labels: Tensor, classes: int, name: str = "labels") -> None:
    """See whether labels are classes.

    Args:
        labels: One or more.
        classes: Number of classes.
        name: What errors call them.

    Raises:
        ValueError: If they are not in [0, classes).
    """
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"{name} must be in [0, {classes}), got {int(labels.min())} to {int(labels.max())}")
