"""Random changes of training images, new in every epoch, on whole batches on their device.

What happens to a sample in an epoch is a pure function of (seed, epoch, sample): the step and the batch it comes in,
the rank, the worker and an interruption do not matter. Evaluation and probes see the images without augmentation.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from stratoscope.datamodules.draws import raw_bits, single_uniform

LARGER = "give larger images, such as --data.crop 32, or padding"
Images = Shaped[Tensor, "n channel height width"]
Windows = Shaped[Tensor, "n channel size size"]
Draws = Float[Tensor, "n words"]


class Augmentation(ABC):
    """A random change of images; several are applied in the order of their list.

    Attributes:
        words: Random numbers that one sample needs.
        fill: What is put where the image has nothing, a value per channel: the training set's mean once the data module
            has set it, which is nothing to a network; black before.
    """

    words: int = 1
    fill: Tensor | None = None

    @abstractmethod
    def __call__(self, image: Images, draw: Draws) -> Images:
        """Change a batch.

        Args:
            image: Pixels on the scale [0, 255], uint8 or floating-point; not changed in place.
            draw: Uniform random numbers in [0, 1) for every sample.
        """

    def at_rest(self, image: Images) -> Images:
        """What evaluation sees instead.

        Args:
            image: Pixels on the scale [0, 255].
        """
        return image

    def ground(self, image: Images) -> Tensor:
        """`fill` as (channels, 1, 1) pixels of the images' kind, on their device."""
        if self.fill is None:
            self.fill = torch.zeros(image.shape[1])
        if self.fill.device != image.device:  # once: no transfer in a training step
            self.fill = self.fill.to(image.device)
        return (self.fill if image.is_floating_point() else self.fill.round()).to(image.dtype)[:, None, None]


class RandomCrop(Augmentation):
    """A window at a random place; without augmentation the one in the middle.

    Zhang et al. 2017 crop 28 of 32 pixels: size 28 of images with `crop: 32`. ResNets are trained with 4 pixels of
    padding and size 32.

    Args:
        size: Height and width of the window, in pixels.
        padding: Pixels of the mean colour added on every side before.
    """

    words = 2

    def __init__(self, size: int = 28, padding: int = 0) -> None:
        if size < 1 or padding < 0:
            raise ValueError(f"a crop must have a size of 1 or more and padding of 0 or more, got {size} and {padding}")
        self.size, self.padding = size, padding

    def __call__(self, image: Images, draw: Draws) -> Windows:
        """Cut out a window for each image.

        Raises:
            ValueError: If the images are smaller than the window, or of its size.
        """
        windows = self._windows(image)
        if windows.shape[2] * windows.shape[3] == 1:
            raise ValueError(f"a crop of {self.size} pixels leaves images of that size as they are: {LARGER}")
        row, column = ((draw[:, axis] * windows.shape[2 + axis]).long() for axis in (0, 1))
        return windows[torch.arange(len(image), device=image.device), :, row, column]

    def at_rest(self, image: Images) -> Windows:
        """Cut out the middle."""
        windows = self._windows(image)
        return windows[:, :, (windows.shape[2] - 1) // 2, (windows.shape[3] - 1) // 2]

    def _windows(self, image: Images) -> Tensor:
        ground = self.ground(image)
        padded = pad(image - ground, [self.padding] * 4) + ground if self.padding else image
        if min(padded.shape[2:]) < self.size:
            raise ValueError(f"a crop of {self.size} pixels does not fit into images of {tuple(padded.shape[2:])}")
        return padded.unfold(2, self.size, 1).unfold(3, self.size, 1)


class RandomFlip(Augmentation):
    """The mirror image, left and right exchanged, with probability p.

    Args:
        p: Probability, in [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"flip probability p must be in [0, 1], got {p}")
        self.p = p

    def __call__(self, image: Images, draw: Draws) -> Images:
        """Mirror some images."""
        return torch.where(draw[:, 0, None, None, None] < self.p, image.flip(3), image)


class RandomRotation(Augmentation):
    """A rotation about the middle by a uniform angle, bilinear (Zhang et al. 2017, table 4).

    Args:
        degrees: Largest angle to either side.
    """

    def __init__(self, degrees: float = 25.0) -> None:
        if not 0 <= degrees <= 180:
            raise ValueError(f"degrees must be in [0, 180], got {degrees}")
        self.degrees = degrees

    def __call__(self, image: Images, draw: Draws) -> Images:
        """Rotate each image by its own angle; the result is float32."""
        angle = torch.deg2rad((2 * draw[:, 0] - 1) * self.degrees)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        height, width = image.shape[2:]
        rows = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
        grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(image.shape), align_corners=False)
        pixels = image.float()
        ground = self.ground(pixels)
        return grid_sample(pixels - ground, grid, align_corners=False) + ground


class RandomZoom(Augmentation):
    """A square window of random size at a random place, enlarged to the whole image, bicubic (Urban et al. 2017).

    Args:
        smallest: Smallest height and width of the window, in pixels; the largest is the image.
    """

    words = 3

    def __init__(self, smallest: int = 24) -> None:
        if smallest < 1:
            raise ValueError(f"the smallest window must be 1 pixel or more, got {smallest}")
        self.smallest = smallest

    def __call__(self, image: Images, draw: Draws) -> Images:
        """Zoom into each image; the result is float32.

        Raises:
            ValueError: If the images are smaller than the smallest window.
        """
        side = min(image.shape[2:])
        if side < self.smallest:
            raise ValueError(f"the smallest window, {self.smallest} pixels, does not fit into images of {side}")
        share = (self.smallest + draw[:, 0] * (side - self.smallest)) / side
        move = (2 * draw[:, 1:3] - 1) * (1 - share)[:, None]
        zero = torch.zeros_like(share)
        rows = [share, zero, move[:, 0], zero, share, move[:, 1]]
        grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(image.shape), align_corners=False)
        zoomed = grid_sample(image.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        return zoomed.clamp(0, 255)


class Cutout(Augmentation):
    """A square of the mean colour at a random place, which may reach over the edge (DeVries & Taylor 2017).

    Args:
        size: Height and width of the square, in pixels.
    """

    words = 2

    def __init__(self, size: int = 16) -> None:
        if size < 1:
            raise ValueError(f"a cut-out must have a size of 1 or more pixels, got {size}")
        self.size = size

    def __call__(self, image: Images, draw: Draws) -> Images:
        """Cut a square out of each image."""
        inside = []
        for axis in (0, 1):
            length = image.shape[2 + axis]
            start = (draw[:, axis] * length).long()[:, None] - self.size // 2
            place = torch.arange(length, device=image.device)
            inside.append((place >= start) & (place < start + self.size))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return torch.where(hole, self.ground(image), image)


class ColourJitter(Augmentation):
    """Hue, saturation and value shifted and scaled at random, in HSV space (Urban et al. 2017, section 3.3).

    Shifts are uniform in +-D on the scale of the full circle or range; scales uniform in [1 / (1 + A), 1 + A].

    Args:
        hue: D_h.
        saturation: D_s.
        value: D_v.
        saturation_scale: A_s.
        value_scale: A_v.
    """

    words = 5

    def __init__(
        self,
        hue: float = 0.06,
        saturation: float = 0.26,
        value: float = 0.20,
        saturation_scale: float = 0.21,
        value_scale: float = 0.13,
    ) -> None:
        self.shifts, self.scales = (hue, saturation, value), (saturation_scale, value_scale)
        if min(*self.shifts, *self.scales) < 0:
            raise ValueError(f"colour shifts and scales must be 0 or more, got {self.shifts} and {self.scales}")

    def __call__(self, image: Images, draw: Draws) -> Images:
        """Change the colours of each image; the result is float32.

        Raises:
            ValueError: If the images have no three colours.
        """
        if image.shape[1] != 3:
            raise ValueError(f"ColourJitter needs images of three colours, got {image.shape[1]} channels")
        hue, saturation, value = _to_hsv(image.float() / 255)
        shift = [(2 * draw[:, i] - 1) * d for i, d in enumerate(self.shifts)]
        low = [1 / (1 + a) for a in self.scales]
        scale = [s + draw[:, 3 + i] * (1 + a - s) for i, (s, a) in enumerate(zip(low, self.scales, strict=True))]
        h, s, v, a, b = (part[:, None, None] for part in (*shift, *scale))
        return 255 * _from_hsv((hue + h) % 1, (saturation * a + s).clamp(0, 1), (value * b + v).clamp(0, 1))


def draws(augmentations: list[Augmentation], seed: int, epoch: int, size: int) -> list[Float[Tensor, "size words"]]:
    """The random numbers of all samples of a set in one epoch, for each augmentation.

    Args:
        augmentations: In their order.
        seed: Of the run.
        epoch: From 0.
        size: Samples of the set.
    """
    return [
        torch.from_numpy(
            single_uniform(raw_bits(seed, f"augmentation {place} of epoch {epoch}", size * augmentation.words))
        ).view(size, augmentation.words)
        for place, augmentation in enumerate(augmentations)
    ]


def _to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value, largest = rgb.max(1)
    span = value - rgb.min(1).values
    red, green, blue = rgb.unbind(1)
    safe = span.clamp(min=1e-12)
    sector = torch.stack([(green - blue) / safe % 6, (blue - red) / safe + 2, (red - green) / safe + 4], 1)
    hue = sector.gather(1, largest[:, None])[:, 0] / 6
    return hue * (span > 0), span / value.clamp(min=1e-12), value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB as value (1 - saturation max(0, min(k, 4 - k, 1))) with k = (n + 6 hue) mod 6 and n = 5, 3, 1."""
    sectors = (torch.full_like(hue, n).add(6 * hue) % 6 for n in (5.0, 3.0, 1.0))
    return torch.stack([value * (1 - saturation * torch.minimum(k, 4 - k).clamp(0, 1)) for k in sectors], 1)
