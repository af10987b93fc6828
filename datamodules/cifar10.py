"""CIFAR-10 (Krizhevsky 2009), from the original archive or from a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from stratoscope.datamodules.batch import Batch
from stratoscope.datamodules.corruption import Corruption
from stratoscope.datamodules.image_data import ImageDataModule, labelled
from stratoscope.datamodules.image_folder import read_image_folder

if TYPE_CHECKING:
    from torchvision import datasets

SIZE = 32
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


class CIFAR10(ImageDataModule):
    """50,000 training and 10,000 test images of ten classes, centre-cropped as in Zhang et al. 2017 (appendix A).

    The corruption acts on the images as the network sees them: cropped, before whitening.

    Args:
        root: Folder with the original data (`cifar-10-python.tar.gz` or the unpacked `cifar-10-batches-py`) or with
            images in `train/<class>/*.{png,jpg}` and `test/<class>/*.{png,jpg}`.
        corruption: What is done to the data, drawn once; None leaves them as they are.
        batch_size: Training samples per step, over all devices together.
        crop: Height and width of the centre crop, in pixels, 1 to 32.
        download: Whether to download the original archive (170 MB) into `root` if it has no data.
        seed: Decides the order of the training samples in every epoch; None takes the run's `seed_everything`.
    """

    def __init__(
        self,
        root: str = "data",
        corruption: Corruption | None = None,
        batch_size: int = 128,
        crop: int = 28,
        download: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(corruption, batch_size, seed)
        if not 1 <= crop <= SIZE:
            raise ValueError(f"crop must be 1 to {SIZE} pixels, got {crop}")
        self.root, self.crop, self.download = Path(root).expanduser(), crop, download

    def load(self) -> tuple[Batch, Batch]:
        """Return the original training and test sets, cropped.

        Raises:
            ValueError: If a file is damaged or the folder is not CIFAR-10; the message names it.
            FileNotFoundError: If there are no data in `root`.
        """
        if (self.root / "train").is_dir() and (self.root / "test").is_dir():
            return self._from_folder("train"), self._from_folder("test")
        return self._from_archive()

    def _from_folder(self, split: str) -> Batch:
        images, labels, names = read_image_folder(self.root / split, SIZE)
        if names != NAMES:
            raise ValueError(f"classes in {self.root / split} must be {', '.join(NAMES)}; got {', '.join(names)}")
        return self._cropped(torch.from_numpy(images), torch.from_numpy(labels))

    def _from_archive(self) -> tuple[Batch, Batch]:
        from torchvision import datasets  # heavy

        source = datasets.CIFAR10
        archive, unpacked = self.root / source.filename, self.root / source.base_folder
        if archive.is_file() and not unpacked.is_dir():
            if not self.download:  # which fetches a damaged archive anew
                _verify(archive, source.tgz_md5)
        elif unpacked.is_dir():
            for name, md5 in [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]:
                _verify(unpacked / name, md5)
        elif not self.download:
            raise FileNotFoundError(
                f"no CIFAR-10 in {self.root}: expected train/ and test/ with a folder of images per class, or "
                f"{source.filename} from {source.url} (md5 {source.tgz_md5}); --data.download true fetches it"
            )
        # with verified files at hand `download` only unpacks
        sets = (source(str(self.root), train, download=not unpacked.is_dir()) for train in (True, False))
        train, test = (self._from_torchvision(part) for part in sets)
        return train, test

    def _from_torchvision(self, part: "datasets.CIFAR10") -> Batch:
        return self._cropped(
            torch.from_numpy(part.data).permute(0, 3, 1, 2), torch.from_numpy(np.asarray(part.targets))
        )

    def _cropped(self, image: torch.Tensor, label: torch.Tensor) -> Batch:
        margin = (SIZE - self.crop) // 2
        inside = slice(margin, margin + self.crop)
        return labelled(image[:, :, inside, inside].contiguous(), label)


def _verify(file: Path, md5: str) -> None:
    from torchvision.datasets.utils import check_integrity

    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: delete the folder, and it is unpacked again from the archive beside it"
        )
    if not check_integrity(str(file), md5):
        raise ValueError(
            f"{file} is damaged: its md5 is not {md5}; delete it (or the folder, if the archive is beside it)"
        )
