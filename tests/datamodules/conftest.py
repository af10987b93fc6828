"""A small CIFAR-10, for the tests of CIFAR-10 and of what it shares with CIFAR-100."""

import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from stratoscope.datamodules.cifar10 import NAMES
from tests.datamodules.small_cifar10 import (
    PER_FILE,
    TRAIN_FILES,
    Original,
    images_and_labels,
    md5,
    old_array,
    old_list,
    old_pickle,
    old_str,
)


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """The original files, bit for bit in their format, and torchvision's checksums of them."""
    root = tmp_path / "data"
    data = Original(root, images_and_labels(0, 5 * PER_FILE), images_and_labels(1, PER_FILE))
    data.unpacked.mkdir(parents=True)
    parts = [
        (data.train[0][i : i + PER_FILE], data.train[1][i : i + PER_FILE]) for i in range(0, 5 * PER_FILE, PER_FILE)
    ]
    for name, (images, labels) in zip([*TRAIN_FILES, "test_batch"], [*parts, data.test], strict=True):
        content = old_pickle(
            batch_label=old_str(f"{name} of a small set"),
            labels=old_list([b"K" + struct.pack("<B", label) for label in labels]),
            data=old_array(images.reshape(PER_FILE, -1)),
            filenames=old_list([old_str(f"{number}.png") for number in range(PER_FILE)]),
        )
        (data.unpacked / name).write_bytes(content)
    names = old_pickle(num_cases_per_batch=b"K\x03", label_names=old_list([old_str(name) for name in NAMES]))
    (data.unpacked / "batches.meta").write_bytes(names)
    with tarfile.open(data.archive, "w:gz") as archive:
        archive.add(data.unpacked, data.unpacked.name)

    checksums = [[name, md5(data.unpacked / name)] for name in [*TRAIN_FILES, "test_batch"]]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", checksums[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", checksums[5:])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5(data.unpacked / "batches.meta")}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(data.archive))
    return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """The same as a folder of images: 20 training images named after their position, two per class, and 10 to test."""
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stratoscope.datamodules.cifar.TOTAL", {"train": 20, "test": 10})
    data = Original(tmp_path / "images", images_and_labels(0, 20), images_and_labels(1, 10))
    for split, (images, labels) in (("train", data.train), ("test", data.test)):
        labels[:] = np.arange(len(labels)) * 7 % 10
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = data.root / split / NAMES[label] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(file)
    return data
