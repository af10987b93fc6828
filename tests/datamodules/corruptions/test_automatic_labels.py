"""Tests of datamodules/corruptions/automatic_labels.py."""

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch import Tensor

from stratoscope.datamodules import GaussianPixels
from stratoscope.datamodules.batch import Sets, labelled
from stratoscope.datamodules.cifar10 import CIFAR10
from stratoscope.datamodules.corruptions.automatic_labels import (
    AutomaticLabels,
    BrightnessLabels,
    ClusterLabels,
    ColourLabels,
    ConvolutionLabels,
    EdgeLabels,
    LinearLabels,
    PrototypeLabels,
    balancing_bias,
    convolved,
    exact_product,
    nearness,
    random_images,
    random_weights,
    rounded_means,
    whole_pixels,
)

MAKERS: dict[str, Callable[[int], AutomaticLabels]] = {
    "BrightnessLabels": BrightnessLabels,
    "ColourLabels": ColourLabels,
    "EdgeLabels": EdgeLabels,
    "PrototypeLabels": PrototypeLabels,
    "LinearLabels": LinearLabels,
    "ConvolutionLabels": ConvolutionLabels,
    "ClusterLabels": ClusterLabels,
}
DRAWN = [name for name in MAKERS if name not in {"BrightnessLabels", "EdgeLabels"}]
ARG_MAX = ["PrototypeLabels", "LinearLabels", "ConvolutionLabels", "ClusterLabels"]
# SHA-256 of the given labels of training and test set of `generated()` at seed 0, as int64
GOLDEN = {
    "BrightnessLabels": (
        "c76666f74e20d6379b5dfe45a1a6b8a71a71cd00840bba9f9d8dbba907698137",
        "0310bbc5ffe419ff51295782888287415ced087a34984848db5bae32753e8aff",
    ),
    "ColourLabels": (
        "bda3356e56a8bb437441142690d30f4a97bb9707bf32cef1db602cacd157865e",
        "731c9023b933d839aeeafee7b182aa2150a771966b0f42efb5add71afb8d48d5",
    ),
    "EdgeLabels": (
        "7adc46251cd82dc3ee7e5f13df39b482a63b09d5ff9e34746179f21f41ea352f",
        "805d7f90fbe5f4c10650a46bd0900a9aff69cc6bf4fda64d20ceadb42a8e3122",
    ),
    "PrototypeLabels": (
        "cefd9891aa6c57dc701fa96d2d4024ab621e38098b27f1d3ddfd79335daf4e7e",
        "9635a357085df39038f79792bf0d944f04d11e493afdf28be1942c03976f0a98",
    ),
    "LinearLabels": (
        "daec0b350d798a0f25d007981519df6cb98bcfd6327b55fa01ff16e979949616",
        "9c4f8f964f9ef1cf4f2d12a7fbc6c07bccb6550ff3cc4d431bf162164aaf6137",
    ),
    "ConvolutionLabels": (
        "3106d4615424dd4a7134b82f9bd8601e74e4d94e0216005348cd93b9a35ebe85",
        "f3a70016213f984995eea027e6d0df070540e6a86294946d50f831e7a5b66643",
    ),
    "ClusterLabels": (
        "d2a1e21f77c266bc428d88f9975650598f0ba58e027338611f32986cf198d02e",
        "219ac3ca853effd4337af81c9695cea3268a21f723eaee850a9dd6e846ecf331",
    ),
}
each = pytest.mark.parametrize("name", MAKERS)


@cache
def generated(train: int = 3000, test: int = 500, shape: tuple[int, int, int] = (3, 9, 8)) -> Sets:
    """Images made by whole-number arithmetic alone: a coarse pattern of some brightness and contrast, and noise."""

    def part(n: int, shift: int) -> Tensor:
        size = shape[0] * shape[1] * shape[2]
        entry = torch.arange(n * size).view(n, *shape) + shift * size
        image = torch.arange(n).view(n, 1, 1, 1) + shift
        row, column = torch.arange(shape[1])[:, None], torch.arange(shape[2])
        channel = torch.arange(shape[0]).view(-1, 1, 1)
        pattern = (row // 3 * 13 + column // 3 * 29 + channel * 7 + 11) * (image * image + 17) // 5 % 97
        brightness = image * 37 % 89
        noise = (entry * entry * 7 + entry * 31) // 13 % 64
        return (pattern * (1 + image * 5 % 3) // 3 + brightness + noise).to(torch.uint8)

    return {
        name: labelled(part(n, shift), (torch.arange(n) * 7 + shift) % 10)
        for name, n, shift in (("train", train, 0), ("test", test, 10_007), ("other", 50, 20_011))
    }


@cache
def labelled_by(name: str) -> Sets:
    """The same, with labels of 10 classes at seed 0."""
    return MAKERS[name](0)(generated(), 10)


def digest(label: Tensor) -> str:
    """SHA-256 of labels."""
    return hashlib.sha256(label.numpy().astype("<i8").tobytes()).hexdigest()


def given(sets: Sets) -> dict[str, Tensor]:
    """The given labels of all sets."""
    return {name: data.given_label for name, data in sets.items()}


def same(one: Sets, other: Sets) -> bool:
    """Whether all given labels are equal."""
    return all(torch.equal(label, given(other)[name]) for name, label in given(one).items())


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, and sets it back in the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@each
def test_labels_never_change(name: str) -> None:
    """Labels at seed 0 have the digests they had when this was written, on every machine and version."""
    labels = given(labelled_by(name))
    assert (digest(labels["train"]), digest(labels["test"])) == GOLDEN[name]


@each
def test_only_given_labels_change(name: str) -> None:
    """Images, true labels and positions are the same objects as before; the sets handed in stay as they were."""
    sets = generated(1000, 50)
    before = given(sets)
    for part, data in MAKERS[name](0)(sets, 10).items():
        assert data.image is sets[part].image
        assert data.true_label is sets[part].true_label
        assert data.index is sets[part].index
        assert data.given_label.dtype == torch.int64
        assert not torch.equal(data.given_label, data.true_label)
    assert all(sets[part].given_label is label for part, label in before.items())


@each
@pytest.mark.parametrize("classes", [2, 7, 10])
def test_classes_are_balanced(name: str, classes: int) -> None:
    """Each has its share of the 3,000 training images but for 1 % and images of equal value; all occur in test."""
    labels = given(labelled_by(name) if classes == 10 else MAKERS[name](0)(generated(), classes))
    counts = torch.bincount(labels["train"], minlength=classes)
    assert len(counts) == classes
    slack = 0.01 if name in ARG_MAX else 0.05
    assert (counts - 3000 / classes).abs().max() <= slack * 3000 / classes + 1
    assert torch.bincount(labels["test"], minlength=classes).min() > 0


@each
def test_a_label_depends_on_the_image_alone(name: str) -> None:
    """Of a test set of three images each has the label it has among 500; training labels stay as they are."""
    sets = generated()
    few = {**sets, "test": type(sets["test"])(*(part[[400, 3, 77]] for part in sets["test"]))}
    labels, of_few = given(labelled_by(name)), given(MAKERS[name](0)(few, 10))
    assert torch.equal(of_few["test"], labels["test"][[400, 3, 77]])
    assert torch.equal(of_few["train"], labels["train"])


@each
def test_training_and_test_sets_have_one_rule(name: str) -> None:
    """Training images that are in the test set too have the same labels there."""
    sets = generated(1000, 50)
    labels = given(MAKERS[name](0)({**sets, "test": sets["train"]}, 10))
    assert torch.equal(labels["train"], labels["test"])


@each
def test_labels_do_not_depend_on_true_labels(name: str) -> None:
    """Other true and given labels change nothing."""
    sets = generated()
    other = {part: labelled(data.image, torch.zeros(len(data.index), dtype=torch.int64)) for part, data in sets.items()}
    assert same(labelled_by(name), MAKERS[name](0)(other, 10))


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in {"PrototypeLabels", "ClusterLabels"}])
def test_the_order_of_training_images_does_not_matter(name: str) -> None:
    """With the training images reversed the labels are reversed (prototypes are drawn by position)."""
    sets = generated()
    turned = {**sets, "train": type(sets["train"])(*(part.flip(0) for part in sets["train"]))}
    labels, of_turned = given(labelled_by(name)), given(MAKERS[name](0)(turned, 10))
    assert torch.equal(of_turned["train"], labels["train"].flip(0))
    assert torch.equal(of_turned["test"], labels["test"])


@each
@pytest.mark.parametrize("images", [37, 10_000])
def test_portions_do_not_matter(name: str, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are the same with other numbers of images measured at a time."""
    monkeypatch.setattr("stratoscope.datamodules.corruptions.automatic_labels.IMAGES", images)
    assert same(labelled_by(name), MAKERS[name](0)(generated(), 10))


@each
def test_threads_do_not_matter(name: str, threads: Callable[[int], None]) -> None:
    """Labels are the same with one thread and with two."""
    labels = []
    for count in (1, 2):
        threads(count)
        labels.append(MAKERS[name](0)(generated(1000, 50), 10))
    assert same(*labels)


@pytest.mark.parametrize("name", DRAWN)
def test_seeds_differ(name: str) -> None:
    """Another seed gives other labels; the same seed the same ones, as the tests above have seen."""
    assert not same(MAKERS[name](1)(generated(), 10), labelled_by(name))


@each
def test_pixels_that_are_not_uint8_are_rounded_and_clipped(name: str) -> None:
    """After Gaussian pixels the labels are those of the images rounded to [0, 255]."""
    noise = GaussianPixels()(generated(1000, 50), 10)
    assert noise["train"].image.min() < 0
    rounded = {
        part: data._replace(image=torch.from_numpy(np.clip(np.rint(data.image.float().numpy()), 0, 255)).byte())
        for part, data in noise.items()
    }
    assert same(MAKERS[name](0)(noise, 10), MAKERS[name](0)(rounded, 10))


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "ColourLabels"])
def test_grey_images_have_labels(name: str) -> None:
    """One channel is enough, but for colours."""
    labels = given(MAKERS[name](0)(generated(shape=(1, 8, 8)), 10))
    assert len(torch.bincount(labels["train"])) == 10


def test_grey_images_have_no_colour() -> None:
    """The message has the number of channels."""
    with pytest.raises(ValueError, match="ColourLabels need images of 2 or more channels, got 1"):
        ColourLabels()(generated(shape=(1, 8, 8)), 10)


@each
def test_too_few_training_images_are_refused(name: str) -> None:
    """The message has both numbers."""
    with pytest.raises(ValueError, match="labels of 10 classes need as many training images, got 9"):
        MAKERS[name](0)(generated(train=9), 10)


def test_brightness_labels_are_deciles_of_the_mean() -> None:
    """NumPy's means, in order, have the labels 0 to 9 in order."""
    data = BrightnessLabels()(generated(), 10)["test"]
    order = data.image.double().mean((1, 2, 3)).argsort()
    assert all(first <= second for first, second in pairwise(data.given_label[order].tolist()))


def test_edge_labels_are_deciles_of_the_edge_energy() -> None:
    """NumPy's sums of squared differences, in order, have the labels 0 to 9 in order."""
    data = EdgeLabels()(generated(), 10)["test"]
    image = data.image.numpy().astype(np.int64)
    energy = (np.diff(image, axis=2) ** 2).sum((1, 2, 3)) + (np.diff(image, axis=3) ** 2).sum((1, 2, 3))
    assert (np.diff(data.given_label.numpy()[energy.argsort()]) >= 0).all()


def test_edge_energies_are_whole_numbers() -> None:
    """Energies of noise, which need more bits than float32 has, are exact."""
    image = torch.randint(0, 256, (50, 3, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    pixels = image.long()
    energy = sum(pixels.diff(dim=axis).square().sum((1, 2, 3)) for axis in (2, 3))
    measured = EdgeLabels().measure(image, 10)(image)
    assert int(measured.max()) > 2**24
    assert torch.equal(measured, torch.as_tensor(energy))


def test_colour_labels_do_not_see_grey() -> None:
    """One value added to all pixels of an image changes no label; one added to a channel does."""
    sets = generated()
    image = sets["test"].image.clamp(0, 200)
    shifts = {"brighter": torch.full((3, 1, 1), 55), "redder": torch.tensor([55, 0, 0]).view(3, 1, 1)}
    parts = {"train": sets["train"], "test": sets["test"]._replace(image=image)}
    parts |= {name: parts["test"]._replace(image=(image + shift).byte()) for name, shift in shifts.items()}
    labels = given(ColourLabels()(parts, 10))
    assert torch.equal(labels["brighter"], labels["test"])
    assert not torch.equal(labels["redder"], labels["test"])


def test_linear_labels_are_the_arg_max() -> None:
    """With integer arithmetic and the biases recomputed the labels are NumPy's."""
    sets = generated()
    weights = random_weights(0, "linear labels", 216, 10).numpy().astype(np.int64)
    scores = {name: data.image.flatten(1).numpy().astype(np.int64) @ weights for name, data in sets.items()}
    bias = balancing_bias(torch.from_numpy(scores["train"]).T).numpy()
    for name, label in given(LinearLabels()(sets, 10)).items():
        assert np.array_equal(label.numpy(), (scores[name] + bias).argmax(1))


def test_convolution_is_scipys() -> None:
    """A layer equals SciPy's cross-correlation with a margin of zeros, at every other position, for odd sizes too."""
    for height, width in ((9, 8), (2, 5), (1, 1)):
        x = torch.arange(2 * 3 * height * width).view(2, 3, height, width) ** 2 % 251
        weights = random_weights(0, "test", 4, 18)
        found = convolved(x.double(), weights)
        assert found.shape == (4, 3, -(-height // 2), -(-width // 2))
        kernels = weights.view(4, 3, 3, 2).permute(0, 3, 1, 2).numpy()  # rows are in order of (i, j, channel)
        for image in range(3):
            for kernel in range(4):
                planes = [
                    correlate2d(np.pad(x[channel, image].numpy(), 1), kernels[kernel, channel], "valid")
                    for channel in range(2)
                ]
                assert np.array_equal(found[kernel, image].numpy(), np.sum(planes, 0)[::2, ::2])


def test_nearness_orders_by_distance() -> None:
    """The prototype of largest score is the one of smallest squared distance."""
    image = generated(40)["train"].image
    points = image[random_images(0, 40, 10)].flatten(1).double()
    squared = torch.cdist(image.flatten(1).double(), points).square()
    scores = nearness(image, points)
    torch.testing.assert_close((image.flatten(1).double().square().sum(1)[:, None] - scores), squared)


def test_means_are_rounded_half_up() -> None:
    """Whole-number means of clusters; an empty cluster keeps its centroid."""
    image = torch.tensor([1, 2, 4, 5, 5], dtype=torch.uint8).view(5, 1, 1, 1)
    before = torch.tensor([[9.0], [8.0], [7.0]], dtype=torch.float64)
    means = rounded_means(image, torch.tensor([0, 0, 2, 2, 2]), before)
    assert means.flatten().tolist() == [2, 8, 5]


def test_clusters_are_tighter_than_prototypes() -> None:
    """The mean squared distance to the label's mean image is smaller than with prototypes, and than with all one."""
    sets = generated()
    spread = []
    for maker in (ClusterLabels, PrototypeLabels):
        data = maker(0)(sets, 10)["train"]
        x = data.image.flatten(1).double()
        means = torch.stack([x[data.given_label == label].mean(0) for label in range(10)])
        spread.append((x - means[data.given_label]).square().sum(1).mean())
    assert spread[0] < spread[1] < sets["train"].image.flatten(1).double().var(0).sum()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_biases_balance_uneven_scores(classes: int) -> None:
    """Scores of very different means and spreads are balanced to 1 %."""
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(classes)[:, None]
    scores = torch.randint(-1000, 1000, (classes, 5000), generator=generator) * (1 + 5 * place) + 3000 * place
    counts = torch.bincount((scores + balancing_bias(scores)[:, None]).argmax(0), minlength=classes)
    assert (counts - 5000 / classes).abs().max() <= 0.01 * 5000 / classes + 1


def test_what_might_not_be_exact_is_refused() -> None:
    """A product that could pass 2^53 raises, one just below does not."""
    x = torch.tensor([[2.0**26, 2.0**26]], dtype=torch.float64)
    assert exact_product(x, x.T / 2 - 1).item() == 2 * 2**26 * (2**25 - 1)
    with pytest.raises(OverflowError, match="sums over 2 values are too large for labels in exact arithmetic"):
        exact_product(x, x.T)


def test_uint8_pixels_are_taken_as_they_are() -> None:
    """Nothing is copied."""
    image = generated(10)["train"].image
    assert whole_pixels(image) is image


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_CIFAR10" not in os.environ, reason="STRATOSCOPE_TEST_CIFAR10 names no folder")
@each
def test_on_real_images(name: str) -> None:
    """On CIFAR-10 every label has 10 % of the training and about as many test images, and says little of the truth."""
    sets = MAKERS[name](0)(CIFAR10(os.environ["STRATOSCOPE_TEST_CIFAR10"]).load(), 10)
    for part, tolerance in (("train", 0.01), ("test", 0.15)):
        counts = torch.bincount(sets[part].given_label, minlength=10) / len(sets[part].index)
        assert (counts - 0.1).abs().max() <= 0.1 * tolerance
    labels, truth = sets["train"].given_label, sets["train"].true_label
    table = torch.bincount(labels * 10 + truth, minlength=100).view(10, 10).double() / len(labels)
    independent = table.sum(0) * table.sum(1, keepdim=True)
    assert torch.special.entr(independent).sum() - torch.special.entr(table).sum() < 0.25  # nats, of ln 10 = 2.3
