"""Activations of any shape as features of bounded width."""

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def average_pool(activation: Float[Tensor, "n ..."], width: int | None) -> Float[Tensor, "n d"]:
    """Flatten an activation to at most `width` features per sample, averaging neighbours where it has more.

    Feature maps (n, channels, height, width) are averaged over the finest square grid that fits: 64 channels and width
    1,024 give 4 x 4 means per channel. Anything else, and maps with more channels than `width`, is averaged over
    neighbouring entries of the flattened activation.

    Args:
        activation: Output of a layer for n samples.
        width: Most features per sample; None keeps all.

    Returns:
        A new float32 tensor (float64 if the activation is), never a view of the activation.
    """
    dtype = torch.float64 if activation.dtype == torch.float64 else torch.float32
    features = activation.to(dtype)
    if width is not None and features[0].numel() > width:
        side = isqrt(width // features.shape[1])
        if features.ndim == 4 and side >= 1:
            features = functional.adaptive_avg_pool2d(
                features, (min(side, features.shape[2]), min(side, features.shape[3]))
            )
        else:
            features = functional.adaptive_avg_pool1d(features.flatten(1), width)
    features = features.flatten(1)
    shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
    return features.clone(memory_format=torch.contiguous_format) if shared else features.contiguous()
