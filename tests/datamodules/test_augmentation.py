"""Tests of datamodules/augmentation.py: each transform against its definition, and what its draws depend on."""

import colorsys
import hashlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn.functional import pad
from torch.testing import assert_close

from stratoscope.datamodules.augmentation import (
    Augmentation,
    ColourJitter,
    Cutout,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomZoom,
    draws,
)
from stratoscope.datamodules.batch import Sets, labelled
from stratoscope.datamodules.image_data import ImageDataModule, ImageLoader
from stratoscope.datamodules.order import ShuffledBatches

FALSE_ALARM = 1e-6  # of each statistical test, were the seed not fixed
LAST = 1 - 2.0**-24  # the largest draw
MAKERS: dict[str, Callable[[], Augmentation]] = {
    "RandomCrop": lambda: RandomCrop(6),
    "RandomCrop, padded": lambda: RandomCrop(8, padding=4),
    "RandomFlip": RandomFlip,
    "RandomRotation": RandomRotation,
    "RandomZoom": lambda: RandomZoom(5),
    "Cutout": lambda: Cutout(3),
    "ColourJitter": ColourJitter,
}
each = pytest.mark.parametrize("name", MAKERS)


def images(n: int = 6, height: int = 8, width: int = 8) -> Tensor:
    """Random uint8 images of three colours, none of them black."""
    return torch.randint(1, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def same_draw(*numbers: float, n: int = 6) -> Tensor:
    """The same numbers for every image."""
    return torch.tensor([numbers]).expand(n, -1).contiguous()


def draw(augmentation: Augmentation, n: int = 6, seed: int = 0, epoch: int = 0) -> Tensor:
    """The random numbers of an epoch for one augmentation alone."""
    (numbers,) = draws([augmentation], seed, epoch, n)
    return numbers


class Squares(ImageDataModule):
    """50 training and 20 test images of 3x8x8 pixels, seen as they are."""

    def load(self) -> Sets:
        """Make the images."""
        return {name: labelled(images(n), torch.arange(n) % 10) for name, n in (("train", 50), ("test", 20))}


def squares(batch_size: int = 10, seed: int = 0, augmentation: Any = None) -> Squares:
    """The data, cropped, flipped and jittered where nothing else is said."""
    augmentation = augmentation or [RandomCrop(7), RandomFlip(), ColourJitter()]
    data = Squares(batch_size=batch_size, seed=seed, augmentation=augmentation, normalisation="unit")
    data.setup()
    return data


def by_sample(loader: ImageLoader | list[ImageLoader], epoch: int = 0) -> dict[int, Tensor]:
    """The image of each sample in an epoch."""
    assert isinstance(loader, ImageLoader)
    if isinstance(loader.batch_sampler, ShuffledBatches):
        loader.batch_sampler.set_epoch(epoch)
    return {int(index): image for batch in loader for index, image in zip(batch.index, batch.image, strict=True)}


def assert_equal(one: dict[int, Tensor], other: dict[int, Tensor]) -> None:
    """Check that the same samples have the same images, to the last bits of arithmetic on other batches."""
    assert one.keys() == other.keys()
    for index, image in one.items():
        assert_close(image, other[index], rtol=0, atol=1e-6)


@each
def test_the_input_stays(name: str) -> None:
    """No augmentation changes images in place, of any dtype, at rest or not."""
    augmentation = MAKERS[name]()
    for dtype in (torch.uint8, torch.float16, torch.float32):
        image = images().to(dtype)
        before = image.clone()
        changed = augmentation(image, draw(augmentation))
        augmentation.at_rest(image)
        assert torch.equal(image, before)
        assert changed.dtype in {dtype, torch.float32}
        assert changed.isfinite().all()


@each
def test_images_do_not_see_each_other(name: str) -> None:
    """An image alone becomes what it becomes in a batch, for the same draw."""
    augmentation, image = MAKERS[name](), images()
    numbers = draw(augmentation)
    together = augmentation(image, numbers)
    for i in range(len(image)):
        assert_close(augmentation(image[i : i + 1], numbers[i : i + 1])[0], together[i], rtol=0, atol=1e-3)


@each
def test_draws_change_the_image(name: str) -> None:
    """Two draws that differ in every number give different images; the scale is kept."""
    augmentation, image = MAKERS[name](), images()
    one, other = (augmentation(image, same_draw(*[value] * augmentation.words)) for value in (0.1, 0.8))
    assert not torch.equal(one, other)
    for changed in (one, other):
        assert changed.min() >= 0
        assert changed.max() <= 255 + 1e-3


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 11)])
@pytest.mark.parametrize("padding", [0, 2])
def test_a_crop_is_a_window_at_the_place_drawn(height: int, width: int, padding: int) -> None:
    """Every draw gives the slice of the padded image that begins at the floor of its share of the places."""
    image, crop = images(50, height, width), RandomCrop(5, padding)
    numbers = draw(crop, 50)
    numbers[0], numbers[1] = 0, LAST
    padded = pad(image, [padding] * 4)
    places = (height + 2 * padding - 4, width + 2 * padding - 4)
    cropped = crop(image, numbers)
    assert cropped.dtype == torch.uint8
    for window, whole, (vertical, horizontal) in zip(cropped, padded, numbers.double().tolist(), strict=True):
        row, column = int(vertical * places[0]), int(horizontal * places[1])
        assert torch.equal(window, whole[:, row : row + 5, column : column + 5])
    assert torch.equal(cropped[1], padded[1, :, -5:, -5:])


@pytest.mark.parametrize(
    ("size", "padding", "first"), [(8, 0, 0), (4, 0, 2), (5, 0, 1), (8, 4, 0), (7, 1, 0), (1, 0, 3)]
)
def test_a_crop_at_rest_is_the_middle(size: int, padding: int, first: int) -> None:
    """At rest the margins are equal, or one pixel less above and to the left; padding is cropped away again."""
    at_rest = RandomCrop(size, padding).at_rest(images())
    assert torch.equal(at_rest, images()[:, :, first : first + size, first : first + size])


def test_a_crop_at_rest_may_see_its_padding() -> None:
    """A window larger than the image has equal black margins."""
    assert torch.equal(RandomCrop(12, padding=4).at_rest(images()), pad(images(), [2] * 4))


def test_a_crop_at_rest_is_that_of_cifar10() -> None:
    """The middle 28 of 32 pixels begin at the third, as those of the data module's crop do."""
    image = images(2, 32, 32)
    assert torch.equal(RandomCrop(28).at_rest(image), image[:, :, 2:30, 2:30])


def test_windows_are_uniform() -> None:
    """Over 20,000 samples all 5 x 5 places of 28 in 32 pixels are equally frequent (chi-square)."""
    places = draw(RandomCrop(28), 20_000).double().mul(5).long()
    counts = torch.bincount(places[:, 0] * 5 + places[:, 1], minlength=25)
    assert len(counts) == 25
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


def test_windows_of_an_image_are_uniform_over_epochs() -> None:
    """Over 3,000 epochs one sample sees all 9 windows, told by their first pixel, equally often (chi-square)."""
    image = torch.arange(64).view(1, 1, 8, 8).expand(3000, 3, -1, -1).to(torch.uint8)
    crop = RandomCrop(6)
    numbers = torch.cat([draw(crop, 3, epoch=epoch)[1:2] for epoch in range(3000)])
    first = crop(image, numbers)[:, 0, 0, 0].long()
    counts = torch.bincount(first // 8 * 3 + first % 8, minlength=9)
    assert len(counts) == 9
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


def test_a_crop_that_does_not_fit_is_refused() -> None:
    """The message has the window and the images with their padding."""
    crop = RandomCrop(11, padding=1)
    message = r"a crop of 11 pixels does not fit into images of \(10, 10\)"
    with pytest.raises(ValueError, match=message):
        crop(images(), draw(crop))
    with pytest.raises(ValueError, match=message):
        crop.at_rest(images())


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_a_flip_exchanges_left_and_right(p: float) -> None:
    """Images whose draw is below p are mirrored, the others stay."""
    image, flip = images(200), RandomFlip(p)
    numbers = draw(flip, 200)
    flipped = flip(image, numbers)
    assert flipped.dtype == torch.uint8
    for i, number in enumerate(numbers[:, 0].tolist()):
        expected = torch.from_numpy(image[i].numpy()[:, :, ::-1].copy()) if number < p else image[i]
        assert torch.equal(flipped[i], expected)
    assert torch.equal(flip.at_rest(image), image)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_flips_have_their_probability(p: float) -> None:
    """Of 20,000 images a share p is mirrored (exact binomial test), independently of the next epoch (chi-square)."""
    flip = RandomFlip(p)
    side = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(20_000, -1, -1, -1)
    now, later = (flip(side, draw(flip, 20_000, epoch=epoch))[:, 0, 0, 0].numpy() > 0 for epoch in (0, 1))
    assert stats.binomtest(int(now.sum()), 20_000, p).pvalue > FALSE_ALARM
    independence: Any = stats.chi2_contingency(np.histogram2d(now, later, 2)[0])
    assert independence.pvalue > FALSE_ALARM


def test_a_rotation_by_0_degrees_changes_nothing() -> None:
    """A draw of a half, and a largest angle of 0, give the image itself."""
    for rotated in (RandomRotation(25.0)(images(), same_draw(0.5)), RandomRotation(0.0)(images(), same_draw(0.9))):
        assert rotated.dtype == torch.float32
        assert_close(rotated, images().float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("number", "turns"), [(0.0, -1), (LAST, 1)])
def test_a_rotation_by_90_degrees_is_a_turn(number: float, turns: int) -> None:
    """The ends of +-90 degrees are NumPy's quarter turns; the largest draw turns against the clock."""
    rotated = RandomRotation(90.0)(images(), same_draw(number))
    expected = torch.from_numpy(np.rot90(images().numpy(), turns, axes=(2, 3)).astype(np.float32))
    assert_close(rotated, expected, rtol=0, atol=0.02)


def test_a_rotation_by_180_degrees_is_both_flips() -> None:
    """Images that are not square keep their shape."""
    image = images(6, 6, 10)
    assert_close(RandomRotation(180.0)(image, same_draw(0.0)), image.flip(2, 3).float(), rtol=0, atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(21, 21), (21, 31)])
def test_a_rotation_keeps_angles_and_lengths(height: int, width: int) -> None:
    """A bright spot moves along a circle about the middle, by the angle drawn, against the clock."""
    image = torch.zeros(1, 1, height, width)
    image[0, 0, height // 2, width // 2 + 7] = 255
    for number in (0.1, 0.4, 0.8):
        angle = math.radians((2 * number - 1) * 60)
        rotated = RandomRotation(60.0)(image, torch.tensor([[number]]))[0, 0]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        row, column = ((rotated * place).sum() / rotated.sum() for place in (rows, columns))
        assert column.item() == pytest.approx(width // 2 + 7 * math.cos(angle), abs=0.1)
        assert row.item() == pytest.approx(height // 2 - 7 * math.sin(angle), abs=0.1)


def test_a_rotation_is_black_outside() -> None:
    """At 45 degrees the corners of a white image are black and the middle is white."""
    rotated = RandomRotation(45.0)(torch.full((1, 1, 21, 21), 255, dtype=torch.uint8), torch.tensor([[0.0]]))[0, 0]
    assert rotated[[0, 0, -1, -1], [0, -1, 0, -1]].abs().max() < 1e-3
    assert_close(rotated[5:16, 5:16], torch.full((11, 11), 255.0), rtol=0, atol=1e-2)


def test_a_zoom_of_the_whole_image_changes_nothing() -> None:
    """A window as large as the image is the image, wherever it is drawn."""
    zoomed = RandomZoom(8)(images(), draw(RandomZoom(8)))
    assert zoomed.dtype == torch.float32
    assert_close(zoomed, images().float(), rtol=0, atol=0.01)


def bicubic(places: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Weights of `size` pixels, mirrored at the edges, for values at some places (Keys 1981, with a = -3/4)."""
    x = abs(places[:, None] - np.arange(-size, 2 * size))
    weights = np.select(
        [x <= 1, x < 2], [1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)], default=0.0
    )
    before, inside, after = np.split(weights, 3, axis=1)
    folded: NDArray[np.float64] = before[:, ::-1] + inside + after[:, ::-1]
    return folded


@pytest.mark.parametrize(("vertical", "horizontal"), [(0.0, 0.0), (LAST, 0.0), (0.5, LAST), (0.3, 0.6)])
@pytest.mark.parametrize("part", [0.0, 0.4])
def test_a_zoom_is_the_window_enlarged(vertical: float, horizontal: float, part: float) -> None:
    """The pixel x of the enlarged image is at corner + (x + 1/2) window / 16 - 1/2 of the original."""
    image, window = images(1, 16, 16), 8 + 8 * part
    zoomed = RandomZoom(8)(image, torch.tensor([[part, horizontal, vertical]]))[0]
    down, across = (
        bicubic((16 - window) * place + (np.arange(16) + 0.5) * window / 16 - 0.5, 16)
        for place in (vertical, horizontal)
    )
    expected = (down @ image[0].double().numpy() @ across.T).clip(0, 255)
    assert_close(zoomed.double(), torch.from_numpy(expected), rtol=0, atol=0.01)


def test_a_zoom_has_windows_of_all_sizes() -> None:
    """The first draw is the size between the smallest and the whole: a slope becomes flatter by its share."""
    slope = torch.arange(32.0).mul(8).expand(5, 1, 32, 32)
    sizes = torch.tensor([0.0, 0.25, 0.5, 0.75, LAST])
    zoomed = RandomZoom(16)(slope, torch.stack([sizes, torch.full((5,), 0.5), torch.full((5,), 0.5)], 1))
    step = (zoomed[:, 0, 16, 20] - zoomed[:, 0, 16, 12]) / 8
    assert_close(step, 8 * (16 + sizes * 16) / 32, rtol=1e-4, atol=0)


def test_a_zoom_stays_on_the_scale() -> None:
    """Bicubic overshoot beside an edge is cut off at 0 and 255."""
    edge = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(4).expand(1, 1, 8, 8)
    zoomed = RandomZoom(4)(edge, torch.tensor([[0.0, 0.5, 0.5]]))
    assert zoomed.min() == 0
    assert zoomed.max() == 255


def test_a_zoom_that_does_not_fit_is_refused() -> None:
    """The message has the smallest window and the images' shorter side."""
    with pytest.raises(ValueError, match="the smallest window, 9 pixels, does not fit into images of 8"):
        RandomZoom(9)(images(6, 8, 12), same_draw(0.5, 0.5, 0.5))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16])
def test_a_cut_out_is_a_black_square(size: int) -> None:
    """The square begins size // 2 before the pixel drawn and ends at the edge; all else stays."""
    image, cutout = images(60, 8, 10), Cutout(size)
    numbers = draw(cutout, 60)
    numbers[0], numbers[1] = 0, LAST
    cut = cutout(image, numbers)
    assert cut.dtype == torch.uint8
    for before, after, (vertical, horizontal) in zip(image, cut, numbers.double().tolist(), strict=True):
        row, column = int(vertical * 8) - size // 2, int(horizontal * 10) - size // 2
        expected = before.clone()
        expected[:, max(row, 0) : row + size, max(column, 0) : column + size] = 0
        assert torch.equal(after, expected)
    assert torch.equal(cutout.at_rest(image), image)


def still(**strengths: float) -> ColourJitter:
    """A jitter with nothing but these strengths."""
    return ColourJitter(**{
        **dict.fromkeys(("hue", "saturation", "value", "saturation_scale", "value_scale"), 0.0),
        **strengths,
    })


def colours() -> Tensor:
    """One image with black, white, greys, the primaries, their mixtures and random colours."""
    special = [[r, g, b] for r in (0, 128, 255) for g in (0, 128, 255) for b in (0, 128, 255)]
    random = images(1, 7, 11)[0].flatten(1).T.tolist()
    return torch.tensor(special + random, dtype=torch.uint8).T.reshape(1, 3, 8, 13)


@pytest.mark.parametrize("number", [0.0, 0.3, LAST])
def test_a_jitter_without_strength_changes_nothing(number: float) -> None:
    """From RGB to HSV and back every colour is itself, to 1e-3 of 255."""
    for image in (colours(), images()):
        assert_close(still()(image, same_draw(*[number] * 5, n=len(image))), image.float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "numbers", [(0.0, 0.0, 0.0, 0.0, 0.0), (LAST,) * 5, (0.9, 0.2, 0.6, 0.7, 0.1), (0.3, 0.7, 0.4, 0, 1)]
)
def test_a_jitter_is_that_of_colorsys(numbers: tuple[float, ...]) -> None:
    """Hue turned, saturation and value scaled, then shifted, then cut to [0, 1], as Python's colorsys does."""
    jittered = ColourJitter()(colours(), torch.tensor([numbers], dtype=torch.float32))[0].flatten(1).T
    d_h, d_s, d_v = ((2 * u - 1) * d for u, d in zip(numbers[:3], (0.06, 0.26, 0.20), strict=True))
    scales = (1 / (1 + a) + u * (1 + a - 1 / (1 + a)) for u, a in zip(numbers[3:], (0.21, 0.13), strict=True))
    a_s, a_v = scales
    for colour, found in zip(colours()[0].flatten(1).T.tolist(), jittered, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
        s, v = (min(max(part, 0.0), 1.0) for part in (s * a_s + d_s, v * a_v + d_v))
        expected = torch.tensor(colorsys.hsv_to_rgb((h + d_h) % 1, s, v))
        assert_close(found, 255 * expected, rtol=0, atol=0.01)


def test_each_strength_does_its_own_part() -> None:
    """A third of the circle turns red to green and blue; saturation 0 leaves greys; value scales what it says."""
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    up, down = torch.full((1, 5), LAST), torch.zeros(1, 5)
    assert still(hue=1 / 3)(red, up).flatten().tolist() == pytest.approx([0, 255, 0], abs=1e-3)
    assert still(hue=1 / 3)(red, down).flatten().tolist() == pytest.approx([0, 0, 255], abs=1e-3)
    assert still(saturation=1.0)(red, down).flatten().tolist() == pytest.approx([255, 255, 255], abs=1e-3)
    assert still(value=0.4)(red, down).flatten().tolist() == pytest.approx([153, 0, 0], abs=1e-3)
    assert still(value_scale=1.0)(red, down).flatten().tolist() == pytest.approx([127.5, 0, 0], abs=1e-3)
    assert still(saturation_scale=1.0)(red, down).flatten().tolist() == pytest.approx([255, 127.5, 127.5], abs=1e-3)


def test_a_jitter_of_one_channel_is_refused() -> None:
    """The message has the number of channels."""
    with pytest.raises(ValueError, match="needs images of three colours, got 1 channels"):
        ColourJitter()(images()[:, :1], same_draw(*[0.5] * 5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(0), "a size of 1 or more and padding of 0 or more, got 0 and 0"),
        (lambda: RandomCrop(28, padding=-1), "a size of 1 or more and padding of 0 or more, got 28 and -1"),
        (lambda: RandomFlip(1.5), r"flip probability p must be in \[0, 1\], got 1.5"),
        (lambda: RandomFlip(float("nan")), r"flip probability p must be in \[0, 1\], got nan"),
        (lambda: RandomRotation(-1.0), r"degrees must be in \[0, 180\], got -1.0"),
        (lambda: RandomRotation(181.0), r"degrees must be in \[0, 180\], got 181.0"),
        (lambda: RandomZoom(0), "the smallest window must be 1 pixel or more, got 0"),
        (lambda: Cutout(0), "a cut-out must have a size of 1 or more pixels, got 0"),
        (lambda: ColourJitter(hue=-0.1), r"shifts and scales must be 0 or more, got \(-0.1, 0.26, 0.2\) and"),
        (lambda: ColourJitter(value_scale=-2.0), r"shifts and scales must be 0 or more, got .* and \(0.21, -2.0\)"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Augmentation], message: str) -> None:
    """The message has what was given."""
    with pytest.raises(ValueError, match=message):
        make()


def test_draws_never_change() -> None:
    """The numbers of epochs 0 and 7 of seed 0 have the checksums written down here."""
    augmentations = [RandomCrop(28), RandomFlip(), ColourJitter()]
    hashes = []
    for epoch in (0, 7):
        numbers = [part.numpy().astype("<f4").tobytes() for part in draws(augmentations, 0, epoch, 1000)]
        assert [len(part) for part in numbers] == [4 * 1000 * words for words in (2, 1, 5)]
        hashes.append(hashlib.sha256(b"".join(numbers)).hexdigest())
    assert hashes == [
        "61a7129f148d63e5a0e59cbd98b05342c255f5de245313863100a8c7793bec2f",
        "73b8103b6bc022a45daa25efa249de01692654fe7d6a0c4eb46bad563d615976",
    ]


def test_draws_are_uniform_and_uncorrelated() -> None:
    """Each number is uniform over the samples (Kolmogorov-Smirnov), no two are correlated (n = 20,000)."""
    parts = [*draws([RandomCrop(), RandomFlip(), RandomFlip()], 0, 0, 20_000), *draws([RandomCrop()], 0, 1, 20_000)]
    columns = torch.cat(parts, 1).double().T.numpy()
    assert columns.min() >= 0
    assert columns.max() < 1
    for place, one in enumerate(columns):
        assert stats.kstest(one, "uniform").pvalue > FALSE_ALARM
        for other in columns[:place]:
            correlation: Any = stats.pearsonr(one, other)
            assert correlation.pvalue > FALSE_ALARM


def test_a_sample_has_its_draw_whatever_the_size_of_the_set() -> None:
    """More samples after it do not change a sample's numbers."""
    for few, many in zip(
        draws([RandomCrop(), RandomFlip()], 3, 2, 10), draws([RandomCrop(), RandomFlip()], 3, 2, 99), strict=True
    ):
        assert torch.equal(few, many[:10])


def test_draws_take_nothing_from_the_global_generator() -> None:
    """Augmenting an epoch neither moves nor reads torch's random state."""
    loader = squares().train_dataloader()
    before = torch.get_rng_state()
    first = by_sample(loader)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12345)
    assert all(torch.equal(image, first[index]) for index, image in by_sample(loader).items())


@each
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_sample_looks_the_same_in_every_batch_size(name: str, epoch: int) -> None:
    """The image of (seed, epoch, sample) does not depend on the size of the batches, nor so on the step."""
    expected = by_sample(squares(10, augmentation=MAKERS[name]()).train_dataloader(), epoch)
    assert len(expected) == 50
    for batch_size in (1, 7, 50):
        found = by_sample(squares(batch_size, augmentation=MAKERS[name]()).train_dataloader(), epoch)
        assert found.keys() == expected.keys()
        for index, image in found.items():
            assert_close(image, expected[index], rtol=0, atol=1e-5)


def test_the_order_does_not_matter() -> None:
    """Samples read one by one, and backwards, look as they do in their batches."""
    data = squares()
    expected = by_sample(data.train_dataloader(), 2)
    numbers = draws(data.augmentations, 0, 2, 50)
    for index in reversed(range(50)):
        (image,) = data.sets["train"].read(torch.tensor([index]), numbers).image
        assert_close(image, expected[index], rtol=0, atol=1e-6)


def test_an_epoch_entered_later_is_the_same() -> None:
    """Going straight to epoch 3, as after an interruption, gives what comes after epochs 0 to 2."""
    loader = squares().train_dataloader()
    epochs = [by_sample(loader, epoch) for epoch in range(4)]
    assert_equal(epochs[3], by_sample(squares().train_dataloader(), 3))
    assert_equal(epochs[0], by_sample(loader, 0))


def test_epochs_seeds_and_samples_differ() -> None:
    """Every epoch, seed, sample and place in the list has draws of its own."""
    first = by_sample(squares().train_dataloader())
    for another in (by_sample(squares().train_dataloader(), 1), by_sample(squares(seed=1).train_dataloader())):
        assert sum(not torch.equal(first[index], another[index]) for index in first) > 45
    for one, other in zip(*(draws([RandomFlip(), RandomFlip()], 0, epoch, 50) for epoch in (0, 1)), strict=True):
        assert not torch.equal(one, other)
    one, other = draws([RandomCrop(), RandomCrop()], 0, 0, 50)
    assert not torch.equal(one, other)
    assert len({tuple(row) for row in one.tolist()}) == 50


def test_several_are_applied_in_their_order() -> None:
    """A crop and then a cut-out leaves a hole in the window; the images are what each makes of the one before."""
    augmentations = [RandomCrop(6), Cutout(2), RandomFlip()]
    data = squares(50, augmentation=augmentations)
    image = images(50)
    for augmentation, numbers in zip(augmentations, draws(list(augmentations), 0, 0, 50), strict=True):
        image = augmentation(image, numbers)
    found = by_sample(data.train_dataloader())
    assert all(torch.equal(found[index], image[index] / 255) for index in range(50))


def test_evaluation_sees_images_at_rest() -> None:
    """The test set is cropped in the middle, and not flipped or jittered, in every pass."""
    data = squares()
    expected = images(20)[:, :, 0:7, 0:7] / 255
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        for _ in range(2):
            assert torch.equal(torch.stack(list(by_sample(loader).values())), expected)
