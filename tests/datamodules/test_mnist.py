"""Tests of datamodules/mnist.py."""

import gzip
import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision import datasets

from stratoscope.datamodules import mnist
from stratoscope.datamodules.batch import Sets
from stratoscope.datamodules.mnist import MNIST, FashionMNIST, read_idx

FILES = [f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
COUNTS = {"train": 30, "t10k": 20}


class Original(NamedTuple):
    """A small MNIST on disk.

    Attributes:
        root: The folder with the data.
        arrays: What every file holds.
    """

    root: Path
    arrays: dict[str, NDArray[np.uint8]]


def md5(content: bytes) -> str:
    """Checksum as torchvision writes it down."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: NDArray[np.uint8]) -> bytes:
    """A file in the IDX format."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrays(seed: int, counts: Mapping[str, int] = COUNTS) -> dict[str, NDArray[np.uint8]]:
    """Random images and labels for the four files."""
    generator = np.random.default_rng(seed)
    content: dict[str, NDArray[np.uint8]] = {}
    for part, n in counts.items():
        content[f"{part}-images-idx3-ubyte"] = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        content[f"{part}-labels-idx1-ubyte"] = generator.integers(0, 10, n, dtype=np.uint8)
    return content


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Original:
    """Packed original files of a small MNIST, and their checksums where the module looks for them."""
    return packed(tmp_path / "data", COUNTS, monkeypatch)


def packed(root: Path, counts: Mapping[str, int], monkeypatch: pytest.MonkeyPatch) -> Original:
    """Write a small MNIST into a new folder, and make it the one that is published."""
    data = Original(root, arrays(0, counts))
    root.mkdir()
    for name, array in data.arrays.items():
        (root / f"{name}.gz").write_bytes(gzip.compress(idx(array), 1))
    publish(data, monkeypatch)
    monkeypatch.setattr(mnist, "COUNTS", counts)
    return data


def publish(data: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the present files those whose checksums are published."""
    packed = [(f"{name}.gz", md5((data.root / f"{name}.gz").read_bytes())) for name in FILES]
    monkeypatch.setattr(datasets.MNIST, "resources", packed)
    monkeypatch.setattr(MNIST, "unpacked", {name: md5(idx(array)) for name, array in data.arrays.items()})


def unpack(data: Original) -> None:
    """Leave the unpacked files only."""
    for name, array in data.arrays.items():
        (data.root / f"{name}.gz").unlink()
        (data.root / name).write_bytes(idx(array))


def assert_holds(sets: Sets, data: Original) -> None:
    """Check that the sets are the data's."""
    assert list(sets) == ["train", "test"]
    for part, name in zip(sets.values(), ("train", "t10k"), strict=True):
        assert part.image.dtype == torch.uint8
        assert part.image.shape == (COUNTS[name], 1, 28, 28)
        assert part.image.is_contiguous()
        assert np.array_equal(part.image[:, 0].numpy(), data.arrays[f"{name}-images-idx3-ubyte"])
        assert np.array_equal(part.true_label.numpy(), data.arrays[f"{name}-labels-idx1-ubyte"])
        assert part.true_label.dtype == torch.int64
        assert torch.equal(part.given_label, part.true_label)
        assert torch.equal(part.index, torch.arange(COUNTS[name]))


def test_packed_files_are_read(original: Original) -> None:
    """The four files as they are published give all images and labels in their order."""
    assert_holds(MNIST(str(original.root)).load(), original)


def test_unpacked_files_are_read(original: Original) -> None:
    """So do the unpacked ones."""
    unpack(original)
    assert_holds(MNIST(str(original.root)).load(), original)


def test_packed_and_unpacked_files_mix(original: Original) -> None:
    """Each file may be packed or not."""
    for name in FILES[:2]:
        (original.root / f"{name}.gz").unlink()
        (original.root / name).write_bytes(idx(original.arrays[name]))
    assert_holds(MNIST(str(original.root)).load(), original)


def test_torchvision_s_folder_is_found(original: Original, tmp_path: Path) -> None:
    """The files are found in MNIST/raw below the root, and torchvision reads the same from there."""
    raw = tmp_path / "torchvision" / "MNIST" / "raw"
    raw.parent.mkdir(parents=True)
    unpack(original)
    original.root.rename(raw)
    sets = MNIST(str(tmp_path / "torchvision")).load()
    assert_holds(sets, original)
    for name, train in (("train", True), ("test", False)):
        theirs = datasets.MNIST(str(tmp_path / "torchvision"), train)
        assert torch.equal(theirs.data, sets[name].image[:, 0])
        assert torch.equal(theirs.targets, sets[name].true_label)


def test_fashion_mnist_has_its_own_files(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FashionMNIST reads FashionMNIST/raw with its own checksums, beside MNIST/raw."""
    raw = tmp_path / "both" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    fashion = Original(raw, arrays(1))
    for name, array in fashion.arrays.items():
        (raw / name).write_bytes(idx(array))
    monkeypatch.setattr(FashionMNIST, "unpacked", {name: md5(idx(array)) for name, array in fashion.arrays.items()})
    (tmp_path / "both" / "MNIST").mkdir()
    original.root.rename(tmp_path / "both" / "MNIST" / "raw")
    assert_holds(FashionMNIST(str(tmp_path / "both")).load(), fashion)
    assert_holds(MNIST(str(tmp_path / "both")).load(), original)


def test_the_download_fetches_and_verifies(original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `download` an empty root gets the files from torchvision's address (here a server of this process)."""
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(original.root))
    ) as server:
        Thread(target=server.serve_forever).start()
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        try:
            sets = MNIST(str(tmp_path / "new"), download=True).load()
            (tmp_path / "new" / "MNIST" / "raw" / f"{FILES[0]}.gz").unlink()
            (tmp_path / "new" / "MNIST" / "raw" / FILES[0]).unlink()
            again = MNIST(str(tmp_path / "new"), download=True).load()
        finally:
            server.shutdown()
    assert_holds(sets, original)
    assert_holds(again, original)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["MNIST"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(original: Original, name: str, packed: bool) -> None:
    """One flipped byte in any file is found by its md5, and the message has file, digests and address."""
    if not packed:
        unpack(original)
    file = original.root / (f"{name}.gz" if packed else name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{file} is damaged or another file: its md5 is {md5(bytes(content))}"
    ) as caught:
        MNIST(str(original.root)).load()
    assert "fetch" in str(caught.value)
    assert datasets.MNIST.mirrors[0] in str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_a_swapped_file_is_found(original: Original, packed: bool) -> None:
    """Test images in the place of training images are refused by name."""
    if not packed:
        unpack(original)
    ending = ".gz" if packed else ""
    file = original.root / f"train-images-idx3-ubyte{ending}"
    file.write_bytes((original.root / f"t10k-images-idx3-ubyte{ending}").read_bytes())
    with pytest.raises(ValueError, match=rf"{file} is damaged or another file"):
        MNIST(str(original.root)).load()


def test_files_of_the_other_set_are_refused(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of MNIST are not taken for those of Fashion-MNIST, though they have the same names and sizes."""
    monkeypatch.setattr(FashionMNIST, "unpacked", dict.fromkeys(FILES, "0" * 32))
    unpack(original)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte is damaged or another file"):
        FashionMNIST(str(original.root)).load()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(original: Original, name: str) -> None:
    """If one of the four is not there, the message has its name and where it is published."""
    (original.root / f"{name}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{original.root / name} is missing: fetch {name}.gz"):
        MNIST(str(original.root)).load()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_a_root_without_data_says_where_they_are(tmp_path: Path, kind: type[MNIST]) -> None:
    """The message has both places, the address, the files with their md5, and how to fetch them."""
    with pytest.raises(
        FileNotFoundError, match=rf"no {kind.__name__} in {tmp_path} or {tmp_path}/{kind.__name__}/raw"
    ) as caught:
        kind(str(tmp_path)).load()
    source = kind(str(tmp_path)).source()
    for part in (*(f"{name} (md5 {digest})" for name, digest in source.resources), source.mirrors[0]):
        assert part in str(caught.value)
    assert "--data.download true" in str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", [(3,), (4, 28, 28), (0,), (2, 3, 5)])
def test_idx_files_are_read(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    """Arrays of one and three axes come back as they were written."""
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    file = tmp_path / ("file.gz" if packed else "file")
    file.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    assert np.array_equal(read_idx(file, shape), array)
    assert read_idx(file, shape).flags.writeable


WHOLE = idx(np.zeros((4, 28, 28), np.uint8))
DAMAGE: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda content: content[:-1], "has 3,135 bytes of data, expected 3,136"),
    (lambda content: content + b"\0", "has 3,137 bytes of data, expected 3,136"),
    (lambda content: content[:10], r"has shape \(4, 0, 0\), expected \(4, 28, 28\)"),
    (lambda _: b"", "is no IDX file of uint8 with 3 axes: it starts with , expected 00000803"),
    (lambda _: idx(np.zeros(4, np.uint8)), "it starts with 00000801, expected 00000803"),
    (lambda content: b"\0\0\x0d" + content[3:], "it starts with 00000d03, expected 00000803"),
    (lambda _: idx(np.zeros((5, 28, 28), np.uint8)), r"has shape \(5, 28, 28\), expected \(4, 28, 28\)"),
    (lambda content: content[::-1], "is no IDX file"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("packed", [True, False])
def test_a_wrong_idx_file_is_named(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str, packed: bool
) -> None:
    """A cut, long or other file is refused: the message has the file, what is in it and what should be."""
    content = damage(WHOLE)
    file = tmp_path / ("file.gz" if packed else "file")
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(file, (4, 28, 28))
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip at all", gzip.compress(WHOLE)[:-9], gzip.compress(WHOLE)[:5]],
    ids=["empty", "no gzip", "no end", "no header"],  # the files hold the time, and processes share tests by name
)
def test_a_wrong_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    """So is a packed file that is cut, empty or not packed."""
    file = tmp_path / "file.gz"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(file)):
        read_idx(file, (4, 28, 28))


def test_a_flipped_byte_in_a_gzip_file_is_named(tmp_path: Path) -> None:
    """Whatever byte of a packed file is flipped, what is read is the original or an error that names the file."""
    array = np.arange(4 * 28 * 28).reshape(4, 28, 28).astype(np.uint8) // 3 * 2
    packed = gzip.compress(idx(array))
    file = tmp_path / "file.gz"
    outcomes = set()
    for place in range(len(packed)):
        content = bytearray(packed)
        content[place] ^= 0xFF
        file.write_bytes(content)
        try:
            outcomes.add(np.array_equal(read_idx(file, array.shape), array))
        except ValueError as error:
            outcomes.add(str(error).startswith(f"{file} is damaged"))
    assert outcomes == {True}


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_MNIST" not in os.environ, reason="STRATOSCOPE_TEST_MNIST names no folder")
def test_the_real_data_set() -> None:
    """Real MNIST has its published sizes, first labels and counts of the digits."""
    sets = MNIST(os.environ["STRATOSCOPE_TEST_MNIST"]).load()
    train, test = sets.values()
    assert train.image.shape == (60_000, 1, 28, 28)
    assert torch.bincount(test.true_label).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.true_label[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
