"""Per-image whitening, the preprocessing of Zhang et al. 2017, appendix A."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def per_image_whitening(image: Shaped[Tensor, "n channel height width"]) -> Float[Tensor, "n channel height width"]:
    """Scale pixels to [0, 1], then subtract each image's mean and divide by its standard deviation.

    Mean and (population) deviation are over all pixels and channels of the image. The deviation is not taken smaller
    than 1 / sqrt(number of entries), so that an image of equal entries becomes zero.

    Args:
        image: Pixels on the scale [0, 255], any dtype.

    Returns:
        float32 images.

    Source: TensorFlow's `per_image_standardization`, then called `per_image_whitening`.
    """
    pixels = image.float().flatten(1) / 255
    variance, mean = torch.var_mean(pixels, dim=1, correction=0, keepdim=True)
    deviation = variance.sqrt().clamp(min=pixels.shape[1] ** -0.5)
    return ((pixels - mean) / deviation).view(image.shape)
