"""Data: sources, corruptions and batches. Corruptions are pure functions of (data, seed)."""

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.cifar10 import CIFAR10
from stratoscope.datamodules.corruption import (
    Corruption,
    GaussianPixels,
    PartialLabels,
    RandomLabels,
    RandomPixels,
    ShuffledPixels,
)
from stratoscope.datamodules.digits import Digits
from stratoscope.datamodules.image_data import ImageDataModule, ImageSet

__all__ = [
    "CIFAR10",
    "Batch",
    "Corruption",
    "Digits",
    "GaussianPixels",
    "ImageDataModule",
    "ImageSet",
    "PartialLabels",
    "RandomLabels",
    "RandomPixels",
    "ShuffledPixels",
]
