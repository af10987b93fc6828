"""Tests of datamodules/corruptions/pixels.py, against the definitions of Zhang et al. 2017, section 2.1."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.testing import assert_close

from stratoscope.datamodules import Batch, Corruption, GaussianPixels, RandomPixels, Sets, ShuffledPixels, labelled
from tests.datamodules.generated import equal, generated

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed


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


@pytest.mark.parametrize("kind", [ShuffledPixels, RandomPixels, GaussianPixels])
def test_pixel_corruptions_touch_images_only(kind: type[Corruption]) -> None:
    """The given labels of both sets stay, and every image of both sets is another."""
    for before, after in zip(generated().values(), kind(0)(generated(), 10).values(), strict=True):
        assert torch.equal(after.given_label, before.given_label)
        assert (after.image != before.image).flatten(1).any(1).all()


@pytest.mark.parametrize("kind", [RandomPixels, GaussianPixels])
def test_images_drawn_in_other_portions_are_the_same(kind: type[Corruption], monkeypatch: pytest.MonkeyPatch) -> None:
    """How many images are drawn at a time bounds the memory and changes nothing."""
    whole = kind(0)(generated(), 10)
    monkeypatch.setattr(f"{kind.__module__}.IMAGES", 7)
    assert equal(whole, kind(0)(generated(), 10))


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


def test_further_test_sets_are_corrupted_like_the_first() -> None:
    """They see the one permutation of shuffled pixels, and permutations or noise of their own."""
    data = generated()
    shuffled, permuted, noise = (
        kind(0)({**data, "other": data["test"]}, 10) for kind in (ShuffledPixels, RandomPixels, GaussianPixels)
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
