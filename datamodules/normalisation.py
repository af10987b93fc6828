"""From pixels to what the network sees: the preprocessing of the papers, by name."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Images = Shaped[Tensor, "n channel height width"]
Normalised = Float[Tensor, "n channel height width"]
Name = Literal["per_image", "per_channel", "unit", "centred", "imagenet"]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # red, green, blue on [0, 1]: mean, standard deviation


def normalisation(name: Name, train: Images) -> Callable[[Images], Normalised]:
    """Make the function that turns pixels in [0, 255] into network inputs: float32, but float64 of float64.

    Args:
        name: `per_image` (`per_image_whitening`: Zhang et al. 2017); `per_channel` (subtract each channel's mean over
            all training pixels and divide by its standard deviation: ResNets); `unit` (divide by 255: Keskar et al.
            2017); `centred` (to [-1/2, 1/2]: subtract 127.5, divide by 255: Alain & Bengio 2016); `imagenet` (the means
            and deviations of ImageNet's channels, which torchvision's trained weights expect).
        train: The training images as they are after corruption, for `per_channel`.

    Raises:
        ValueError: If there is no such normalisation, or `imagenet` is asked for images that are not of 3 channels.
    """
    if name == "per_image":
        return per_image_whitening
    if name == "per_channel":
        mean, deviation = channel_statistics(train)
        return _Affine(mean.float()[None], deviation.clamp(min=1e-3).float()[None])
    if name in {"unit", "centred"}:
        return _Affine(torch.tensor([[127.5 if name == "centred" else 0.0]]), torch.tensor([[255.0]]))
    if name == "imagenet":
        if train.shape[1] != 3:
            raise ValueError(f"normalisation imagenet is for images of 3 channels, these have {train.shape[1]}")
        mean, deviation = 255 * torch.tensor(IMAGENET)
        return _Affine(mean[None], deviation[None])
    raise ValueError(f"normalisation must be {', '.join(get_args(Name))}; got {name}")


def per_image_whitening(image: Images) -> Normalised:
    """Subtract each image's mean and divide by its standard deviation, over all its pixels and channels.

    The (population) deviation of the pixels, on the scale [0, 1], is not taken smaller than 1 / sqrt(number of
    entries), so that an image of equal entries becomes zero.

    Args:
        image: Pixels on the scale [0, 255], any dtype.

    Returns:
        float32 images; of float64 images, which are more exact, float64.

    Source: TensorFlow's `per_image_standardization`, then called `per_image_whitening` (Zhang et al. 2017, appendix A).
    """
    pixels = image.flatten(1).to(_precision(image), copy=True)
    pixels -= pixels.mean(1, keepdim=True)
    root = pixels.shape[1] ** 0.5
    norm = torch.linalg.vector_norm(pixels, dim=1, keepdim=True)
    return pixels.div_((norm / root).clamp(min=255 / root)).view(image.shape)


def channel_statistics(image: Images) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
    """Mean and (population) standard deviation of every channel over all images, in float64 from exact sums."""
    total, squares = torch.zeros(2, image.shape[1], dtype=torch.float64).unbind()
    for chunk in image.split(1000):
        pixels = chunk.transpose(0, 1).flatten(1).double()
        total, squares = total + pixels.sum(1), squares + pixels.square().sum(1)
    entries = image[:, 0].numel()
    mean = total / entries
    return mean, (squares / entries - mean.square()).clamp(min=0).sqrt()


def _precision(image: Images) -> torch.dtype:
    return torch.float64 if image.dtype == torch.float64 else torch.float32


class _Affine:
    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        self.shift, self.scale = shift[:, :, None, None], scale[:, :, None, None]

    def __call__(self, image: Images) -> Normalised:
        if self.shift.device != image.device:  # once: no transfer in a training step
            self.shift, self.scale = self.shift.to(image.device), self.scale.to(image.device)
        return (image.to(_precision(image)) - self.shift) / self.scale
