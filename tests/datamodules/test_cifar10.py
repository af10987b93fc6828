"""Tests of datamodules/cifar10.py; what it shares with CIFAR-100 is in test_cifar.py."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stratoscope.commands.table import main
from stratoscope.datamodules import ShuffledPixels
from stratoscope.datamodules.cifar10 import CIFAR10, NAMES
from stratoscope.datamodules.normalisation import per_image_whitening
from tests.datamodules.small_cifar10 import PER_FILE, TRAIN_FILES, Original, assert_holds, flip


def test_unpacked_original_files_are_read(original: Original) -> None:
    """Without the archive, the unpacked files give all images and labels in their original order."""
    original.archive.unlink()
    assert_holds(CIFAR10(str(original.root)).load(), original)


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
