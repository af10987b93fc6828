"""Data: sources, corruptions, augmentation, batches. Corruptions are pure functions of (data, seed)."""

from stratoscope.datamodules.augmentation import (
    Augmentation,
    ColourJitter,
    Cutout,
    RandomCrop,
    RandomFlip,
    RandomRotation,
    RandomZoom,
)
from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.cifar10 import CIFAR10
from stratoscope.datamodules.corruption import Corruption, GaussianPixels, RandomPixels, ShuffledPixels
from stratoscope.datamodules.digits import Digits
from stratoscope.datamodules.image_data import ImageDataModule, ImageLoader, ImageSet
from stratoscope.datamodules.label_noise import AsymmetricLabels, ConfusedLabels, PartialLabels, RandomLabels
from stratoscope.datamodules.shifted_set import ShiftedSet
from stratoscope.datamodules.subset import RandomSubset

__all__ = [
    "CIFAR10",
    "AsymmetricLabels",
    "Augmentation",
    "Batch",
    "ColourJitter",
    "ConfusedLabels",
    "Corruption",
    "Cutout",
    "Digits",
    "GaussianPixels",
    "ImageDataModule",
    "ImageLoader",
    "ImageSet",
    "PartialLabels",
    "RandomCrop",
    "RandomFlip",
    "RandomLabels",
    "RandomPixels",
    "RandomRotation",
    "RandomSubset",
    "RandomZoom",
    "Sets",
    "ShiftedSet",
    "ShuffledPixels",
    "labelled",
]
