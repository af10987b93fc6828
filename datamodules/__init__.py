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
from stratoscope.datamodules.cifar10_shifted import CIFAR10_1, CIFAR10_2, CIFAR10C
from stratoscope.datamodules.cifar100 import CIFAR100
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.corruptions.automatic_labels import (
    AutomaticLabels,
    BrightnessLabels,
    ClusterLabels,
    ColourLabels,
    ConvolutionLabels,
    EdgeLabels,
    LinearLabels,
    PrototypeLabels,
)
from stratoscope.datamodules.corruptions.human_labels import HumanLabels
from stratoscope.datamodules.corruptions.label_noise import (
    AsymmetricLabels,
    ConfusedLabels,
    PartialLabels,
    RandomLabels,
)
from stratoscope.datamodules.corruptions.pixels import GaussianPixels, RandomPixels, ShuffledPixels
from stratoscope.datamodules.corruptions.subset import RandomSubset
from stratoscope.datamodules.digits import Digits
from stratoscope.datamodules.image_data import ImageDataModule, ImageLoader, ImageSet
from stratoscope.datamodules.mnist import MNIST, FashionMNIST
from stratoscope.datamodules.shapes import Shapes
from stratoscope.datamodules.shifted_set import ShiftedSet

__all__ = [
    "CIFAR10",
    "CIFAR10C",
    "CIFAR10_1",
    "CIFAR10_2",
    "CIFAR100",
    "MNIST",
    "AsymmetricLabels",
    "Augmentation",
    "AutomaticLabels",
    "Batch",
    "BrightnessLabels",
    "ClusterLabels",
    "ColourJitter",
    "ColourLabels",
    "ConfusedLabels",
    "ConvolutionLabels",
    "Corruption",
    "Cutout",
    "Digits",
    "EdgeLabels",
    "FashionMNIST",
    "GaussianPixels",
    "HumanLabels",
    "ImageDataModule",
    "ImageLoader",
    "ImageSet",
    "LinearLabels",
    "PartialLabels",
    "PrototypeLabels",
    "RandomCrop",
    "RandomFlip",
    "RandomLabels",
    "RandomPixels",
    "RandomRotation",
    "RandomSubset",
    "RandomZoom",
    "Sets",
    "Shapes",
    "ShiftedSet",
    "ShuffledPixels",
    "labelled",
]
