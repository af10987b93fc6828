"""Tests of datamodules/cifar.py, on CIFAR-10: archives, folders of images, the crop and further test sets."""

import multiprocessing
import os
import shutil
import signal
import tarfile
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import torch
from torchvision import datasets

from stratoscope.datamodules.batch import Batch, labelled
from stratoscope.datamodules.cifar10 import CIFAR10
from stratoscope.datamodules.shifted_set import ShiftedSet
from tests.datamodules.small_cifar10 import Original, assert_holds, flip, md5
from tests.stratoscope.test_full_disks import without_override


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


def test_a_damaged_archive_is_named(original: Original) -> None:
    """One flipped bit in the archive is found before anything is unpacked."""
    shutil.rmtree(original.unpacked)
    flip(original.archive)
    with pytest.raises(ValueError, match=rf"{original.archive} is damaged.*md5 is .*, not {datasets.CIFAR10.tgz_md5}"):
        CIFAR10(str(original.root)).load()
    assert not original.unpacked.exists()


@pytest.mark.parametrize(("crop", "first"), [(1, 15), (27, 2), (28, 2), (31, 0), (32, 0)])
def test_the_crop_is_central(folder: Original, crop: int, first: int) -> None:
    """A crop leaves equal margins, or one pixel less above and to the left."""
    assert_holds(CIFAR10(str(folder.root), crop=crop).load(), folder, slice(first, first + crop))


@pytest.mark.parametrize("crop", [0, 33, -28])
def test_a_crop_out_of_range_is_refused(crop: int) -> None:
    """The message has the crop."""
    with pytest.raises(ValueError, match=f"crop must be 1 to 32 pixels, got {crop}"):
        CIFAR10(crop=crop)


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


def test_a_folder_copied_in_part_is_refused(folder: Original) -> None:
    """Fewer images of a class than CIFAR-10 has are refused, with the class and both numbers."""
    next((folder.root / "test" / "cat").iterdir()).rename(folder.root / "test" / "dog" / "99.png")
    with pytest.raises(ValueError, match=r"test/dog must have 1 images, got 2: copied in part\?|test/cat must have"):
        CIFAR10(str(folder.root)).load()
