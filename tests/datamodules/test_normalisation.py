"""Tests of datamodules/normalisation.py."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from stratoscope.datamodules.normalisation import Name, channel_statistics, normalisation, per_image_whitening

NAMES: tuple[Name, ...] = get_args(Name)
each = pytest.mark.parametrize("name", NAMES)


def formula(image: Tensor) -> Tensor:
    """TensorFlow's per_image_standardization of pixels / 255, in float64 and without torch."""
    pixels: NDArray[np.float64] = image.numpy().astype(np.float64) / 255
    axes = (1, 2, 3)
    mean, deviation = pixels.mean(axes, keepdims=True), pixels.std(axes, keepdims=True)
    entries = pixels[0].size
    return torch.from_numpy((pixels - mean) / np.maximum(deviation, 1 / np.sqrt(entries)))


def images(n: int = 5) -> Tensor:
    """Random uint8 images of different contrast."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (n, 3, 28, 28), generator=generator)
    return (noise // torch.arange(1, n + 1).view(-1, 1, 1, 1)).to(torch.uint8)


def test_equals_the_formula_on_uint8() -> None:
    """Whitened uint8 images equal the formula in float64, to 1e-5."""
    whitened = per_image_whitening(images())
    assert whitened.dtype == torch.float32
    assert_close(whitened.double(), formula(images()), rtol=0, atol=1e-5)


def test_equals_the_formula_on_float16() -> None:
    """Half-precision pixels below 0 and above 255 are not clipped; the result is float32."""
    half = (torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 70 + 120).half()
    assert half.min() < 0
    assert half.max() > 255
    whitened = per_image_whitening(half)
    assert whitened.dtype == torch.float32
    assert_close(whitened.double(), formula(half), rtol=0, atol=1e-5)


def test_mean_and_deviation() -> None:
    """Every image has mean 0 and population deviation 1 over all its pixels and channels."""
    deviation, mean = torch.std_mean(per_image_whitening(images()).double(), dim=(1, 2, 3), correction=0)
    assert_close(mean, torch.zeros(5).double(), rtol=0, atol=1e-6)
    assert_close(deviation, torch.ones(5).double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0, 1, 200, 255])
def test_a_constant_image_becomes_zero(value: int) -> None:
    """An image of equal entries gives zeros, to rounding."""
    whitened = per_image_whitening(torch.full((2, 3, 28, 28), value, dtype=torch.uint8))
    assert_close(whitened, torch.zeros(2, 3, 28, 28), rtol=0, atol=1e-4)


def test_a_nearly_constant_image_is_divided_by_the_least_deviation() -> None:
    """A deviation below 1 / sqrt(entries) is replaced by it."""
    image = torch.full((1, 3, 28, 28), 100, dtype=torch.uint8)
    image[0, 1, 2, 3] = 101
    assert_close(per_image_whitening(image).double(), formula(image), rtol=0, atol=1e-5)
    assert per_image_whitening(image).max() == pytest.approx(2352**0.5 / 255, rel=1e-2)


def half_images() -> Tensor:
    """Half-precision pixels of three different channels, some below 0 and above 255."""
    noise = torch.randn(50, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    return (noise * torch.tensor([90, 60, 30]).view(-1, 1, 1) + torch.tensor([130, 100, 70]).view(-1, 1, 1)).half()


def by_hand(name: Name, image: Tensor, train: Tensor) -> Tensor:
    """Every normalisation in float64 and without torch."""
    pixels: NDArray[np.float64] = image.numpy().astype(np.float64)
    if name == "per_image":
        return formula(image)
    if name == "per_channel":
        channels: NDArray[np.float64] = train.numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
        mean, deviation = (value[None, :, None, None] for value in (channels.mean(1), channels.std(1)))
        return torch.from_numpy((pixels - mean) / deviation)
    if name == "imagenet":
        mean, deviation = np.array([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])[:, None, :, None, None]
        return torch.from_numpy((pixels - mean) / deviation)
    return torch.from_numpy(pixels / 255 if name == "unit" else (pixels - 127.5) / 255)


@each
@pytest.mark.parametrize("half", [False, True])
def test_every_name_is_what_it_says(name: Name, half: bool) -> None:
    """uint8 and float16 images equal the definition in float64, to 1e-5; the result is float32."""
    train = half_images() if half else images(7)
    image = train[:4].flip(3)
    normalised = normalisation(name, train)(image)
    assert normalised.dtype == torch.float32
    assert_close(normalised.double(), by_hand(name, image, train), rtol=0, atol=1e-5)


@each
def test_float64_images_stay_as_exact(name: Name) -> None:
    """The result is float64; where the statistics of other images are used, they are float32."""
    train = images(7)
    image = train[:4].flip(3).double()
    normalised = normalisation(name, train)(image)
    assert normalised.dtype == torch.float64
    exact = 1e-6 if name in {"per_channel", "imagenet"} else 1e-14
    assert_close(normalised, by_hand(name, image, train), rtol=0, atol=exact)


@each
def test_the_input_stays(name: Name) -> None:
    """No normalisation changes pixels in place, float32 ones neither."""
    for image in (images(), half_images(), images().float()):
        before = image.clone()
        normalisation(name, image)(image)
        assert torch.equal(image, before)


@each
@pytest.mark.parametrize("value", [0, 1, 200, 255])
def test_constant_images(name: Name, value: int) -> None:
    """A set of one grey gives zeros where its mean is subtracted, and the grey on the scale else."""
    grey = torch.full((2, 3, 28, 28), value, dtype=torch.uint8)
    expected = {"unit": value / 255, "centred": value / 255 - 0.5}.get(name, 0.0)
    wanted = by_hand(name, grey, grey).float() if name == "imagenet" else torch.full(grey.shape, expected)
    assert_close(normalisation(name, grey)(grey), wanted, rtol=0, atol=1e-4)


def test_standardised_channels_have_mean_0_and_deviation_1() -> None:
    """Over all training images together, in each channel, though not in each image."""
    for train in (images(2500), half_images()):
        standardised = normalisation("per_channel", train)(train).double()
        deviation, mean = torch.std_mean(standardised, dim=(0, 2, 3), correction=0)
        assert_close(mean, torch.zeros(3).double(), rtol=0, atol=1e-5)
        assert_close(deviation, torch.ones(3).double(), rtol=0, atol=1e-5)
        assert standardised.mean((1, 2, 3)).abs().max() > 0.01


def test_channel_statistics_are_exact() -> None:
    """Mean and deviation of uint8 channels are NumPy's in float64, over more images than one portion."""
    train = images(2100)
    channels: NDArray[np.float64] = train.numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    mean, deviation = channel_statistics(train)
    assert_close(mean, torch.from_numpy(channels.mean(1)), rtol=1e-13, atol=0)
    assert_close(deviation, torch.from_numpy(channels.std(1)), rtol=1e-12, atol=0)


def test_other_images_are_standardised_by_the_training_set() -> None:
    """The test images' own mean and deviation do not matter."""
    train, test = images(8), torch.full((3, 3, 28, 28), 77, dtype=torch.uint8)
    mean, deviation = channel_statistics(train)
    standardised = normalisation("per_channel", train)(test)
    expected = ((77 - mean) / deviation).float()[:, None, None].expand_as(standardised)
    assert_close(standardised, expected)


@pytest.mark.parametrize("name", ["unit", "centred"])
def test_ends_of_the_scale(name: Name) -> None:
    """0 and 255 become 0 and 1, or -1/2 and 1/2, exactly, in one channel too."""
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    low = {"unit": 0.0, "centred": -0.5}[name]
    assert normalisation(name, ends)(ends).flatten().tolist() == [low, low + 1]


@each
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels(name: Name, channels: int) -> None:
    """One, three and four channels keep their shape; ImageNet's normalisation is for three."""
    image = images(6)[:, :1].repeat(1, channels, 1, 1)
    if name == "imagenet" and channels != 3:
        with pytest.raises(ValueError, match=f"imagenet is for images of 3 channels, these have {channels}"):
            normalisation(name, image)
        return
    assert normalisation(name, image)(image).shape == (6, channels, 28, 28)


def test_an_unknown_name_is_refused() -> None:
    """The message has the names there are; asked of the function below the tests' own type check."""
    unchecked: Any = normalisation
    while hasattr(unchecked, "__wrapped__"):
        unchecked = unchecked.__wrapped__
    with pytest.raises(ValueError, match="must be per_image, per_channel, unit, centred, imagenet; got per_pixel"):
        unchecked("per_pixel", images())


def test_images_do_not_see_each_other() -> None:
    """An image alone is whitened as in a batch, and the input stays as it is."""
    batch = images()
    together = per_image_whitening(batch)
    assert torch.equal(batch, images())
    for i in range(len(batch)):
        assert_close(per_image_whitening(batch[i : i + 1])[0], together[i], rtol=0, atol=1e-6)
