"""The labels people really gave: CIFAR-10N (Wei et al. 2022, "Learning with noisy labels revisited")."""

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.corruption import Corruption

Annotation = Literal["aggre", "rand1", "rand2", "rand3", "worse"]
KEYS = {
    "aggre": "aggre_label",
    "rand1": "random_label1",
    "rand2": "random_label2",
    "rand3": "random_label3",
    "worse": "worse_label",
}
DIGESTS = {  # SHA-256 of the 50,000 labels as uint8: the formats of the files have no reliable checksum
    "clean_label": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "aggre_label": "2bd5e02e39c9c79772cf4c794f7b74630ac1aaeeac4b807a63c11e9a375f8404",
    "worse_label": "11a306ed336e3bc81aaac36322ddf12de379d0df1883aa43e10ba562a98f6b2a",
    "random_label1": "8d01b5a5af048e84bf6e964c86e1133e95d5b22c07763e23705b714ad0f32d8b",
    "random_label2": "7ea04c887750912f49669282a75e78df380077766b361fb6cb5200999ad6dcda",
    "random_label3": "cdbfad7e15bfc8fc83bc7c6e30b692e2aa1186660d82738b7543a6012d6ca46f",
}
SOURCE = "https://github.com/UCSC-REAL/cifar-10-100n"


class HumanLabels(Corruption):
    """Training labels of CIFAR-10 as workers of Amazon Mechanical Turk gave them; test labels stay.

    Three people labelled every image. On all 50,000, 9.01 % of `aggre` (9.03 in the paper), 17.23, 18.12 and 17.64 % of
    `rand1` to `rand3`, and 40.21 % of `worse` are wrong.

    Args:
        file: `CIFAR-10_human.pt` of the authors, or an .npz with the same arrays.
        annotation: aggre (the majority of the three, else one of them), rand1, rand2, rand3 (one each) or worse (a
            wrong one, where there is one).
    """

    only_for = "CIFAR10"

    def __init__(self, file: str, annotation: Annotation = "worse") -> None:
        super().__init__()
        if annotation not in KEYS:
            raise ValueError(f"annotation must be one of {', '.join(KEYS)}, got {annotation}")
        self.file, self.annotation = Path(file).expanduser(), annotation

    def __call__(self, sets: Sets, classes: int) -> Sets:
        """Look the labels up by the samples' positions in the original training set.

        Raises:
            ValueError: If the file has no such labels, or those of another data set or order.
            FileNotFoundError: If it is not there.
        """
        train = sets["train"]
        labels = read_arrays(self.file, ("clean_label", KEYS[self.annotation]))
        clean, human = (_checked(self.file, name, label, classes) for name, label in labels.items())
        if len(clean) != len(human):
            raise ValueError(f"{self.file} has {len(clean):,} clean and {len(human):,} {self.annotation} labels")
        index = train.index
        if int(index.max()) >= len(clean) or not torch.equal(clean[index], train.true_label):
            raise ValueError(f"{self.file}: these labels are of another data set or order than the training set's")
        return {**sets, "train": train._replace(given_label=human[index])}


def read_arrays(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """Read arrays by name from an .npz, or from a dictionary of NumPy arrays that was saved by torch; run no code.

    Args:
        file: Ends in .npz, .pt or .pth.
        names: The arrays wanted.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not such a file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there are no human labels in {file}: fetch CIFAR-10_human.pt from {SOURCE}")
    if file.suffix not in {".npz", ".pt", ".pth"}:
        raise ValueError(f"human labels must be in a file .npz or .pt, got {file}")
    try:
        arrays: Any = _read_npz(file, names) if file.suffix == ".npz" else _read_torch(file)
    except Exception as error:  # whatever a damaged or hostile file brings about
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{file} cannot be read as arrays alone ({type(error).__name__}: {reason})") from None
    for name in names:
        if not isinstance(arrays, dict) or not isinstance(arrays.get(name), np.ndarray):
            raise ValueError(f"{file} has no array {name}: it is not a file of CIFAR-10N")
    return {name: arrays[name] for name in names}


def _read_npz(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    if not zipfile.is_zipfile(file):
        raise ValueError("not a zip file")
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names if name in arrays}


def _read_torch(file: Path) -> Any:
    """Unpickle NumPy's arrays of whole numbers and nothing else.

    Raises:
        ValueError: If there is anything else.
    """
    reconstruct = np.zeros(0).__reduce__()[0]
    allowed: list[Any] = [
        (reconstruct, "numpy.core.multiarray._reconstruct"),  # written by NumPy 1
        (reconstruct, "numpy._core.multiarray._reconstruct"),  # and 2
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in (np.uint8, np.int32, np.int64)},
    ]
    with torch.serialization.safe_globals(allowed):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # its message advises to trust the file
            raise ValueError("damaged, or more than arrays of whole numbers") from None


def _checked(file: Path, name: str, label: NDArray[np.generic], classes: int) -> Int64[Tensor, " n"]:
    """Labels as a tensor.

    Raises:
        ValueError: If they are none.
    """
    if label.ndim != 1 or label.dtype.kind not in "iu" or not len(label):
        raise ValueError(f"{name} in {file} must be a row of whole numbers, got {label.dtype} {label.shape}")
    if label.min() < 0 or label.max() >= classes:
        raise ValueError(
            f"{name} in {file} must be classes from 0 to {classes - 1}, got {label.min()} to {label.max()}"
        )
    digest = hashlib.sha256(label.astype(np.uint8).tobytes()).hexdigest()
    if len(label) == 50_000 and digest != DIGESTS[name]:
        raise ValueError(f"{name} in {file} is damaged: its labels are not those of CIFAR-10N; fetch it from {SOURCE}")
    return torch.from_numpy(label.astype(np.int64))
