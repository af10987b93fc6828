"""Tests of datamodules/cifar10.py."""

import hashlib
import multiprocessing
import os
import shutil
import signal
import struct
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision import datasets

from stratoscope.commands.table import main
from stratoscope.datamodules.batch import Batch, Sets, labelled
from stratoscope.datamodules.cifar10 import CIFAR10, NAMES
from stratoscope.datamodules.corruption import ShuffledPixels
from stratoscope.datamodules.normalisation import per_image_whitening
from stratoscope.datamodules.shifted_set import ShiftedSet
from tests.stratoscope.test_full_disks import without_override

TRAIN_FILES = [f"data_batch_{number}" for number in range(1, 6)]
PER_FILE = 3


class Elsewhere(ShiftedSet):
    """Seven black images, each with a bright middle of 28x28 pixels.

    Args:
        name: What the set is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> Batch:
        """Make the images."""
        image = torch.zeros(7, 3, 32, 32, dtype=torch.uint8)
        image[:, :, 2:30, 2:30] = 255
        return labelled(image, torch.arange(7))


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


def test_unpacked_original_files_are_read(original: Original) -> None:
    """Without the archive, the unpacked files give all images and labels in their original order."""
    original.archive.unlink()
    assert_holds(CIFAR10(str(original.root)).load(), original)


def test_the_original_archive_is_unpacked(original: Original) -> None:
    """The archive alone is enough, without a download; it is unpacked beside itself."""
    shutil.rmtree(original.unpacked)
    assert_holds(CIFAR10(str(original.root)).load(), original)
    assert original.unpacked.is_dir()
    assert_holds(CIFAR10(str(original.root)).load(), original)


def test_a_process_that_unpacks_is_met_by_no_other(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is in the midst of it another reads the whole data, unpacks them first, and is not overwritten."""
    shutil.rmtree(original.unpacked)
    extract, met = tarfile.TarFile.extractall, list[object]()

    def in_parts(self: tarfile.TarFile, path: Any, *args: Any, **kwargs: Any) -> None:
        extract(self, path, self.getmembers()[:3])
        if not met:
            met.append(sorted(path.name for path in original.root.iterdir() if not path.name.startswith(".")))
            assert_holds(CIFAR10(str(original.root)).load(), original)
            met.append(original.unpacked.stat().st_ino)
        extract(self, path)

    monkeypatch.setattr(tarfile.TarFile, "extractall", in_parts)
    assert_holds(CIFAR10(str(original.root)).load(), original)
    assert met == [[original.archive.name], original.unpacked.stat().st_ino]
    assert sorted(original.root.iterdir()) == [original.unpacked, original.archive]


def test_a_process_that_is_killed_leaves_nothing_half_unpacked(original: Original) -> None:
    """What it leaves has a name of its own, and goes a day later."""
    shutil.rmtree(original.unpacked)

    def killed() -> None:
        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        tarfile.TarFile.extractall = die  # type: ignore[assignment,method-assign]
        CIFAR10(str(original.root)).load()

    child = multiprocessing.get_context("fork").Process(target=killed)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (left,) = original.root.glob(".*.part")
    os.utime(left, (0, 0))
    assert_holds(CIFAR10(str(original.root)).load(), original)
    assert sorted(original.root.iterdir()) == [original.unpacked, original.archive]


def test_a_folder_that_cannot_be_written_is_enough(original: Original) -> None:
    """As of data that are shared: the archive is read, as often as it is needed, and nothing is left anywhere."""
    shutil.rmtree(original.unpacked)
    temporary = original.root.parent / "temporary"
    temporary.mkdir()
    original.root.chmod(0o555)

    def child() -> None:
        tempfile.tempdir = str(temporary)
        for _ in range(2):
            without_override(lambda: assert_holds(CIFAR10(str(original.root)).load(), original))
            assert list(original.root.iterdir()) == [original.archive]
            assert not list(temporary.iterdir())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    original.root.chmod(0o755)
    assert process.exitcode == 0


def test_the_download_fetches_unpacks_and_verifies(original: Original, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `download` an empty root gets the archive from torchvision's address (here a server of this process)."""
    shutil.rmtree(original.unpacked)
    away = original.root.parent / "server"
    original.root.rename(away)
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(away))) as server:
        Thread(target=server.serve_forever).start()
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{original.archive.name}")
        try:
            sets = CIFAR10(str(original.root), download=True).load()
        finally:
            server.shutdown()
    assert_holds(sets, original)
    assert md5(original.archive) == datasets.CIFAR10.tgz_md5
    assert sorted(original.root.iterdir()) == [original.unpacked, original.archive]


def test_the_network_sees_whitened_crops(original: Original) -> None:
    """After the data module's set-up the corruption acts on the cropped images, before whitening."""
    data = CIFAR10(str(original.root), corruption=ShuffledPixels(), batch_size=4, seed=0)
    data.prepare_data()
    data.setup()
    test = ShuffledPixels()(CIFAR10(str(original.root)).load(), 10)["test"]
    (batch,) = data.predict_dataloader()
    assert batch.image.shape == (PER_FILE, 3, 28, 28)
    assert torch.equal(batch.image, per_image_whitening(test.image))
    assert sorted(torch.cat([batch.index for batch in data.train_dataloader()]).tolist()) == list(range(5 * PER_FILE))


@pytest.mark.parametrize("name", [*TRAIN_FILES, "test_batch", "batches.meta"])
def test_a_damaged_file_is_named(original: Original, name: str) -> None:
    """One flipped bit in an unpacked file is found by its md5, and the message has the file."""
    flip(original.unpacked / name)
    with pytest.raises(
        ValueError, match=rf"{original.unpacked / name} is damaged.*its md5 is [0-9a-f]{{32}}, not [0-9a-f]{{32}}"
    ):
        CIFAR10(str(original.root)).load()


def test_a_damaged_archive_is_named(original: Original) -> None:
    """One flipped bit in the archive is found before anything is unpacked."""
    shutil.rmtree(original.unpacked)
    flip(original.archive)
    with pytest.raises(ValueError, match=rf"{original.archive} is damaged.*md5 is .*, not {datasets.CIFAR10.tgz_md5}"):
        CIFAR10(str(original.root)).load()
    assert not original.unpacked.exists()


def change_a_byte(data: Original) -> Path:
    """Change one byte of an unpacked file."""
    file = data.unpacked / "data_batch_2"
    flip(file)
    return file


def cut_the_archive(data: Original) -> Path:
    """Cut the end of the archive off, as an interrupted download does."""
    shutil.rmtree(data.unpacked)
    data.archive.write_bytes(data.archive.read_bytes()[: data.archive.stat().st_size * 2 // 3])
    return data.archive


def swap_two_files(data: Original) -> Path:
    """Exchange two good files."""
    first, second, third = (data.unpacked / name for name in ("data_batch_1", "data_batch_3", "other"))
    first.rename(third)
    second.rename(first)
    third.rename(second)
    return first


@pytest.mark.parametrize("damage", [change_a_byte, cut_the_archive, swap_two_files])
def test_damaged_data_are_never_trained_on(
    damage: Callable[[Original], Path],
    original: Original,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command line names the file in one line, with exit code 2, and leaves nothing behind."""
    line = f"fit --model MLP --data CIFAR10 --data.root {original.root} --data.batch_size 5 --trainer.max_epochs 1"
    folder = original.root.parent / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    file, there = damage(original), sorted(original.root.rglob("*"))
    with pytest.raises(SystemExit) as refused:
        main(f"{line} --trainer.accelerator cpu".split())
    assert refused.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("stratoscope: ")
    assert f"{file} is damaged" in said
    assert not list(folder.iterdir())
    assert sorted(original.root.rglob("*")) == there


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch", "batches.meta"])
def test_a_missing_file_is_named(original: Original, name: str) -> None:
    """A file that is not there, as after an interrupted unpacking, is named."""
    (original.unpacked / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{original.unpacked / name} is missing"):
        CIFAR10(str(original.root)).load()


@pytest.mark.parametrize("exists", [True, False])
def test_a_root_without_data_says_where_they_are(tmp_path: Path, exists: bool) -> None:
    """The message has the root, the address and md5 of the archive, and how to fetch it."""
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    with pytest.raises(FileNotFoundError, match=rf"no CIFAR-10 in {root}") as caught:
        CIFAR10(str(root)).load()
    for part in (
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "--data.download true",
    ):
        assert part in str(caught.value)


def test_a_folder_of_images_is_read(folder: Original) -> None:
    """Images in folders named after the classes give both sets in their original order, from the cache too."""
    assert_holds(CIFAR10(str(folder.root)).load(), folder)
    assert_holds(CIFAR10(str(folder.root)).load(), folder)


@pytest.mark.parametrize(("crop", "first"), [(1, 15), (27, 2), (28, 2), (31, 0), (32, 0)])
def test_the_crop_is_central(folder: Original, crop: int, first: int) -> None:
    """A crop leaves equal margins, or one pixel less above and to the left."""
    assert_holds(CIFAR10(str(folder.root), crop=crop).load(), folder, slice(first, first + crop))


@pytest.mark.parametrize("several", [False, True])
def test_shifted_test_sets_are_cropped_like_the_original(folder: Original, several: bool) -> None:
    """One or several further test sets follow the original ones, under their names, with the same crop."""
    shifted: ShiftedSet | list[ShiftedSet] = [Elsewhere("one"), Elsewhere("two")] if several else Elsewhere("one")
    sets = CIFAR10(str(folder.root), shifted=shifted).load()
    assert list(sets) == ["train", "test", "one", "two"][: 4 if several else 3]
    assert_holds({name: sets[name] for name in ("train", "test")}, folder)
    assert sets["one"].image.shape == (7, 3, 28, 28)
    assert sets["one"].image.min() == 255
    assert sets["one"].true_label.tolist() == list(range(7))


@pytest.mark.parametrize("names", [["one", "one"], ["test"], ["one", "train"]])
def test_shifted_test_sets_of_one_name_are_refused(names: list[str]) -> None:
    """The names of sets differ, also from the original ones; the message has them."""
    with pytest.raises(ValueError, match=f"must have different names, got {', '.join(names)}"):
        CIFAR10(shifted=[Elsewhere(name) for name in names])


@pytest.mark.parametrize("crop", [0, 33, -28])
def test_a_crop_out_of_range_is_refused(crop: int) -> None:
    """The message has the crop."""
    with pytest.raises(ValueError, match=f"crop must be 1 to 32 pixels, got {crop}"):
        CIFAR10(crop=crop)


def test_a_folder_copied_in_part_is_refused(folder: Original) -> None:
    """Fewer images of a class than CIFAR-10 has are refused, with the class and both numbers."""
    next((folder.root / "test" / "cat").iterdir()).rename(folder.root / "test" / "dog" / "99.png")
    with pytest.raises(ValueError, match=r"test/dog must have 1 images, got 2: copied in part\?|test/cat must have"):
        CIFAR10(str(folder.root)).load()


def test_missing_classes_are_named(folder: Original) -> None:
    """A folder with fewer than the ten classes is refused with those expected and those found."""
    shutil.rmtree(folder.root / "test" / "bird")
    with pytest.raises(
        ValueError, match=rf"classes in {folder.root / 'test'} must be {', '.join(NAMES)}; got"
    ) as caught:
        CIFAR10(str(folder.root)).load()
    assert "bird" not in str(caught.value).partition("got")[2]


def test_other_classes_are_named(folder: Original) -> None:
    """A folder with a class of another data set is refused by name."""
    (folder.root / "train" / "bird").rename(folder.root / "train" / "dolphin")
    with pytest.raises(ValueError, match=r"got .*dolphin"):
        CIFAR10(str(folder.root)).load()


def test_a_damaged_image_is_named(folder: Original) -> None:
    """A cut image in the folder is named."""
    file = folder.root / "train" / NAMES[0] / "0.png"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        CIFAR10(str(folder.root)).load()


@pytest.mark.realdata
@pytest.mark.skipif("STRATOSCOPE_TEST_CIFAR10" not in os.environ, reason="STRATOSCOPE_TEST_CIFAR10 names no folder")
def test_the_real_data_set() -> None:
    """Real CIFAR-10 has 50,000 and 10,000 images, equally many of every class, shuffled, of the usual mean colour."""
    train, test = CIFAR10(os.environ["STRATOSCOPE_TEST_CIFAR10"]).load().values()
    for part, count in ((train, 50_000), (test, 10_000)):
        assert part.image.shape == (count, 3, 28, 28)
        assert torch.equal(torch.bincount(part.true_label), torch.full((10,), count // 10))
        assert torch.equal(part.given_label, part.true_label)
    assert train.true_label[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert test.true_label[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
