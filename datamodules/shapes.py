"""Generated images of ten shapes: a data set of any size, without a file, that needs more than a linear classifier."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.draws import integers, permutations, raw_bits, uniform
from stratoscope.datamodules.image_data import ImageDataModule

IMAGES = 500  # images that are drawn at a time: bounds the memory (another number would draw other images)
MOST = 2**34  # bytes of all images
CELLS = 5  # nodes of the texture along each side
FACTORS = 17  # random numbers of an image besides texture and noise
NAMES = ["disk", "ring", "half disk", "crescent", "ellipse", "triangle", "square", "corner", "plus", "star"]

Array = NDArray[np.float64]


class Shapes(ImageDataModule):
    """Images of ten classes of shape: disk, ring, half disk, crescent, ellipse, triangle, square, corner, plus, star.

    Position, size, rotation, the colours of shape and ground, contrast, shading, texture and noise vary independently
    of the class; the shape is lighter than the ground. After 2,000 training images, logistic regression on the pixels
    is right about three test images in ten, and a network of three convolutions about nine in ten.

    The images are the same to the bit on every machine: random bits, and float64 operations that IEEE 754 rounds
    correctly (+ - * / and the square root; no sine, exponential or sum over many terms). The first images of a larger
    set are those of a smaller one.

    Args:
        train_size: Number of training images; the classes are balanced.
        test_size: Number of test images, from other draws.
        size: Height and width, in pixels.
        data_seed: Decides the images.
        **settings: Corruption, batch size, seed, augmentation and normalisation, of `ImageDataModule`.
    """

    def __init__(
        self, train_size: int = 2000, test_size: int = 1000, size: int = 32, data_seed: int = 0, **settings: Any
    ) -> None:
        for name, value, least in (("train_size", train_size, 1), ("test_size", test_size, 1), ("size", size, 8)):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
        if (train_size + test_size) * 3 * size**2 > MOST:
            raise ValueError(f"train_size, test_size and size ask for more than {MOST // 2**30} GiB of images")
        if data_seed < 0:
            raise ValueError(f"data_seed must be 0 or more, got {data_seed}")
        super().__init__(**settings)
        self.sizes, self.size, self.data_seed = {"train": train_size, "test": test_size}, size, data_seed

    def load(self) -> Sets:
        """Draw both sets."""
        return {split: self._drawn(split, n) for split, n in self.sizes.items()}

    def _drawn(self, split: str, n: int) -> Batch:
        # ten by ten, so that the classes are balanced in every prefix
        order = raw_bits(self.data_seed, f"shapes {split} labels", -(-n // 10) * 10).reshape(-1, 10)
        label = permutations(order).reshape(-1)[:n]
        images = [self._images(split, start, label[start : start + IMAGES]) for start in range(0, n, IMAGES)]
        return labelled(torch.from_numpy(np.concatenate(images)), torch.from_numpy(label))

    def _images(self, split: str, start: int, label: NDArray[np.int64]) -> NDArray[np.uint8]:
        n, size = len(label), self.size
        words = raw_bits(self.data_seed, f"shapes {split} factors {start}", n * FACTORS).reshape(n, FACTORS).T
        factor = uniform(words)[:, :, None, None]
        inside = _coverage(label, words, size)[:, None]
        ground, colour = (np.moveaxis(part, 0, 1) for part in (0.1 + 0.3 * factor[5:8], factor[8:11]))
        contrast = (0.3 + 0.3 * factor[11])[:, None] / np.maximum(colour.max(1, keepdims=True), 2.0**-20)
        image = ground + contrast * colour * inside
        image *= _shading(words[12], factor[13], 0.3 * factor[14], size)[:, None]
        image += (0.1 * factor[15])[:, None] * self._texture(split, start, n)
        image += (0.08 * factor[16])[:, None] * self._noise(split, start, n)
        pixels: NDArray[np.uint8] = np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        return pixels

    def _texture(self, split: str, start: int, n: int) -> Array:
        """Smooth random colours: in [-1, 1] at the nodes of a grid, bilinear in between."""
        bits = raw_bits(self.data_seed, f"shapes {split} texture {start}", n * 3 * CELLS**2)
        node = (2 * uniform(bits) - 1).reshape(n, 3, CELLS, CELLS)
        place = (np.arange(self.size) + 0.5) * (CELLS - 1) / self.size
        low = place.astype(np.int64)
        part = place - low
        rows = node[:, :, low] + part[:, None] * (node[:, :, low + 1] - node[:, :, low])
        left = np.take(rows, low, axis=3)
        return left + part * (np.take(rows, low + 1, axis=3) - left)

    def _noise(self, split: str, start: int, n: int) -> Array:
        """Independent numbers in [-1, 1) for every pixel and colour, of 16 bits each."""
        count = n * 3 * self.size**2
        words = raw_bits(self.data_seed, f"shapes {split} noise {start}", -(-count // 4)).astype("<u8").view("<u2")
        return (words[:count].astype(np.float64) * 2.0**-15 - 1).reshape(n, 3, self.size, self.size)


def _direction(turn: NDArray[np.uint64], part: Array) -> tuple[Array, Array]:
    """Cosine and sine of a random angle: a quarter turn, and the rational parametrisation of what is left.

    t in tan(pi/8) [-1, 1] covers an eighth of the circle to both sides, almost evenly.
    """
    t = (2 * part - 1) * (np.sqrt(2.0) - 1)
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    quarter = integers(turn, 4).reshape(part.shape)
    swapped = np.where(quarter % 2 == 1, -sine, cosine), np.where(quarter % 2 == 1, cosine, sine)
    sign = np.where(quarter >= 2, -1.0, 1.0)
    return swapped[0] * sign, swapped[1] * sign


def _coverage(label: NDArray[np.int64], words: NDArray[np.uint64], size: int) -> Array:
    """Share of every pixel that is inside the shape, up to the curvature of its edge: (n, size, size)."""
    factor = uniform(words)[:, :, None]
    radius = (0.3 + 0.13 * factor[2]) * size  # of the circle around the shape
    cosine, sine = _direction(words[0], factor[1])
    pixel = np.arange(size) + 0.5
    x, y = ((pixel - radius - place * (size - 2 * radius)) / radius for place in (factor[3], factor[4]))
    u = (cosine * x)[:, None, :] + (sine * y)[:, :, None]
    v = (cosine * y)[:, :, None] - (sine * x)[:, None, :]
    inside: Array = np.empty(u.shape)
    for shape, distance in enumerate(DISTANCES):
        chosen = label == shape
        inside[chosen] = np.clip(0.5 - distance(u[chosen], v[chosen]) * radius[chosen][:, None], 0, 1)
    return inside


def _shading(turn: NDArray[np.uint64], part: Array, strength: Array, size: int) -> Array:
    """Factors that fall linearly across the image, along a random direction: (n, size, size)."""
    cosine, sine = _direction(turn, part)
    place = (np.arange(size) + 0.5) * 2 / size - 1
    return 1 + strength * (cosine * place + sine * place[:, None])


# Distances to the edge of each shape, negative inside, in a frame whose unit is the radius of a circle around it. They
# are exact near the edge except in corners, which is all that the share of a pixel needs.


def _disk(u: Array, v: Array) -> Array:
    return np.sqrt(u * u + v * v) - 0.85


def _ring(u: Array, v: Array) -> Array:
    return abs(np.sqrt(u * u + v * v) - 0.75) - 0.2


def _half_disk(u: Array, v: Array) -> Array:
    v = v + 0.39
    distance: Array = np.maximum(np.sqrt(u * u + v * v) - 0.92, -v)
    return distance


def _crescent(u: Array, v: Array) -> Array:
    w = v - 0.55
    return np.maximum(np.sqrt(u * u + v * v) - 0.95, 0.8 - np.sqrt(u * u + w * w))


def _ellipse(u: Array, v: Array) -> Array:
    x, y = u, v / 0.45
    slope: Array = 2 * np.sqrt(x * x + (y / 0.45) * (y / 0.45))
    distance: Array = (x * x + y * y - 1) / np.maximum(slope, 2.0**-20)
    return distance


def _triangle(u: Array, v: Array) -> Array:
    distance: Array = np.maximum(np.sqrt(0.75) * abs(u) + 0.5 * v, -v) - 0.5
    return distance


def _square(u: Array, v: Array) -> Array:
    return np.maximum(abs(u), abs(v)) - 0.71


def _corner(u: Array, v: Array) -> Array:
    return np.maximum(np.maximum(abs(u), abs(v)) - 0.7, np.minimum(u, v) + 0.25)


def _plus(u: Array, v: Array) -> Array:
    long, short = np.maximum(abs(u), abs(v)), np.minimum(abs(u), abs(v))
    return np.maximum(long - 0.95, short - 0.25)


def _star(u: Array, v: Array) -> Array:
    # a point is in the star if it is on the inner side of at least four of the five lines
    most = second = np.full_like(u, -np.inf)
    root = np.sqrt(5.0)
    near, far = (root - 1) / 4, -(root + 1) / 4  # cosines of 72 and 144 degrees
    for cosine, sine in ((1.0, 0.0), (near, np.sqrt(1 - near * near)), (far, np.sqrt(1 - far * far))):
        for side in (u * sine, -u * sine) if sine else (u * sine,):
            line = v * cosine + side
            second = np.maximum(second, np.minimum(most, line))
            most = np.maximum(most, line)
    distance: Array = second - near
    return distance


DISTANCES: list[Callable[[Array, Array], Array]] = [
    _disk,
    _ring,
    _half_disk,
    _crescent,
    _ellipse,
    _triangle,
    _square,
    _corner,
    _plus,
    _star,
]
