"""New test sets for CIFAR-10, made to see what training on it is worth elsewhere: CIFAR-10.1, CIFAR-10.2, CIFAR-10-C.

All files are read as they were published, and verified to the byte wherever a digest is known:

- CIFAR-10.1: SHA-256 from the checksum file of TensorFlow Datasets (`url_checksums/cifar10_1.txt`). Those of the labels
  were recomputed from their published values.
- CIFAR-10.2: its authors publish no digest. That of the test file is of commit 521467a of their repository, as written
  down by a third party; its length of 6,393,664 bytes is, to the byte, that of a file with the published entries. None
  is known for the training file, of which checksums (those of zip), shapes, dtypes and the range of the labels are
  verified.
- CIFAR-10-C: md5 of each file of the archive on Zenodo, the same in TorchUncertainty and MIT's rAI-toolbox. That of the
  labels was recomputed from CIFAR-10's.
"""

import io
import zipfile
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from stratoscope.datamodules.batch import Batch, labelled
from stratoscope.datamodules.shifted_set import ShiftedSet
from stratoscope.files.integrity import verify

CLASSES = 10
PIXELS = (32, 32, 3)
SEVERITIES = 5
PER_SEVERITY = 10_000

Kind = Literal[
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "frost",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "snow",
    "spatter",
    "speckle_noise",
    "zoom_blur",
]

COUNTS = {  # images of each class
    "cifar10.1_v4": [208, 212, 202, 212, 204, 218, 192, 210, 161, 202],
    "cifar10.1_v6": [200] * 10,
    "cifar102_test": [200] * 10,
}

DIGESTS = {  # SHA-256, or md5 for CIFAR-10-C
    "cifar10.1_v4_data.npy": "5aaedc268df8f4cffca2ac0cf9e608ae1897a8cddb630c7a850a2ea8f6558e75",
    "cifar10.1_v4_labels.npy": "1f9544300ded199539b6662364ce7fe6c2e1ea9f87408f06db4b1a6184cffb18",
    "cifar10.1_v6_data.npy": "2997188e5816f5bd545dc77771b6227828c28146049fcecf3fa10775474cacc6",
    "cifar10.1_v6_labels.npy": "ae40beda001693674edc94d925ee8268cfe68905f8f9aff800c8dcdfcd6c9448",
    "cifar102_test.npz": "e4fd6462bd5141ed293acd52ea570952f65d1bfd4ec9b068f87742f75a7a632e",
    "brightness.npy": "0a81ef75e0b523c3383219c330a85d48",
    "contrast.npy": "3c8262171c51307f916c30a3308235a8",
    "defocus_blur.npy": "7d1322666342a0702b1957e92f6254bc",
    "elastic_transform.npy": "9421657c6cd452429cf6ce96cc412b5f",
    "fog.npy": "7b397314b5670f825465fbcd1f6e9ccd",
    "frost.npy": "31f6ab3bce1d9934abfb0cc13656f141",
    "gaussian_blur.npy": "c33370155bc9b055fb4a89113d3c559d",
    "gaussian_noise.npy": "ecaf8b9a2399ffeda7680934c33405fd",
    "glass_blur.npy": "7361fb4019269e02dbf6925f083e8629",
    "impulse_noise.npy": "2090e01c83519ec51427e65116af6b1a",
    "jpeg_compression.npy": "2b9cc4c864e0193bb64db8d7728f8187",
    "labels.npy": "c439b113295ed5254878798ffe28fd54",
    "motion_blur.npy": "fffa5f852ff7ad299cfe8a7643f090f4",
    "pixelate.npy": "0f14f7e2db14288304e1de10df16832f",
    "saturate.npy": "1cfae0964219c5102abbb883e538cc56",
    "shot_noise.npy": "3a7239bb118894f013d9bf1984be7f11",
    "snow.npy": "bb238de8555123da9c282dea23bd6e55",
    "spatter.npy": "8a5a3903a7f8f65b59501a6093b4311e",
    "speckle_noise.npy": "ef00b87611792b00df09c0b0237a1e30",
    "zoom_blur.npy": "6ea8e63f1c5cdee1517533840641641b",
}


class CIFAR10_1(ShiftedSet):
    """CIFAR-10.1 (Recht et al. 2018): new images of the ten classes, gathered as CIFAR-10 was.

    Args:
        folder: Folder with `cifar10.1_v6_data.npy` and `cifar10.1_v6_labels.npy` (or those of v4).
        version: v6 (2,000 images, 200 per class) or v4 (2,021 images: the one of the paper).
    """

    page = "https://github.com/modestyachts/CIFAR-10.1"

    def __init__(self, folder: str, version: Literal["v4", "v6"] = "v6") -> None:
        if version not in {"v4", "v6"}:
            raise ValueError(f"version must be v4 or v6, got {version}")
        self.folder, self.version, self.name = Path(folder).expanduser(), version, f"cifar10.1-{version}"

    def load(self) -> Batch:
        """Return all images in their published order.

        Raises:
            FileNotFoundError: If a file is missing; the message says where it is published.
            ValueError: If a file is damaged, or of another set; the message names it.
        """
        stem = f"cifar10.1_{self.version}"
        images, labels = (self.folder / f"{stem}_{part}.npy" for part in ("data", "labels"))
        for file in (images, labels):
            _verify(file, type(self).__name__, self.page)
        return _batch(images, _array(images), labels, _array(labels), sum(COUNTS[stem]), COUNTS[stem])


class CIFAR10_2(ShiftedSet):
    """CIFAR-10.2 (Lu et al. 2020): a second repetition of CIFAR-10.

    Args:
        folder: Folder with `cifar102_test.npz` (or `cifar102_train.npz`).
        split: test (2,000 images, 200 per class) or train (10,000 images).
    """

    page = "https://github.com/modestyachts/cifar-10.2"

    def __init__(self, folder: str, split: Literal["train", "test"] = "test") -> None:
        if split not in {"train", "test"}:
            raise ValueError(f"split must be train or test, got {split}")
        self.folder, self.split = Path(folder).expanduser(), split
        self.name = "cifar10.2" if split == "test" else "cifar10.2-train"

    def load(self) -> Batch:
        """Return all images in their published order.

        Raises:
            FileNotFoundError: If the file is missing; the message says where it is published.
            ValueError: If it is damaged, or another one; the message names it.
        """
        stem = f"cifar102_{self.split}"
        file = self.folder / f"{stem}.npz"
        _verify(file, type(self).__name__, self.page)
        images, labels = (_entry(file, name) for name in ("images", "labels"))
        n = 2_000 if self.split == "test" else 10_000
        return _batch(file, images, file, labels, n, COUNTS.get(stem))


class CIFAR10C(ShiftedSet):
    """CIFAR-10-C (Hendrycks & Dietterich 2019): the 10,000 test images under one common corruption.

    Args:
        folder: Folder of the unpacked archive `CIFAR-10-C.tar`, with `<kind>.npy` and `labels.npy`.
        kind: The corruption.
        severity: Its strength, 1 to 5.
    """

    page = "https://zenodo.org/records/2535967"

    def __init__(self, folder: str, kind: Kind = "fog", severity: int = 3) -> None:
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}; got {kind}")
        if not 1 <= severity <= SEVERITIES:
            raise ValueError(f"severity must be 1 to {SEVERITIES}, got {severity}")
        self.folder, self.kind, self.severity = Path(folder).expanduser(), kind, severity
        self.name = f"cifar10-c/{kind}-{severity}"

    def load(self) -> Batch:
        """Return the images of this severity, in the order of CIFAR-10's test set.

        Raises:
            FileNotFoundError: If a file is missing; the message says where it is published.
            ValueError: If a file is damaged, or another one; the message names it.
        """
        images, labels = self.folder / f"{self.kind}.npy", self.folder / "labels.npy"
        for file in (images, labels):
            _verify(file, type(self).__name__, self.page)
        arrays = []
        for file in (images, labels):
            array = _array(file)
            if len(array) != SEVERITIES * PER_SEVERITY:
                raise ValueError(f"{file} has {len(array):,} entries, expected {SEVERITIES * PER_SEVERITY:,}")
            arrays.append(array[(self.severity - 1) * PER_SEVERITY : self.severity * PER_SEVERITY])
        return _batch(images, arrays[0], labels, arrays[1], PER_SEVERITY, [PER_SEVERITY // CLASSES] * CLASSES)


def _verify(file: Path, kind: str, page: str) -> None:
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file.name} in {file.parent}: it is published at {page}; name the folder it is in by {kind}'s `folder`"
        )
    if file.name in DIGESTS:
        verify(file, DIGESTS[file.name], f"fetch it again from {page}")


def _array(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damage can make the parser raise anything
        raise ValueError(f"{file} is damaged or no array: {error}") from error
    return array


def _entry(file: Path, name: str) -> NDArray[Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            content = archive.read(f"{name}.npy")  # to its end, which verifies the checksum of every byte
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # damage can make the parsers raise anything
        raise ValueError(f"{file} is damaged or has no array `{name}`: {error}") from error
    return array


def _batch(
    images_file: Path, images: NDArray[Any], labels_file: Path, labels: NDArray[Any], n: int, counts: list[int] | None
) -> Batch:
    if images.dtype != np.uint8 or images.shape != (n, *PIXELS):
        raise ValueError(f"{images_file} has images of {images.dtype} {images.shape}, expected uint8 {(n, *PIXELS)}")
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise ValueError(f"{labels_file} has labels of {labels.dtype} {labels.shape}, expected integers {(n,)}")
    if not 0 <= labels.min() <= labels.max() < CLASSES:
        raise ValueError(f"{labels_file} has labels {labels.min()} to {labels.max()}, expected 0 to {CLASSES - 1}")
    label = np.array(labels, dtype=np.int64)
    found = np.bincount(label, minlength=CLASSES).tolist()
    if counts is not None and found != counts:
        raise ValueError(f"{labels_file} has {found} labels of the classes, expected {counts}")
    image = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return labelled(image, torch.from_numpy(label))
