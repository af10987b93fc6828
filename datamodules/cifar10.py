"""CIFAR-10 (Krizhevsky 2009), from the original archive or from a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING

from stratoscope.datamodules.cifar import CIFAR

if TYPE_CHECKING:
    from torchvision import datasets

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class CIFAR10(CIFAR):
    """50,000 training and 10,000 test images of ten classes, centre-cropped as in Zhang et al. 2017 (appendix A).

    Corruptions act on the images as the network sees them: cropped, before normalisation.
    """

    def source(self) -> "type[datasets.CIFAR10]":
        """Torchvision's CIFAR10."""
        from torchvision import datasets  # heavy

        found: type[datasets.CIFAR10] = datasets.CIFAR10
        return found

    def check_classes(self, folder: Path, names: list[str]) -> None:
        """Compare a folder's classes with the ten there are.

        Raises:
            ValueError: If they differ.
        """
        if names != NAMES:
            raise ValueError(f"classes in {folder} must be {', '.join(NAMES)}; got {', '.join(names)}")
