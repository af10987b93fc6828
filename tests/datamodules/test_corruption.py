"""Tests of datamodules/corruption.py: what every corruption must keep to, for all of them."""

import hashlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stratoscope.datamodules import (
    AsymmetricLabels,
    ConfusedLabels,
    Corruption,
    GaussianPixels,
    PartialLabels,
    RandomLabels,
    RandomPixels,
    RandomSubset,
    ShuffledPixels,
)
from tests.datamodules.generated import equal, generated

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
