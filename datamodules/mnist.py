"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017), from their four original IDX files."""

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.image_data import ImageDataModule
from stratoscope.datamodules.preparation import beside, publish
from stratoscope.files.integrity import verify

if TYPE_CHECKING:
    from torchvision import datasets

SIZE = 28
COUNTS = {"train": 60_000, "t10k": 10_000}
UINT8 = 8  # the code of the type in the magic number


class MNIST(ImageDataModule):
    """60,000 training and 10,000 test images of handwritten digits, of 28x28 grey pixels: one channel.

    Args:
        root: Folder with the four files, packed (`train-images-idx3-ubyte.gz`, ...) or unpacked; or the folder above
            `MNIST/raw` (`FashionMNIST/raw`), where torchvision puts them.
        download: Whether to download the original files (12 MB; Fashion-MNIST: 31 MB) into `root` if it has no data.
        **settings: Corruption, batch size, seed, augmentation and normalisation, of `ImageDataModule`.
    """

    # md5 of the unpacked files; torchvision has those of the packed ones
    unpacked: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def __init__(self, root: str = "data", download: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.root, self.download = Path(root).expanduser(), download

    def source(self) -> "type[datasets.MNIST]":
        """Torchvision's class, which knows where the files are published, and their md5."""
        from torchvision import datasets  # heavy

        source: type[datasets.MNIST] = datasets.MNIST
        return source

    def load(self) -> Sets:
        """Return both sets in their original order.

        Raises:
            FileNotFoundError: If a file is missing; the message says where it is published.
            ValueError: If a file is damaged or another one; the message names it.
        """
        folder = self._folder()
        files = {name: self._verified(folder, name) for name in self.unpacked}
        return {split: _read(files, part) for split, part in (("train", "train"), ("test", "t10k"))}

    def _folder(self) -> Path:
        source = self.source()
        raw = self.root / source.__name__ / "raw"
        for folder in (self.root, raw):
            there = [any((folder / f"{name}{ending}").is_file() for ending in ("", ".gz")) for name in self.unpacked]
            if all(there) or (any(there) and not self.download):
                return folder
        if not self.download:
            published = ", ".join(f"{name} (md5 {md5})" for name, md5 in source.resources)
            raise FileNotFoundError(
                f"no {type(self).__name__} in {self.root} or {raw}: expected {published} "
                f"from {source.mirrors[0]}, packed or unpacked; --data.download true fetches them"
            )
        with beside(self.root, to_keep=True) as folder:
            source(str(folder), download=True)
            raw.mkdir(parents=True, exist_ok=True)
            for file in (folder / source.__name__ / "raw").iterdir():
                publish(file, raw / file.name)
        return raw

    def _verified(self, folder: Path, name: str) -> Path:
        """The packed file if it is there, else the unpacked one."""
        source = self.source()
        packed, unpacked = folder / f"{name}.gz", folder / name
        remedy = f"fetch {packed.name} again from {source.mirrors[0]}"
        if packed.is_file():
            verify(packed, dict(source.resources)[packed.name], remedy)
            return packed
        verify(unpacked, self.unpacked[name], remedy)
        return unpacked


class FashionMNIST(MNIST):
    """60,000 training and 10,000 test images of ten kinds of clothes, in the files and the format of MNIST.

    Args:
        root: See `MNIST`.
        download: See `MNIST`.
        **settings: Corruption, batch size, seed, augmentation and normalisation, of `ImageDataModule`.
    """

    unpacked: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }

    def source(self) -> "type[datasets.MNIST]":
        """Torchvision's FashionMNIST."""
        from torchvision import datasets  # heavy

        source: type[datasets.MNIST] = datasets.FashionMNIST
        return source


def read_idx(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read a file in the IDX format: two zero bytes, type, number of axes, their lengths (big-endian), the data.

    Args:
        file: The file, packed if it is called `*.gz`.
        shape: What it must hold.

    Returns:
        The array, uint8 of this shape.

    Raises:
        ValueError: If the file is no such file, holds another type or shape, or is cut or too long.
    """
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} is damaged or not packed by gzip: {error}") from error
    magic = bytes((0, 0, UINT8, len(shape)))
    if content[:4] != magic:
        raise ValueError(
            f"{file} is no IDX file of uint8 with {len(shape)} axes: it starts with {content[:4].hex()}, "
            f"expected {magic.hex()}"
        )
    start = 4 + 4 * len(shape)
    found = tuple(int(length) for length in np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4"))
    if found != shape:
        raise ValueError(f"{file} has shape {found}, expected {shape}")
    data = np.frombuffer(content, np.uint8, offset=start)
    if data.size != np.prod(shape):
        raise ValueError(f"{file} has {data.size:,} bytes of data, expected {np.prod(shape):,}")
    return data.reshape(shape).copy()


def _read(files: dict[str, Path], part: str) -> Batch:
    n = COUNTS[part]
    images = read_idx(files[f"{part}-images-idx3-ubyte"], (n, SIZE, SIZE))
    labels = read_idx(files[f"{part}-labels-idx1-ubyte"], (n,))
    return labelled(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long())
