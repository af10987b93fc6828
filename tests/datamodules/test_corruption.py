"""Tests of datamodules/corruption.py, against the definitions of Zhang et al. 2017, section 2.1."""

import hashlib
import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.corruption import (
    Corruption,
    GaussianPixels,
    PartialLabels,
    RandomLabels,
    RandomPixels,
    ShuffledPixels,
)
from stratoscope.datamodules.image_data import labelled

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
LABELS = 20_000
MAKERS: dict[str, Callable[[int], Corruption]] = {
    "PartialLabels": partial(PartialLabels, 0.5),
    "RandomLabels": RandomLabels,
    "ShuffledPixels": ShuffledPixels,
    "RandomPixels": RandomPixels,
    "GaussianPixels": GaussianPixels,
}
# SHA-256 of training and test images, and of the given training labels, of `generated()` at seed 0
GOLDEN = {
    "PartialLabels": (
        "f21f79f5df78fb15a52487c27e9e6c4d8b3ead280001bedd20a5bb16412db26e",
        "0c1fc2c90faa0ea0cf9a9fa43a9a8f5c45123c94e3754f76f59322ff0000da5f",
    ),
    "RandomLabels": (
        "f21f79f5df78fb15a52487c27e9e6c4d8b3ead280001bedd20a5bb16412db26e",
        "a4d2f703033b7b1fa292ff6f20cf54b27cec83a63e7b893a432edf527a4d7526",
    ),
    "ShuffledPixels": (
        "056d0085fad606d6c4128825b21b2fc00bb74cd85047d9f25c2dbb7b24ea2c23",
        "5c19b393849dee167f99651159a7cf19ed2a14e8b0ae9d4f41844668679cdfe1",
    ),
    "RandomPixels": (
        "85dc4687dec6bb0079c99f0a13e996626299f943774dcf2e720b2e19ecf345aa",
        "5c19b393849dee167f99651159a7cf19ed2a14e8b0ae9d4f41844668679cdfe1",
    ),
    "GaussianPixels": (
        "77d9fb0b6dfec637ade9e151408fc34e68df71d72b64352bc6402faa67227d0a",
        "5c19b393849dee167f99651159a7cf19ed2a14e8b0ae9d4f41844668679cdfe1",
    ),
}
LABEL_CORRUPTIONS, PIXEL_CORRUPTIONS = list(MAKERS)[:2], list(MAKERS)[2:]
each = pytest.mark.parametrize("name", MAKERS)
each_of_labels = pytest.mark.parametrize("name", LABEL_CORRUPTIONS)
each_of_pixels = pytest.mark.parametrize("name", PIXEL_CORRUPTIONS)


def generated(train: int = 40, test: int = 12, shape: tuple[int, int, int] = (3, 6, 5)) -> tuple[Batch, Batch]:
    """A set made by whole-number arithmetic alone, in which no two images are equal."""

    def part(n: int, shift: int) -> Batch:
        entry = torch.arange(n * shape[0] * shape[1] * shape[2]) + shift
        image = ((entry * entry * 7 + entry * 31) // 13 % 256).to(torch.uint8).view(n, *shape)
        return labelled(image, (torch.arange(n) * 7 + shift) % 10)

    return part(train, 0), part(test, 10_007)


def many_labels() -> tuple[Batch, Batch]:
    """20,000 samples of ten classes, with images of one pixel."""
    return generated(LABELS, 100, (3, 1, 1))


def coded(train: int, test: int) -> tuple[Batch, Batch]:
    """Equal 8x8 images from which a permutation can be read: the colours of position k are (k, 255 - k, 2 k)."""
    position = torch.arange(64)
    image = torch.stack([position, 255 - position, 2 * position]).to(torch.uint8).view(1, 3, 8, 8)
    parts = (labelled(image.expand(n, -1, -1, -1).clone(), torch.zeros(n)) for n in (train, test))
    train_set, test_set = parts
    return train_set, test_set


def orders(data: Batch) -> Tensor:
    """The permutation (n, 64) of every image of a set that was `coded`; fails if colours were torn apart."""
    red, green, blue = data.image.flatten(2).long().unbind(1)
    assert torch.equal(green, 255 - red)
    assert torch.equal(blue, 2 * red)
    assert torch.equal(red.sort(1).values, torch.arange(64).expand(len(red), -1))
    return red


def uneven() -> tuple[Batch, Batch]:
    """400 training images with another distribution in every channel, and black test images."""
    generator = torch.Generator().manual_seed(0)
    channels = [torch.randint(0, high, (400, 8, 8), generator=generator) for high in (256, 100, 2)]
    channels[2] = channels[2] * 255
    image = torch.stack(channels, dim=1).to(torch.uint8)
    return labelled(image, torch.zeros(400)), labelled(torch.zeros_like(image), torch.zeros(400))


def equal(one: tuple[Batch, Batch], other: tuple[Batch, Batch]) -> bool:
    """Whether two data sets are the same in every bit."""
    return all(torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def sha256(*tensors: Tensor) -> str:
    """Checksum of the bytes, little-endian."""
    arrays = (tensor.contiguous().numpy() for tensor in tensors)
    return hashlib.sha256(
        b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    ).hexdigest()


@each
def test_draws_never_change(name: str) -> None:
    """The corrupted data of seed 0 have the checksums written down here, whatever the versions of torch and NumPy."""
    train, test = MAKERS[name](0)(*generated(), 10)
    assert (sha256(train.image, test.image), sha256(train.given_label)) == GOLDEN[name]


@each
def test_the_same_seed_gives_the_same_data(name: str) -> None:
    """Two corruptions of one seed agree in every bit, and so does one used twice."""
    corruption = MAKERS[name](3)
    first = corruption(*generated(), 10)
    assert equal(first, corruption(*generated(), 10))
    assert equal(first, MAKERS[name](3)(*generated(), 10))


@each
def test_another_seed_gives_other_data(name: str) -> None:
    """Seeds 0, 1 and 2^40 differ from each other."""
    small, middle, large = (MAKERS[name](seed)(*generated(), 10) for seed in (0, 1, 2**40))
    assert not equal(small, middle)
    assert not equal(small, large)
    assert not equal(middle, large)


@each
def test_global_random_states_are_neither_read_nor_moved(name: str) -> None:
    """Corrupting takes nothing from the global generators of torch, NumPy and Python."""

    def states() -> tuple[list[int], str, object]:
        return torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()

    before = states()
    first = MAKERS[name](0)(*generated(), 10)
    assert states() == before
    torch.manual_seed(12345)
    np.random.seed(12345)
    random.seed(12345)
    assert equal(first, MAKERS[name](0)(*generated(), 10))


@each
def test_the_given_data_stay(name: str) -> None:
    """The sets that were passed in are not modified."""
    data = generated()
    MAKERS[name](0)(*data, 10)
    assert equal(data, generated())


@each
def test_a_negative_seed_is_refused(name: str) -> None:
    """The message has the seed."""
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        MAKERS[name](-1)


@each
def test_true_labels_and_indices_stay(name: str) -> None:
    """No corruption touches the true labels or the positions in the original set, and shapes and orders stay."""
    for before, after in zip(generated(), MAKERS[name](0)(*generated(), 10), strict=True):
        assert torch.equal(after.true_label, before.true_label)
        assert torch.equal(after.index, before.index)
        assert after.image.shape == before.image.shape
        assert after.given_label.dtype == torch.int64


@each_of_labels
def test_label_corruptions_touch_training_labels_only(name: str) -> None:
    """Images of both sets and all test labels stay."""
    train, test = generated()
    corrupted_train, corrupted_test = MAKERS[name](0)(train, test, 10)
    assert equal((train, test), (corrupted_train._replace(given_label=train.given_label), corrupted_test))
    assert not torch.equal(train.given_label, corrupted_train.given_label)


@each_of_pixels
def test_pixel_corruptions_touch_images_only(name: str) -> None:
    """The given labels of both sets stay, and every image of both sets is another."""
    for before, after in zip(generated(), MAKERS[name](0)(*generated(), 10), strict=True):
        assert torch.equal(after.given_label, before.given_label)
        assert (after.image != before.image).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["RandomPixels", "GaussianPixels"])
def test_images_drawn_in_other_portions_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many images are drawn at a time bounds the memory and changes nothing."""
    whole = MAKERS[name](0)(*generated(), 10)
    monkeypatch.setattr("stratoscope.datamodules.corruption.IMAGES", 7)
    assert equal(whole, MAKERS[name](0)(*generated(), 10))


def test_p_0_leaves_all_labels() -> None:
    """With p = 0 no label is redrawn."""
    train, _ = PartialLabels(0.0)(*many_labels(), 10)
    assert torch.equal(train.given_label, train.true_label)


def test_p_1_is_random_labels() -> None:
    """With p = 1 and the same seed, the labels are those of `RandomLabels`."""
    assert equal(PartialLabels(1.0, seed=5)(*many_labels(), 10), RandomLabels(seed=5)(*many_labels(), 10))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
def test_the_share_of_changed_labels(p: float) -> None:
    """Of 20,000 labels 0.9 p are changed, as a redraw may hit the old class (exact binomial test)."""
    train, _ = PartialLabels(p)(*many_labels(), 10)
    changed = int((train.given_label != train.true_label).sum())
    assert stats.binomtest(changed, LABELS, 0.9 * p).pvalue > FALSE_ALARM


@pytest.mark.parametrize("classes", [2, 10])
def test_new_labels_are_uniform_and_independent_of_the_old(classes: int) -> None:
    """Random labels hit every class equally often, whatever the old class (chi-square, n = 20,000)."""
    train, test = many_labels()
    train = train._replace(true_label=train.true_label % classes, given_label=train.given_label % classes)
    train, _ = RandomLabels()(train, test, classes)
    table = torch.bincount(train.true_label * classes + train.given_label, minlength=classes**2).view(classes, classes)
    assert table.shape == (classes, classes)
    assert stats.chisquare(table.sum(0).numpy()).pvalue > FALSE_ALARM
    independence: Any = stats.chi2_contingency(table.numpy())
    assert independence.pvalue > FALSE_ALARM


def test_whether_a_label_is_redrawn_is_independent_of_it() -> None:
    """At p = 0.5 the old classes are equally often changed, and the new ones equally often hit (chi-square)."""
    train, _ = PartialLabels(0.5)(*many_labels(), 10)
    changed = train.given_label != train.true_label
    for label in (train.true_label, train.given_label):
        assert stats.chisquare(torch.bincount(label[changed], minlength=10).numpy()).pvalue > FALSE_ALARM


def test_corruptions_are_nested_in_p() -> None:
    """What is redrawn at a smaller p is redrawn at a larger one, to the same label."""
    shares = [PartialLabels(p, seed=2)(*many_labels(), 10)[0] for p in (0.0, 0.2, 0.5, 0.8, 1.0)]
    for fewer, more in pairwise(shares):
        changed = fewer.given_label != fewer.true_label
        assert torch.equal(fewer.given_label[changed], more.given_label[changed])
        assert (more.given_label != more.true_label).sum() > changed.sum()


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), float("inf")])
def test_p_out_of_range_is_refused(p: float) -> None:
    """The message has the probability."""
    with pytest.raises(ValueError, match=rf"p must be in \[0, 1\], got {p}"):
        PartialLabels(p)


def test_shuffled_pixels_is_one_permutation_of_whole_pixels() -> None:
    """All images of both sets have the same permutation of positions, with the colours of a pixel kept together."""
    train, test = ShuffledPixels()(*coded(20, 5), 10)
    order = orders(train)[0]
    assert torch.equal(orders(train), order.expand(20, -1))
    assert torch.equal(orders(test), order.expand(5, -1))
    assert (order == torch.arange(64)).sum() < 8  # a random permutation has 8 or more fixed points once in 95,000

    shape = (3, 8, 8)
    before, after = generated(shape=shape), ShuffledPixels()(*generated(shape=shape), 10)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new.image.flatten(2), old.image.flatten(2)[:, :, order])


def test_random_pixels_is_a_permutation_for_every_image() -> None:
    """Every image of both sets has its own permutation of positions, with the colours of a pixel kept together."""
    train, test = RandomPixels()(*coded(1500, 500), 10)
    assert len({tuple(order) for part in (train, test) for order in orders(part).tolist()}) == 2000

    shape = (3, 8, 8)
    before, after = generated(shape=shape), RandomPixels()(*generated(shape=shape), 10)
    for old, new, order in zip(before, after, RandomPixels()(*coded(40, 12), 10), strict=True):
        index = orders(order)[:, None].expand(-1, 3, -1)
        assert torch.equal(new.image.flatten(2), old.image.flatten(2).gather(2, index))


def test_random_pixels_moves_every_position_anywhere() -> None:
    """Over 2,000 images each corner's content is equally often anywhere (chi-square over 64 positions)."""
    train, _ = RandomPixels()(*coded(2000, 1), 10)
    for position in (0, 63):
        counts = torch.bincount(orders(train)[:, position], minlength=64)
        assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


@each
def test_the_training_set_does_not_depend_on_the_test_set(name: str) -> None:
    """With another number of test images the corrupted training set is the same, bit for bit."""
    (many, _), (few, _) = (MAKERS[name](0)(*generated(test=n), 10) for n in (12, 3))
    assert all(torch.equal(one, other) for one, other in zip(many, few, strict=True))


def test_noise_has_the_mean_and_variance_of_the_training_images() -> None:
    """In each channel of both sets (n = 25,600) and over all, within 5 standard errors (false alarm 6e-7 each)."""
    train, test = uneven()
    original = train.image.transpose(0, 1).flatten(1).double()
    for part in GaussianPixels()(train, test, 10):
        noise = part.image.transpose(0, 1).flatten(1).double()
        n, deviation = noise.shape[1], original.std(1)
        assert ((noise.mean(1) - original.mean(1)).abs() < 5 * deviation / n**0.5).all()
        assert ((noise.var(1) / original.var(1) - 1).abs() < 5 * (2 / n) ** 0.5).all()
        assert_close(noise.mean(), original.mean(), rtol=0, atol=1.0)
        assert_close(noise.std(), original.std(), rtol=0.02, atol=0)


def test_noise_is_normal() -> None:
    """Every channel passes the Kolmogorov-Smirnov test against the normal distribution of the originals' moments."""
    train, test = uneven()
    original = train.image.transpose(0, 1).flatten(1).double()
    for part in GaussianPixels()(train, test, 10):
        for channel, mean, deviation in zip(part.image.unbind(1), original.mean(1), original.std(1), strict=True):
            values = ((channel.double().flatten() - mean) / deviation).numpy()
            assert stats.kstest(values, "norm").pvalue > FALSE_ALARM
            assert abs(stats.kurtosis(values)) < 5 * (24 / len(values)) ** 0.5  # 5 standard errors


def test_noise_is_not_clipped() -> None:
    """Float16 pixels go below 0 and above 255."""
    for part in GaussianPixels()(*uneven(), 10):
        assert part.image.dtype == torch.float16
        assert part.image.isfinite().all()
        for channel in (0, 2):
            assert part.image[:, channel].min() < -20
            assert part.image[:, channel].max() > 275


def test_noise_is_independent() -> None:
    """No correlation of test with training set, nor of channels, images or neighbouring pixels (n > 22,000)."""
    train, test = (part.image.float().numpy() for part in GaussianPixels()(*uneven(), 10))
    pairs = [(train[:, channel], test[:, channel]) for channel in range(3)]
    pairs += [(train[:, 0], train[:, 1]), (train[:, 1], train[:, 2]), (train[:, 0], train[:, 2])]
    pairs += [(train[1:, 0], train[:-1, 0]), (train[:, 0, :, 1:], train[:, 0, :, :-1])]
    for one, other in pairs:
        correlation: Any = stats.pearsonr(one.ravel(), other.ravel())
        assert correlation.pvalue > FALSE_ALARM
