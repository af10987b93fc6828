"""Sets, corruptions and batches on a GPU are those of the CPU."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stratoscope.commands.catalogue import ours
from stratoscope.datamodules import (
    Augmentation,
    Batch,
    ColourJitter,
    Cutout,
    ImageDataModule,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomZoom,
    Shapes,
)
from stratoscope.datamodules.normalisation import Name
from tests.gpu.devices import BOTH
from tests.models.test_every_network import CORRUPTIONS

AUGMENTATIONS: list[Augmentation] = [
    RandomCrop(24, padding=2),
    RandomFlip(),
    RandomRotation(),
    RandomZoom(20),
    Cutout(8),
    ColourJitter(),
]
EXACT = {"RandomCrop", "RandomFlip", "Cutout"}  # they move whole pixels


def on(device: str, **settings: Any) -> ImageDataModule:
    """A few images that are served on a device."""
    data = Shapes(train_size=40, test_size=20, batch_size=16, seed=0, **settings)
    data.prepare_data()
    data.setup()
    trainer: Any = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(device)),
        state=SimpleNamespace(fn=None),
        world_size=1,
        overfit_batches=0,
    )
    data.trainer = trainer
    return data


def epoch(data: ImageDataModule) -> list[Batch]:
    """The batches of the first epoch, brought to the CPU."""
    return [Batch(*(part.cpu() for part in batch)) for batch in data.train_dataloader()]


def test_every_augmentation_is_here() -> None:
    """None is left out of the tests below."""
    assert {one.__name__ for one in ours(Augmentation)} == {type(one).__name__ for one in AUGMENTATIONS}


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("corruption", [*CORRUPTIONS, None], ids=lambda one: type(one).__name__)
def test_sets_are_those_of_the_cpu(corruption: Any, device: str) -> None:
    """Images and labels to the bit before and after they were moved; the batches' order and labels too."""
    here, there = on("cpu", corruption=corruption), on(device, corruption=corruption)
    before = here.content_hashes()
    ours_, theirs = epoch(here), epoch(there)
    assert there.sets["train"].data.image.device.type == device
    assert before == here.content_hashes() == there.content_hashes()
    for one, other in zip(ours_, theirs, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.given_label, other.given_label)
        assert torch.equal(one.true_label, other.true_label)
        torch.testing.assert_close(one.image, other.image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("normalisation", ["per_image", "per_channel", "unit", "centred", "imagenet"])
def test_normalisations_are_those_of_the_cpu(normalisation: Name, device: str) -> None:
    """To rounding."""
    batches = (epoch(on(place, normalisation=normalisation)) for place in ("cpu", device))
    for one, other in zip(*batches, strict=True):
        torch.testing.assert_close(one.image, other.image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", BOTH)
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda one: type(one).__name__)
def test_augmentations_are_those_of_the_cpu(augmentation: Augmentation, device: str) -> None:
    """Those that move whole pixels to the bit of the images, the others to a small part of a grey level."""
    image = Shapes(train_size=40, test_size=20).load()["train"].image
    draw = torch.rand(len(image), augmentation.words, generator=torch.Generator().manual_seed(0))
    one, other = (augmentation(image.to(place), draw.to(place)).cpu() for place in ("cpu", device))
    if type(augmentation).__name__ in EXACT:
        assert torch.equal(one, other)
    else:
        away = (one - other).abs()
        assert float(away.mean()) < 1e-2
        assert float((away > 1).float().mean()) < 1e-3  # a pixel on the edge between two
