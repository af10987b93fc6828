"""CIFAR-100 (Krizhevsky 2009), from the original archive or from a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING

from stratoscope.datamodules.cifar import CIFAR

if TYPE_CHECKING:
    from torchvision import datasets


class CIFAR100(CIFAR):
    """50,000 training and 10,000 test images of a hundred classes (the fine labels), centre-cropped as CIFAR-10.

    Corruptions act on the images as the network sees them: cropped, before normalisation. The original labels are in
    the alphabetical order of the classes' names, and so are those of a folder of images.
    """

    classes = 100

    def source(self) -> "type[datasets.CIFAR10]":
        """Torchvision's CIFAR100."""
        from torchvision import datasets  # heavy

        source: type[datasets.CIFAR10] = datasets.CIFAR100
        return source

    def check_classes(self, folder: Path, names: list[str]) -> None:
        """Count a folder's classes, and compare them with those of the training folder.

        Raises:
            ValueError: If there are not a hundred, or they differ.
        """
        if len(names) != self.classes:
            raise ValueError(f"{folder} must have {self.classes} folders with images, one per class; got {len(names)}")
        training = {entry.name for entry in (self.root / "train").iterdir() if entry.is_dir()}
        if other := sorted(training ^ set(names)):
            raise ValueError(
                f"classes in {folder} must be those of {self.root / 'train'}; only one has {', '.join(other)}"
            )
