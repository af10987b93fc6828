"""A small CIFAR-10 on disk, in its original format; the fixtures that make it are in conftest.py."""

import hashlib
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stratoscope.datamodules.batch import Sets

TRAIN_FILES = [f"data_batch_{number}" for number in range(1, 6)]
PER_FILE = 3


class Original(NamedTuple):
    """A small CIFAR-10 on disk.

    Attributes:
        root: The folder with the data.
        train: Images (n, 3, 32, 32) and labels (n) of the training set.
        test: The same of the test set.
    """

    root: Path
    train: tuple[NDArray[np.uint8], NDArray[np.int64]]
    test: tuple[NDArray[np.uint8], NDArray[np.int64]]

    @property
    def unpacked(self) -> Path:
        """The folder of the unpacked archive."""
        return self.root / "cifar-10-batches-py"

    @property
    def archive(self) -> Path:
        """The archive."""
        return self.root / "cifar-10-python.tar.gz"


def md5(file: Path) -> str:
    """Checksum of a file as torchvision writes it down."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def old_str(text: str) -> bytes:
    """A string of Python 2 in pickle's protocol 2."""
    return b"U" + struct.pack("<B", len(text)) + text.encode()


def old_pickle(**entries: bytes) -> bytes:
    """A dictionary with pickled values as Python 2 wrote it."""
    return b"\x80\x02}(" + b"".join(old_str(key) + value for key, value in entries.items()) + b"u."


def old_list(items: list[bytes]) -> bytes:
    """A list of pickled values."""
    return b"](" + b"".join(items) + b"e"


def old_array(rows: NDArray[np.uint8]) -> bytes:
    """A uint8 matrix as NumPy of 2009 pickled it: old module names, whole numbers for booleans, bytes as a string."""
    shape = b"".join(b"M" + struct.pack("<H", length) for length in rows.shape)
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    return (
        empty + b"(K\x01" + shape + b"\x86" + dtype + b"\x89T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    )


def images_and_labels(seed: int, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random images (n, 3, 32, 32) and labels."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), generator.integers(0, 10, n)


def assert_holds(sets: Sets, data: Original, crop: slice = slice(2, 30)) -> None:
    """Check that the sets are the data's, cropped."""
    assert list(sets) == ["train", "test"]
    for part, (images, labels) in zip(sets.values(), (data.train, data.test), strict=True):
        assert part.image.dtype == torch.uint8
        assert part.image.is_contiguous()
        assert np.array_equal(part.image.numpy(), images[:, :, crop, crop])
        assert np.array_equal(part.given_label.numpy(), labels)
        assert np.array_equal(part.true_label.numpy(), labels)
        assert torch.equal(part.index, torch.arange(len(labels)))


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
