"""Tests of datamodules/shapes.py."""

import hashlib
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from stratoscope.datamodules import ShuffledPixels
from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.shapes import DISTANCES, IMAGES, NAMES, Shapes


def drawn(n: int = 200, size: int = 32, seed: int = 0, split: str = "train") -> Batch:
    """A set of n images."""
    return Shapes(n, n, size, seed).load()[split]


def grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A fine grid over a square around the circle every shape is drawn in."""
    axis = np.linspace(-1.2, 1.2, 481)
    u, v = np.meshgrid(axis, axis)
    return u, v


def test_the_images_never_change() -> None:
    """Images and labels of both default sets hash to what they were when first drawn, on every machine."""
    content = hashlib.sha256()
    for part in Shapes().load().values():
        content.update(part.image.numpy().tobytes())
        content.update(part.true_label.numpy().astype("<i8").tobytes())
    assert content.hexdigest() == "fa36ebd46bea951edd64fbcce2e0314ca8639394e55dc645e2fe00ed48084d90"


def test_sizes_and_dtypes() -> None:
    """The sets have the sizes asked for, as contiguous uint8 images in three colours, counted from 0."""
    sets = Shapes(train_size=23, test_size=7, size=20).load()
    assert list(sets) == ["train", "test"]
    for part, n in zip(sets.values(), (23, 7), strict=True):
        assert part.image.shape == (n, 3, 20, 20)
        assert part.image.dtype == torch.uint8
        assert part.image.is_contiguous()
        assert torch.equal(part.given_label, part.true_label)
        assert torch.equal(part.index, torch.arange(n))


@pytest.mark.parametrize("n", [10, 200, 1000])
def test_classes_are_balanced_in_random_order(n: int) -> None:
    """Every class has a tenth of the images, and the order of the classes does not repeat."""
    label = drawn(n, size=8).true_label
    assert torch.equal(torch.bincount(label), torch.full((10,), n // 10))
    if n > 10:
        assert not torch.equal(label[:10], label[10:20])


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    """More images leave the first ones as they are, over the bounds of the parts they are drawn in."""
    large = drawn(2 * IMAGES + 30, size=8)
    for n in (1, 10, IMAGES - 1, IMAGES, IMAGES + 1, 2 * IMAGES + 7):
        small = drawn(n, size=8)
        assert torch.equal(small.image, large.image[:n])
        assert torch.equal(small.true_label, large.true_label[:n])


def test_no_image_comes_twice() -> None:
    """All training and test images differ, over parts and sets and seeds."""
    images = [drawn(600, 8, seed, split).image for seed in (0, 1) for split in ("train", "test")]
    flat = torch.cat(images).flatten(1)
    assert len(torch.unique(flat, dim=0)) == len(flat) == 2400


def test_test_images_are_other_draws() -> None:
    """Labels and pixels at one place of the training and the test set are uncorrelated."""
    sets = Shapes(1000, 1000, 8).load()
    train, test = (part.image.double().mean((1, 2, 3)) for part in sets.values())
    assert abs(float(torch.corrcoef(torch.stack([train, test]))[0, 1])) < 0.12
    assert abs(float((sets["train"].true_label == sets["test"].true_label).double().mean()) - 0.1) < 0.05


def test_seeds_differ_and_repeat() -> None:
    """Another data seed gives other labels and images; the same one the same."""
    assert torch.equal(drawn(seed=3).image, drawn(seed=3).image)
    assert not torch.equal(drawn(seed=3).true_label, drawn(seed=4).true_label)
    assert (drawn(seed=3).image == drawn(seed=4).image).double().mean() < 0.05


def test_the_nuisances_vary_within_a_class() -> None:
    """Colour, contrast, noise and where the shape is differ between the images of every class."""
    data = drawn(1000)
    for label in range(10):
        image = data.image[data.true_label == label].double()
        light = image.mean(1)
        most = light.flatten(1).argmax(1)
        noise = (light[:, :, 1:] - light[:, :, :-1]).abs().median(2).values.median(1).values
        assert image.mean((2, 3)).std(0).min() > 10
        assert light.flatten(1).std(1).std() > 3
        assert (most // 32).double().std() > 4
        assert (most % 32).double().std() > 4
        assert noise.max() > 2 * noise.min() + 1


def test_no_pixel_tells_the_class() -> None:
    """The mean images of the classes are alike: every class is everywhere, at every angle."""
    data = drawn(2000)
    means = torch.stack([data.image[data.true_label == label].double().mean(0) for label in range(10)])
    spread = data.image.double().std(0).mean()
    assert means.std(0).mean() < 0.35 * spread


def test_the_shape_is_lighter_than_the_ground() -> None:
    """The middle of the image, where shapes are, is lighter than its corners, where they are not."""
    image = drawn(1000).image.double()
    corners = torch.stack([image[:, :, row, column] for row in (0, -1) for column in (0, -1)]).mean()
    assert image[:, :, 14:18, 14:18].mean() > corners + 20


@pytest.mark.parametrize("name", NAMES)
def test_shapes_fit_their_circle(name: str) -> None:
    """No shape reaches beyond the unit circle, so that none is cut by the border; and none is a mere speck."""
    u, v = grid()
    inside = DISTANCES[NAMES.index(name)](u, v) < 0
    assert np.sqrt(u * u + v * v)[inside].max() < 1.02
    assert inside.mean() * 2.4**2 > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_distances_are_distances_at_the_edge(name: str) -> None:
    """The gradient at the edge has length 1 away from corners, so that every edge is a pixel wide."""
    u, v = grid()
    distance = DISTANCES[NAMES.index(name)](u, v)
    step = u[0, 1] - u[0, 0]
    down, across = np.gradient(distance, step)
    slope = np.hypot(down, across)
    edge = np.abs(distance) < 0.02
    assert abs(np.median(slope[edge]) - 1) < 0.02


def test_known_areas() -> None:
    """The areas of disk, ring, half disk, ellipse, triangle, square, plus and star are those of geometry."""
    u, v = grid()
    side = 2 * 0.95
    fifth = np.pi / 5
    star = 10 * 0.5 * np.sin(fifth) * np.cos(2 * fifth) / np.cos(fifth)  # ten triangles between the two radii
    for name, area in (
        ("disk", np.pi * 0.85**2),
        ("ring", np.pi * (0.95**2 - 0.55**2)),
        ("half disk", np.pi * 0.92**2 / 2),
        ("ellipse", np.pi * 0.45),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("square", 1.42**2),
        ("plus", 2 * side * 0.5 - 0.25),
        ("star", star),
    ):
        measured = (DISTANCES[NAMES.index(name)](u, v) < 0).mean() * 2.4**2
        assert abs(measured / area - 1) < 0.02, name


@cache
def centred(shape: int, angle: float, scale: float) -> NDArray[np.bool_]:
    """Where a shape is, turned and enlarged about its centre, on a coarse grid."""
    axis = np.linspace(-1.2, 1.2, 81)
    u, v = np.meshgrid(axis, axis)
    inside = DISTANCES[shape](u, v) < 0
    x, y = u[inside].mean(), v[inside].mean()
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    turned: NDArray[np.bool_] = DISTANCES[shape](cosine * u + sine * v + x, cosine * v - sine * u + y) < 0
    return turned


@pytest.mark.parametrize("first", range(10))
def test_shapes_stay_distinct_under_rotation_and_scale(first: int) -> None:
    """At no angle and no size does one shape cover another: what only one covers is a seventh of both at least."""
    still = centred(first, 0, 1)
    for second in range(first):
        overlap = 0.0
        for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
            for scale in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2):
                turned = centred(second, float(angle), scale)
                overlap = max(overlap, float((still & turned).sum() / (still | turned).sum()))
        assert overlap < 6 / 7, (NAMES[first], NAMES[second], overlap)


def test_a_linear_classifier_is_not_enough() -> None:
    """Least squares on the pixels is right about far fewer than half of the test images."""
    sets = Shapes(1500, 500).load()

    def features(image: Tensor) -> Tensor:
        return torch.cat([image.double().flatten(1) / 255 - 0.3, torch.ones(len(image), 1)], 1)

    x, target = features(sets["train"].image), torch.eye(10, dtype=torch.float64)[sets["train"].true_label]
    weight = x.T @ torch.linalg.solve(x @ x.T + 1000 * torch.eye(len(x)), target)  # there are more pixels than images
    right = (features(sets["test"].image) @ weight).argmax(1) == sets["test"].true_label
    assert 0.1 < right.double().mean() < 0.45


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 0}, "train_size must be 1 or more, got 0"),
        ({"test_size": -5}, "test_size must be 1 or more, got -5"),
        ({"size": 7}, "size must be 8 or more, got 7"),
        ({"data_seed": -1}, "data_seed must be 0 or more, got -1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, int], message: str) -> None:
    """The message has the setting, its value and what is right."""
    with pytest.raises(ValueError, match=message):
        Shapes(**settings)


def test_it_is_a_data_module() -> None:
    """Batches come normalised and corrupted, and the order's seed is another one than the images'."""
    data = Shapes(40, 20, corruption=ShuffledPixels(), batch_size=8, seed=5)
    data.prepare_data()
    data.setup()
    batches = list(data.train_dataloader())
    assert [batch.image.shape for batch in batches] == [(8, 3, 32, 32)] * 5
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(40))
    other = Shapes(40, 20, corruption=ShuffledPixels(), batch_size=8, seed=6)
    other.setup()
    assert other.content_hashes() == data.content_hashes()
