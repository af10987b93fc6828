"""What CIFAR-10 and CIFAR-100 (Krizhevsky 2009) share: original archives, folders of images, the centre crop."""

import tarfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.image_data import ImageDataModule
from stratoscope.datamodules.image_folder import read_image_folder
from stratoscope.datamodules.preparation import beside, publish
from stratoscope.datamodules.shifted_set import ShiftedSet
from stratoscope.files.integrity import digest_of, verify

if TYPE_CHECKING:
    from torchvision import datasets

SIZE = 32
TOTAL = {"train": 50_000, "test": 10_000}  # images, equally many of each class


class CIFAR(ImageDataModule):
    """50,000 training and 10,000 test images of 3x32x32 pixels.

    Args:
        root: Folder with the original data (`cifar-10-python.tar.gz` or the unpacked `cifar-10-batches-py`, or those of
            CIFAR-100) or with images in `train/<class>/*.{png,jpg}` and `test/<class>/*.{png,jpg}`.
        crop: Height and width of the centre crop, in pixels, 1 to 32.
        download: Whether to download the original archive (170 MB) into `root` if it has no data.
        shifted: Further test sets, one or several, cropped and corrupted like the original one: CIFAR10_1, CIFAR10_2,
            CIFAR10C.
        **settings: Corruption, batch size, seed, augmentation and normalisation, of `ImageDataModule`.
    """

    def __init__(
        self,
        root: str = "data",
        crop: int = 28,
        download: bool = False,
        shifted: ShiftedSet | list[ShiftedSet] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        if not 1 <= crop <= SIZE:
            raise ValueError(f"crop must be 1 to {SIZE} pixels, got {crop}")
        self.root, self.crop, self.download = Path(root).expanduser(), crop, download
        self.shifted = [] if shifted is None else shifted if isinstance(shifted, list) else [shifted]
        for part in self.shifted:
            if part.classes != self.classes:
                raise ValueError(f"{part.name} has {part.classes} classes, {type(self).__name__} {self.classes}")
        names = [part.name for part in self.shifted]
        if len({*names, "train", "test"}) != len(names) + 2:
            raise ValueError(f"shifted test sets must have different names, got {', '.join(names)}")

    @abstractmethod
    def source(self) -> "type[datasets.CIFAR10]":
        """Torchvision's class, which knows the files of the archive and their md5."""

    @abstractmethod
    def check_classes(self, folder: Path, names: list[str]) -> None:
        """Raise a ValueError if the classes of a folder of images are not those of the data set."""

    def load(self) -> Sets:
        """Return all sets, cropped.

        Raises:
            ValueError: If a file is damaged or the folder is another data set; the message names it.
            FileNotFoundError: If there are no data in `root`.
        """
        folders = all((self.root / split).is_dir() for split in ("train", "test"))
        sets = {split: self._from_folder(split) for split in ("train", "test")} if folders else self._from_archive()
        sets |= {part.name: part.load() for part in self.shifted}
        return {name: self._cropped(data) for name, data in sets.items()}

    def _from_folder(self, split: str) -> Batch:
        images, labels, names = read_image_folder(self.root / split, SIZE)
        self.check_classes(self.root / split, names)
        expected = TOTAL[split] // len(names)
        for name, count in zip(names, np.bincount(labels), strict=True):
            if count != expected:
                raise ValueError(
                    f"{self.root / split / name} must have {expected:,} images, got {count:,}: copied in part?"
                )
        return labelled(torch.from_numpy(images), torch.from_numpy(labels))

    def _from_archive(self) -> Sets:
        source = self.source()
        archive, unpacked = self.root / source.filename, self.root / source.base_folder
        if unpacked.is_dir():
            remedy = "delete the folder, and it is unpacked again from the archive beside it"
            for name, md5 in [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]:
                verify(unpacked / name, md5, remedy)
            return _from_torchvision(source, self.root)
        if not archive.is_file() and not self.download:
            title = type(self).__name__.replace("CIFAR", "CIFAR-")
            raise FileNotFoundError(
                f"no {title} in {self.root}: expected train/ and test/ with a folder of images per class, "
                f"or {source.filename} from {source.url} (md5 {source.tgz_md5}); --data.download true fetches it"
            )
        return self._unpacked(archive, unpacked)

    def _unpacked(self, archive: Path, unpacked: Path) -> Sets:
        """The sets of an archive, which is unpacked and, where there is none, downloaded."""
        source = self.source()
        if not self.download:
            verify(archive, source.tgz_md5, "delete it, and fetch it again")
        there = archive.is_file() and (not self.download or digest_of(archive, source.tgz_md5) == source.tgz_md5)
        with beside(self.root, to_keep=not there) as folder:
            if there:
                with tarfile.open(archive) as content:
                    content.extraction_filter = getattr(tarfile, "data_filter", None)  # newer Pythons have it
                    content.extractall(folder)
            sets = _from_torchvision(source, folder, download=not there)
            publish(folder / unpacked.name, unpacked)
            if not there:
                publish(folder / archive.name, archive)
        return sets

    def _cropped(self, data: Batch) -> Batch:
        margin = (SIZE - self.crop) // 2
        inside = slice(margin, margin + self.crop)
        return data._replace(image=data.image[:, :, inside, inside].contiguous())


def _from_torchvision(source: "type[datasets.CIFAR10]", folder: Path, download: bool = False) -> Sets:
    sets = {}
    for split in ("train", "test"):
        part = source(str(folder), split == "train", download=download)
        sets[split] = labelled(
            torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.from_numpy(np.asarray(part.targets))
        )
    return sets
