"""Tests of datamodules/cifar100.py."""

import hashlib
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets

from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.cifar10_shifted import CIFAR10_1
from stratoscope.datamodules.cifar100 import CIFAR100
from stratoscope.datamodules.corruptions.label_noise import RandomLabels

NAMES = sorted(f"class {number:03}" for number in range(100))
COUNTS = {"train": 200, "test": 100}


class Original(NamedTuple):
    """A small CIFAR-100 on disk.

    Attributes:
        root: The folder with the data.
        sets: Images (n, 3, 32, 32) and fine labels (n) of `train` and `test`.
    """

    root: Path
    sets: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]

    @property
    def unpacked(self) -> Path:
        """The folder of the unpacked archive."""
        return self.root / "cifar-100-python"

    @property
    def archive(self) -> Path:
        """The archive."""
        return self.root / "cifar-100-python.tar.gz"


def md5(file: Path) -> str:
    """Checksum of a file as torchvision writes it down."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def small(root: Path) -> Original:
    """Random images, equally many of every class, in random order."""
    generator = np.random.default_rng(0)
    sets = {
        split: (
            generator.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8),
            generator.permutation(np.arange(n) % 100),
        )
        for split, n in COUNTS.items()
    }
    return Original(root, sets)


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """Files of the original format (fine and coarse labels) and torchvision's checksums of them."""
    data = small(tmp_path / "data")
    data.unpacked.mkdir(parents=True)
    for split, (images, labels) in data.sets.items():
        content = {
            "filenames": [f"{number}.png" for number in range(len(labels))],
            "batch_label": f"{split}ing batch 1 of 1",
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels % 20).tolist(),
            "data": images.reshape(len(labels), -1),
        }
        (data.unpacked / split).write_bytes(pickle.dumps(content, 2))
    names = {"fine_label_names": NAMES, "coarse_label_names": [f"kind {number}" for number in range(20)]}
    (data.unpacked / "meta").write_bytes(pickle.dumps(names, 2))
    with tarfile.open(data.archive, "w:gz") as archive:
        archive.add(data.unpacked, data.unpacked.name)
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", md5(data.unpacked / "train")]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", md5(data.unpacked / "test")]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(data.unpacked / "meta")}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", md5(data.archive))
    return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """The same as a folder of images, named after their position."""
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    data = small(tmp_path / "images")
    monkeypatch.setattr("stratoscope.datamodules.cifar.TOTAL", COUNTS)
    for split, (images, labels) in data.sets.items():
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = data.root / split / NAMES[label] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return data


def assert_holds(sets: Sets, data: Original) -> None:
    """Check that the sets are the data's, cropped to 28x28."""
    assert list(sets) == ["train", "test"]
    for part, (images, labels) in zip(sets.values(), data.sets.values(), strict=True):
        assert part.image.dtype == torch.uint8
        assert np.array_equal(part.image.numpy(), images[:, :, 2:30, 2:30])
        assert np.array_equal(part.true_label.numpy(), labels)
        assert torch.equal(part.given_label, part.true_label)


def test_original_files_give_fine_labels(original: Original) -> None:
    """The unpacked files, and the archive alone, give all images and the hundred fine labels in original order."""
    assert_holds(CIFAR100(str(original.root)).load(), original)
    shutil.rmtree(original.unpacked)
    assert_holds(CIFAR100(str(original.root)).load(), original)


def test_a_folder_of_images_has_the_same_labels(folder: Original) -> None:
    """Folders in alphabetical order are the original labels."""
    assert_holds(CIFAR100(str(folder.root)).load(), folder)


def test_corruptions_know_a_hundred_classes(folder: Original) -> None:
    """Random labels reach far beyond the first ten classes."""
    data = CIFAR100(str(folder.root), corruption=RandomLabels())
    data.setup()
    given = data.sets["train"].data.given_label
    assert CIFAR100.classes == 100
    assert len(given.unique()) > 70
    assert given.max() > 90


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_damaged_file_is_named(original: Original, name: str) -> None:
    """One flipped byte in a file is found by its md5, and the message has the file."""
    file = original.unpacked / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        CIFAR100(str(original.root)).load()


def test_a_damaged_archive_is_named(original: Original) -> None:
    """A cut archive is found before anything is unpacked."""
    shutil.rmtree(original.unpacked)
    original.archive.write_bytes(original.archive.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{original.archive} is damaged"):
        CIFAR100(str(original.root)).load()
    assert not original.unpacked.exists()


def test_a_swapped_file_is_named(original: Original) -> None:
    """The test file in the place of the training file is refused."""
    shutil.copy(original.unpacked / "test", original.unpacked / "train")
    with pytest.raises(ValueError, match=rf"{original.unpacked / 'train'} is damaged or another file"):
        CIFAR100(str(original.root)).load()


def test_a_missing_file_is_named(original: Original) -> None:
    """A file that is not there is named."""
    (original.unpacked / "test").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{original.unpacked / 'test'} is missing"):
        CIFAR100(str(original.root)).load()


def test_a_root_without_data_says_where_they_are(tmp_path: Path) -> None:
    """The message has the root, the archive, its address and md5."""
    with pytest.raises(FileNotFoundError, match=rf"no CIFAR-?100 in {tmp_path}") as caught:
        CIFAR100(str(tmp_path)).load()
    for part in ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"):
        assert part in str(caught.value)


def test_missing_classes_are_counted(folder: Original) -> None:
    """A folder with 99 classes is refused with their number."""
    shutil.rmtree(folder.root / "test" / NAMES[7])
    with pytest.raises(ValueError, match=rf"{folder.root / 'test'} must have 100 folders with images, .*; got 99"):
        CIFAR100(str(folder.root)).load()


def test_different_classes_are_named(folder: Original) -> None:
    """A class that only one of the two folders has is named."""
    (folder.root / "test" / NAMES[7]).rename(folder.root / "test" / "dolphin")
    with pytest.raises(ValueError, match=rf"only one has {NAMES[7]}, dolphin"):
        CIFAR100(str(folder.root)).load()


def test_a_damaged_image_is_named(folder: Original) -> None:
    """A cut image in the folder is named."""
    file = next((folder.root / "train" / NAMES[0]).iterdir())
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        CIFAR100(str(folder.root)).load()


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_CIFAR100" not in os.environ, reason="STRATOSCOPE_TEST_CIFAR100 names no folder")
def test_the_real_data_set() -> None:
    """Real CIFAR-100 has 50,000 and 10,000 images, equally many of every class, in the original order."""
    sets = CIFAR100(os.environ["STRATOSCOPE_TEST_CIFAR100"]).load()
    for part, count in zip(sets.values(), (50_000, 10_000), strict=True):
        assert part.image.shape == (count, 3, 28, 28)
        assert torch.equal(torch.bincount(part.true_label), torch.full((100,), count // 100))
    assert sets["train"].true_label[:5].tolist() == [19, 29, 0, 11, 1]
    assert sets["test"].true_label[:5].tolist() == [49, 33, 72, 51, 71]


def test_shifted_sets_of_other_classes_are_refused(tmp_path: Path) -> None:
    """CIFAR-10's further test sets are none of CIFAR-100's."""
    with pytest.raises(ValueError, match=r"cifar10\.1-v6 has 10 classes, CIFAR100 100"):
        CIFAR100(str(tmp_path), shifted=CIFAR10_1(str(tmp_path)))
