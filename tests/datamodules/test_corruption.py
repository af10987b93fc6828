"""Tests of datamodules/corruption.py, against the definitions of Zhang et al. 2017, section 2.1.

What every corruption must keep to is tested here for all of them.
"""

import hashlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.corruption import Corruption, GaussianPixels, RandomPixels, ShuffledPixels
from stratoscope.datamodules.corruptions.label_noise import (
    AsymmetricLabels,
    ConfusedLabels,
    PartialLabels,
    RandomLabels,
)
from stratoscope.datamodules.corruptions.subset import RandomSubset

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
CLASS_SHARES = [0.0, 1.0, 0.5, 0.5, 0.25, 0.75, 0.5, 0.125, 0.875, 0.5]
NEIGHBOURS: list[list[float]] = ((2 * np.eye(10) + np.roll(np.eye(10), 1, 1) + np.roll(np.eye(10), 2, 1)) / 4).tolist()
MAKERS: dict[str, Callable[[int], Corruption]] = {
    "PartialLabels": partial(PartialLabels, 0.5),
    "RandomLabels": RandomLabels,
    "PartialLabels by class": partial(PartialLabels, CLASS_SHARES),
    "ConfusedLabels": partial(ConfusedLabels, NEIGHBOURS),
    "AsymmetricLabels": partial(AsymmetricLabels, 0.5),
    "ShuffledPixels": ShuffledPixels,
    "RandomPixels": RandomPixels,
    "GaussianPixels": GaussianPixels,
    "RandomSubset": lambda seed: RandomSubset(15, seed=seed),
    "RandomSubset, balanced": lambda seed: RandomSubset(15, balanced=True, seed=seed),
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
    "PartialLabels by class": (
        "f21f79f5df78fb15a52487c27e9e6c4d8b3ead280001bedd20a5bb16412db26e",
        "e1a1927aef3f0845babf74ca573c8ec6d3c61a64c2f7c04202db606f2c19bbf1",
    ),
    "ConfusedLabels": (
        "f21f79f5df78fb15a52487c27e9e6c4d8b3ead280001bedd20a5bb16412db26e",
        "4d9f22bd189b69f8ee35c9680a2e7a9d31269d3ef35d5833d892c8e3e20d01cc",
    ),
    "AsymmetricLabels": (
        "f21f79f5df78fb15a52487c27e9e6c4d8b3ead280001bedd20a5bb16412db26e",
        "1874dc97421f1bab288eccd7270a6ffc0c54f47d2494e876daad45e3e7cfdf4e",
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
    "RandomSubset": (
        "410bf3d854b29e82c03fe794491053bf17754f5a044ca3e3481a26da88875cf4",
        "9e62d5d1af7dd9866b9fc232bdb86cace12c5f4fa132a50494c88d79005cbbda",
    ),
    "RandomSubset, balanced": (
        "47f287050ce534bf74213113d0c0310901753bfae84543edbe19be073df5d4cb",
        "33d0bce92427c05f7bfafbdcda5dbe8de729534b0dfa87af97206d791a1ec333",
    ),
}
LABEL_CORRUPTIONS = [name for name in MAKERS if "Labels" in name]
PIXEL_CORRUPTIONS = [name for name in MAKERS if "Pixels" in name]
each = pytest.mark.parametrize("name", MAKERS)
each_that_keeps_samples = pytest.mark.parametrize("name", LABEL_CORRUPTIONS + PIXEL_CORRUPTIONS)
each_of_labels = pytest.mark.parametrize("name", LABEL_CORRUPTIONS)
each_of_pixels = pytest.mark.parametrize("name", PIXEL_CORRUPTIONS)


def generated(train: int = 40, test: int = 12, shape: tuple[int, int, int] = (3, 6, 5)) -> Sets:
    """A set made by whole-number arithmetic alone, in which no two images are equal."""

    def part(n: int, shift: int) -> Batch:
        entry = torch.arange(n * shape[0] * shape[1] * shape[2]) + shift
        image = ((entry * entry * 7 + entry * 31) // 13 % 256).to(torch.uint8).view(n, *shape)
        return labelled(image, (torch.arange(n) * 7 + shift) % 10)

    return {"train": part(train, 0), "test": part(test, 10_007)}


def coded(train: int, test: int) -> Sets:
    """Equal 8x8 images from which a permutation can be read: the colours of position k are (k, 255 - k, 2 k)."""
    position = torch.arange(64)
    image = torch.stack([position, 255 - position, 2 * position]).to(torch.uint8).view(1, 3, 8, 8)
    sizes = {"train": train, "test": test}
    return {name: labelled(image.expand(n, -1, -1, -1).clone(), torch.zeros(n).long()) for name, n in sizes.items()}


def orders(data: Batch) -> Tensor:
    """The permutation (n, 64) of every image of a set that was `coded`; fails if colours were torn apart."""
    red, green, blue = data.image.flatten(2).long().unbind(1)
    assert torch.equal(green, 255 - red)
    assert torch.equal(blue, 2 * red)
    assert torch.equal(red.sort(1).values, torch.arange(64).expand(len(red), -1))
    return red


def uneven() -> Sets:
    """400 training images with another distribution in every channel, and black test images."""
    generator = torch.Generator().manual_seed(0)
    channels = [torch.randint(0, high, (400, 8, 8), generator=generator) for high in (256, 100, 2)]
    channels[2] = channels[2] * 255
    image = torch.stack(channels, dim=1).to(torch.uint8)
    label = torch.zeros(400).long()
    return {"train": labelled(image, label), "test": labelled(torch.zeros_like(image), label)}


def equal(one: Sets, other: Sets) -> bool:
    """Whether two data sets have the same names, in one order, and are the same in every bit."""
    pairs = zip(one.values(), other.values(), strict=True)
    return list(one) == list(other) and all(torch.equal(a, b) for x, y in pairs for a, b in zip(x, y, strict=True))


def sha256(*tensors: Tensor) -> str:
    """Checksum of the bytes, little-endian."""
    arrays = (tensor.contiguous().numpy() for tensor in tensors)
    return hashlib.sha256(
        b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    ).hexdigest()


@each
def test_draws_never_change(name: str) -> None:
    """The corrupted data of seed 0 have the checksums written down here, whatever the versions of torch and NumPy."""
    train, test = MAKERS[name](0)(generated(), 10).values()
    assert (sha256(train.image, test.image), sha256(train.given_label)) == GOLDEN[name]


@each
def test_the_same_seed_gives_the_same_data(name: str) -> None:
    """Two corruptions of one seed agree in every bit, and so does one used twice."""
    corruption = MAKERS[name](3)
    first = corruption(generated(), 10)
    assert equal(first, corruption(generated(), 10))
    assert equal(first, MAKERS[name](3)(generated(), 10))


@each
def test_another_seed_gives_other_data(name: str) -> None:
    """Seeds 0, 1 and 2^40 differ from each other."""
    small, middle, large = (MAKERS[name](seed)(generated(), 10) for seed in (0, 1, 2**40))
    assert not equal(small, middle)
    assert not equal(small, large)
    assert not equal(middle, large)


@each
def test_global_random_states_are_neither_read_nor_moved(name: str) -> None:
    """Corrupting takes nothing from the global generators of torch, NumPy and Python."""

    def states() -> tuple[list[int], str, tuple[Any, ...]]:
        return torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate()

    before = states()
    corruption = MAKERS[name](0)
    random.setstate(before[2])  # the tests' own check of a list's type draws from it
    first = corruption(generated(), 10)
    assert states() == before
    torch.manual_seed(12345)
    np.random.seed(12345)
    random.seed(12345)
    assert equal(first, MAKERS[name](0)(generated(), 10))


@each
def test_the_given_data_stay(name: str) -> None:
    """The sets that were passed in are not modified."""
    data = generated()
    MAKERS[name](0)(data, 10)
    assert equal(data, generated())


@each
def test_a_negative_seed_is_refused(name: str) -> None:
    """The message has the seed."""
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        MAKERS[name](-1)


@each_that_keeps_samples
def test_true_labels_and_indices_stay(name: str) -> None:
    """No corruption touches the true labels or the positions in the original set, and shapes and orders stay."""
    for before, after in zip(generated().values(), MAKERS[name](0)(generated(), 10).values(), strict=True):
        assert torch.equal(after.true_label, before.true_label)
        assert torch.equal(after.index, before.index)
        assert after.image.shape == before.image.shape
        assert after.given_label.dtype == torch.int64


@each_of_labels
def test_label_corruptions_touch_training_labels_only(name: str) -> None:
    """Images of both sets and all test labels stay."""
    data, given_label = generated(), generated()["train"].given_label
    corrupted = MAKERS[name](0)(data, 10)
    assert not torch.equal(corrupted["train"].given_label, given_label)
    assert equal(data, {**corrupted, "train": corrupted["train"]._replace(given_label=given_label)})


@each_of_pixels
def test_pixel_corruptions_touch_images_only(name: str) -> None:
    """The given labels of both sets stay, and every image of both sets is another."""
    for before, after in zip(generated().values(), MAKERS[name](0)(generated(), 10).values(), strict=True):
        assert torch.equal(after.given_label, before.given_label)
        assert (after.image != before.image).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["RandomPixels", "GaussianPixels"])
def test_images_drawn_in_other_portions_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many images are drawn at a time bounds the memory and changes nothing."""
    whole = MAKERS[name](0)(generated(), 10)
    monkeypatch.setattr("stratoscope.datamodules.corruption.IMAGES", 7)
    assert equal(whole, MAKERS[name](0)(generated(), 10))


def test_shuffled_pixels_is_one_permutation_of_whole_pixels() -> None:
    """All images of both sets have the same permutation of positions, with the colours of a pixel kept together."""
    train, test = ShuffledPixels()(coded(20, 5), 10).values()
    order = orders(train)[0]
    assert torch.equal(orders(train), order.expand(20, -1))
    assert torch.equal(orders(test), order.expand(5, -1))
    assert (order == torch.arange(64)).sum() < 8  # a random permutation has 8 or more fixed points once in 95,000

    shape = (3, 8, 8)
    before = generated(shape=shape)
    after = ShuffledPixels()(before, 10)
    for old, new in zip(before.values(), after.values(), strict=True):
        assert torch.equal(new.image.flatten(2), old.image.flatten(2)[:, :, order])


def test_random_pixels_is_a_permutation_for_every_image() -> None:
    """Every image of both sets has its own permutation of positions, with the colours of a pixel kept together."""
    train, test = RandomPixels()(coded(1500, 500), 10).values()
    assert len({tuple(order) for part in (train, test) for order in orders(part).tolist()}) == 2000

    shape = (3, 8, 8)
    before = generated(shape=shape)
    after, codes = RandomPixels()(before, 10), RandomPixels()(coded(40, 12), 10)
    for old, new, code in zip(before.values(), after.values(), codes.values(), strict=True):
        index = orders(code)[:, None].expand(-1, 3, -1)
        assert torch.equal(new.image.flatten(2), old.image.flatten(2).gather(2, index))


def test_random_pixels_moves_every_position_anywhere() -> None:
    """Over 2,000 images each corner's content is equally often anywhere (chi-square over 64 positions)."""
    train, _ = RandomPixels()(coded(2000, 1), 10).values()
    for position in (0, 63):
        counts = torch.bincount(orders(train)[:, position], minlength=64)
        assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


@each
def test_the_training_set_does_not_depend_on_the_test_set(name: str) -> None:
    """With another number of test images the corrupted training set is the same, bit for bit."""
    many, few = (MAKERS[name](0)(generated(test=n), 10)["train"] for n in (12, 3))
    assert all(torch.equal(one, other) for one, other in zip(many, few, strict=True))


@each
def test_further_test_sets_change_nothing(name: str) -> None:
    """With a further test set the others are the same, bit for bit, and their order stays."""
    alone = MAKERS[name](0)(generated(), 10)
    together = MAKERS[name](0)({**generated(), "other": generated(train=7)["train"]}, 10)
    assert list(together) == ["train", "test", "other"]
    assert equal(alone, {part: together[part] for part in ("train", "test")})


def test_further_test_sets_are_corrupted_like_the_first() -> None:
    """They see the one permutation of shuffled pixels, and permutations or noise of their own."""
    data = generated()
    shuffled, permuted, noise = (
        MAKERS[name](0)({**data, "other": data["test"]}, 10)
        for name in ("ShuffledPixels", "RandomPixels", "GaussianPixels")
    )
    assert torch.equal(shuffled["other"].image, shuffled["test"].image)
    for sets in (permuted, noise):
        assert (sets["other"].image != sets["test"].image).flatten(1).any(1).all()
    assert torch.equal(permuted["other"].image.flatten(2).sort(2)[0], data["test"].image.flatten(2).sort(2)[0])
    assert noise["other"].image.dtype == torch.float16


def test_noise_has_the_mean_and_variance_of_the_training_images() -> None:
    """In each channel of both sets (n = 25,600) and over all, within 5 standard errors (false alarm 6e-7 each)."""
    data = uneven()
    original = data["train"].image.transpose(0, 1).flatten(1).double()
    for part in GaussianPixels()(data, 10).values():
        noise = part.image.transpose(0, 1).flatten(1).double()
        n, deviation = noise.shape[1], original.std(1)
        assert ((noise.mean(1) - original.mean(1)).abs() < 5 * deviation / n**0.5).all()
        assert ((noise.var(1) / original.var(1) - 1).abs() < 5 * (2 / n) ** 0.5).all()
        assert_close(noise.mean(), original.mean(), rtol=0, atol=1.0)
        assert_close(noise.std(), original.std(), rtol=0.02, atol=0)


def test_noise_is_normal() -> None:
    """Every channel passes the Kolmogorov-Smirnov test against the normal distribution of the originals' moments."""
    data = uneven()
    original = data["train"].image.transpose(0, 1).flatten(1).double()
    for part in GaussianPixels()(data, 10).values():
        for channel, mean, deviation in zip(part.image.unbind(1), original.mean(1), original.std(1), strict=True):
            values = ((channel.double().flatten() - mean) / deviation).numpy()
            assert stats.kstest(values, "norm").pvalue > FALSE_ALARM
            assert abs(stats.kurtosis(values)) < 5 * (24 / len(values)) ** 0.5  # 5 standard errors


def test_noise_is_not_clipped() -> None:
    """Float16 pixels go below 0 and above 255."""
    for part in GaussianPixels()(uneven(), 10).values():
        assert part.image.dtype == torch.float16
        assert part.image.isfinite().all()
        for channel in (0, 2):
            assert part.image[:, channel].min() < -20
            assert part.image[:, channel].max() > 275


def test_noise_is_independent() -> None:
    """No correlation of test with training set, nor of channels, images or neighbouring pixels (n > 22,000)."""
    train, test = (part.image.float().numpy() for part in GaussianPixels()(uneven(), 10).values())
    pairs = [(train[:, channel], test[:, channel]) for channel in range(3)]
    pairs += [(train[:, 0], train[:, 1]), (train[:, 1], train[:, 2]), (train[:, 0], train[:, 2])]
    pairs += [(train[1:, 0], train[:-1, 0]), (train[:, 0, :, 1:], train[:, 0, :, :-1])]
    for one, other in pairs:
        correlation: Any = stats.pearsonr(one.ravel(), other.ravel())
        assert correlation.pvalue > FALSE_ALARM
