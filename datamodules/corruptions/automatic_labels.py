"""Labels computed from the image: wrong, but the same function of the image in training and test.

The counterpart of random labels: deterministic labels can be learnt in general, random ones only memorised. A rule is
drawn from the seed, fitted to the training images so that all classes are equally frequent there, and gives the labels
of all sets alike; the true labels stay. It sees the images as earlier corruptions have left them; pixels that are not
uint8 (`GaussianPixels`) are rounded to whole numbers and clipped to [0, 255] first.

All arithmetic is on whole numbers: in int64, or in float64 products whose partial sums stay below 2^53, where every
order of summation gives the same. So labels are the same on every machine.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float64, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn.functional import pad

from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.draws import integers, permutations, raw_bits

IMAGES = 100  # images measured at a time: bounds the memory
WEIGHT = 127  # random weights are whole numbers in [-WEIGHT, WEIGHT]
SWEEPS = 200  # most rounds of balancing
ITERATIONS, SAMPLE = 10, 10_000  # of Lloyd's algorithm, on so many training images

Pixels = UInt8[Tensor, "n channel height width"]
Measure = Callable[[Pixels], Tensor]


class AutomaticLabels(Corruption):
    """The label of an image is a function of its pixels, with all classes equally frequent in the training set.

    Args:
        seed: Decides the function; None takes the run's.
    """

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Label the training images and all test images by one rule.

        Raises:
            ValueError: If there are fewer training images than classes.
        """
        train = sets["train"].image
        if len(train) < classes:
            raise ValueError(f"automatic labels of {classes} classes need as many training images, got {len(train)}")
        measure = self.measure(train, classes)
        measured = {name: in_portions(measure, data.image) for name, data in sets.items()}
        decide = self.balanced(measured["train"], classes)
        return {name: data._replace(given_label=decide(measured[name])) for name, data in sets.items()}

    @abstractmethod
    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Make the function from images to the whole numbers that decide their labels.

        Args:
            train: The training images.
            classes: Number of classes.
        """

    @abstractmethod
    def balanced(self, measured: Int64[Tensor, "n ..."], classes: int) -> Callable[[Tensor], Tensor]:
        """Make the function from these numbers to labels, with all classes equally frequent in the training set.

        Args:
            measured: What was measured on the training images.
            classes: Number of classes.
        """


class QuantileLabels(AutomaticLabels):
    """The label says between which quantiles of the training images an image's value lies.

    Images of equal value have equal labels, so many of them unbalance the classes.
    """

    def balanced(self, measured: Int64[Tensor, " n"], classes: int) -> Callable[[Tensor], Tensor]:
        """Cut at the quantiles 1/classes, 2/classes, ... of the training values."""
        thresholds = measured.sort().values[torch.arange(1, classes) * len(measured) // classes]
        return lambda values: torch.bucketize(values, thresholds, right=True)


class ArgMaxLabels(AutomaticLabels):
    """The label is the class of the largest score, after a bias per class has balanced the training set."""

    def balanced(self, measured: Int64[Tensor, "n classes"], classes: int) -> Callable[[Tensor], Tensor]:
        """Choose the biases."""
        bias = balancing_bias(measured.T)
        return lambda scores: (scores + bias).argmax(1)


class BrightnessLabels(QuantileLabels):
    """Labels are quantiles of the image's brightness.

    Args:
        seed: Unused: nothing is drawn.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Sum all pixels."""
        return lambda image: image.flatten(1).sum(1, dtype=torch.int64)


class ColourLabels(QuantileLabels):
    """Labels are quantiles of the image's mean colour along one random direction, at right angles to grey.

    Args:
        seed: Decides the direction; None takes the run's.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Draw the direction, and project the sums of the channels on it.

        Raises:
            ValueError: If there are no colours.
        """
        if (channels := train.shape[1]) < 2:
            raise ValueError(f"ColourLabels need images of 2 or more channels, got {channels}")
        drawn = random_weights(self.seed, "colour labels", 1, channels)[0].long()
        direction = channels * drawn - drawn.sum()
        return lambda image: (image.flatten(2).sum(2, dtype=torch.int64) * direction).sum(1)


class EdgeLabels(QuantileLabels):
    """Labels are quantiles of edge energy: the sum of squared differences of horizontal and vertical neighbours.

    Args:
        seed: Unused: nothing is drawn.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Sum the squared differences."""

        def energy(image: Pixels) -> Tensor:
            pixels = image.int()
            vertical, horizontal = (pixels.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3))
            return vertical + horizontal  # int64

        return energy


class PrototypeLabels(ArgMaxLabels):
    """The label names the nearest of as many random training images as there are classes.

    Nearest by |x - p|^2 - b, where the biases b balance the classes (a power diagram).

    Args:
        seed: Decides the prototypes; None takes the run's.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Draw the prototypes p, and score by 2 x.p - |p|^2."""
        prototypes = flat(whole_pixels(train[random_images(self.seed, len(train), classes)]))
        return partial(nearness, points=prototypes)


class ClusterLabels(ArgMaxLabels):
    """The label names the cluster: k-means with clusters of equal size.

    Ten iterations of Lloyd's algorithm on 10,000 random training images, from the first of them, with the biases of
    `PrototypeLabels` in every assignment and centroids rounded to whole pixels; then biases for all training images.

    Args:
        seed: Decides the images; None takes the run's.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Find the centroids c, and score by 2 x.c - |c|^2."""
        sample = whole_pixels(train[random_images(self.seed, len(train), SAMPLE)])
        centroids = flat(sample[:classes])
        bias = None
        for _ in range(ITERATIONS):
            scores = in_portions(partial(nearness, points=centroids), sample)
            bias = balancing_bias(scores.T, bias)
            centroids = rounded_means(sample, (scores + bias).argmax(1), centroids)
        return partial(nearness, points=centroids)


class LinearLabels(ArgMaxLabels):
    """The label is the arg-max of a random linear map of the pixels.

    Args:
        seed: Decides the weights; None takes the run's.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Draw the weights."""
        weights = random_weights(self.seed, "linear labels", train[0].numel(), classes)
        return lambda image: exact_product(flat(image), weights).long()


class ConvolutionLabels(ArgMaxLabels):
    """The label is the arg-max of a random convolutional network.

    Two layers of 3x3 filters with stride 2 and ReLU, of 16 channels and one channel per class, which is summed over the
    positions. Pixels are taken from 128, and divided by 128 (rounding down) between the layers.

    Args:
        seed: Decides the weights; None takes the run's.
    """

    def measure(self, train: Shaped[Tensor, "n channel height width"], classes: int) -> Measure:
        """Draw the weights."""
        channels = train.shape[1]
        first = random_weights(self.seed, "convolution labels, first layer", 16, 9 * channels)
        second = random_weights(self.seed, "convolution labels, second layer", classes, 9 * 16)

        def scores(image: Pixels) -> Tensor:
            hidden = (convolved(image.transpose(0, 1).double() - 128, first).relu() / 128).floor()
            total: Tensor = convolved(hidden, second).relu().long().sum((2, 3)).T
            return total

        return scores


def in_portions(measure: Measure, image: Shaped[Tensor, "n channel height width"]) -> Int64[Tensor, "n ..."]:
    """Measure a whole set, some images at a time."""
    measured = measure(whole_pixels(image[:1])).repeat_interleave(len(image), 0)  # kept parts would splinter the memory
    for portion, part in zip(image.split(IMAGES), measured.split(IMAGES), strict=True):
        part.copy_(measure(whole_pixels(portion)))
    return measured


def whole_pixels(image: Shaped[Tensor, "n channel height width"]) -> Pixels:
    """Pixels as uint8: others are clipped to [0, 255] and rounded."""
    return image if image.dtype == torch.uint8 else image.clamp(0, 255).round().to(torch.uint8)


def flat(image: Pixels) -> Float64[Tensor, "n d"]:
    """One row per image."""
    return image.flatten(1).double()


def random_images(seed: int, n: int, most: int) -> Int64[Tensor, " m"]:
    """Positions of `most` of n images, or of all, in random order."""
    return torch.from_numpy(permutations(raw_bits(seed, "prototypes", n))[:most])


def random_weights(seed: int, purpose: str, rows: int, columns: int) -> Float64[Tensor, "rows columns"]:
    """Uniform whole numbers in [-WEIGHT, WEIGHT]."""
    drawn = integers(raw_bits(seed, purpose, rows * columns), 2 * WEIGHT + 1) - WEIGHT
    return torch.from_numpy(drawn).view(rows, columns).double()


def largest(x: Float64[Tensor, "m d"]) -> float:
    """The largest magnitude."""
    low, high = x.aminmax()
    return max(-float(low), float(high))


def exact_product(a: Float64[Tensor, "m d"], b: Float64[Tensor, "d k"]) -> Float64[Tensor, "m k"]:
    """Multiply matrices of whole numbers without any rounding.

    Raises:
        OverflowError: If a partial sum might need more than the 53 bits that float64 has.
    """
    if len(b) * largest(a) * largest(b) >= 2**53:
        raise OverflowError(f"sums over {len(b)} values are too large for labels in exact arithmetic")
    return a @ b


def convolved(x: Float64[Tensor, "c n h w"], weights: Float64[Tensor, "k d"]) -> Float64[Tensor, "k n h2 w2"]:
    """3x3 convolution with stride 2 and a margin of zeros, as one matrix product: others may not be exact."""
    height, width = (-(-size // 2) for size in x.shape[2:])
    padded = pad(x, (1, 1, 1, 1))
    shifted = [padded[:, :, i::2, j::2][:, :, :height, :width] for i in range(3) for j in range(3)]
    product = exact_product(weights, torch.cat(shifted).flatten(1))
    return product.view(len(weights), x.shape[1], height, width)


def nearness(image: Pixels, points: Float64[Tensor, "k d"]) -> Int64[Tensor, "n k"]:
    """Scores 2 x.p - |p|^2, larger for nearer points p: they are |x|^2 - |x - p|^2."""
    return 2 * exact_product(flat(image), points.T).long() - points.long().square().sum(1)


def rounded_means(
    image: Pixels, cluster: Int64[Tensor, " n"], before: Float64[Tensor, "k d"]
) -> Float64[Tensor, "k d"]:
    """Mean image of every cluster, rounded half up to whole pixels; an empty cluster keeps what it had before."""
    sums, counts = torch.zeros_like(before), torch.bincount(cluster, minlength=len(before))[:, None]
    for portion, members in zip(image.split(IMAGES), cluster.split(IMAGES), strict=True):
        belongs = (members == torch.arange(len(before))[:, None]).double()
        sums += exact_product(belongs, flat(portion))
    means = (2 * sums.long() + counts) // (2 * counts).clamp(min=1)
    return torch.where(counts > 0, means.double(), before)


def balancing_bias(scores: Int64[Tensor, "k n"], start: Int64[Tensor, " k"] | None = None) -> Int64[Tensor, " k"]:
    """Find biases b such that arg-max_k (scores_k + b_k) gives every class equally many of the n samples.

    One class after the other gets the bias at which it wins its share; this repeats until no class is more than 1 % of
    its share away, or `SWEEPS` times.

    Args:
        scores: Of the training samples.
        start: Biases to start from; None takes those that make all mean scores equal.
    """
    scores = scores.contiguous()
    classes, n = scores.shape
    shares = [(n + classes - 1 - k) // classes for k in range(classes)]
    bias = -scores.sum(1) // n if start is None else start.clone()
    total = scores + bias[:, None]
    for _ in range(SWEEPS):
        counts = torch.bincount(total.argmax(0), minlength=classes).tolist()
        if all(100 * abs(count - share) <= share for count, share in zip(counts, shares, strict=True)):
            break
        for k, share in enumerate(shares):
            rivals = torch.cat([total[:k], total[k + 1 :]]).amax(0)
            bias[k] = (rivals - scores[k]).kthvalue(share).values + 1
            total[k] = scores[k] + bias[k]
    return bias
