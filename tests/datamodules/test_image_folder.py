"""Tests of datamodules/image_folder.py."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stratoscope.datamodules.image_folder import read_image_folder

# class -> stems: the original order runs through the classes, and 10 comes after 9
STEMS = {"cat": ["10", "0", "3"], "dog": ["2", "9"], "emu": ["1"]}
ORDER = [("cat", "0"), ("emu", "1"), ("dog", "2"), ("cat", "3"), ("dog", "9"), ("cat", "10")]


def picture(seed: int, size: int = 32) -> NDArray[np.uint8]:
    """Random pixels (size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def save(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image, with its class folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def flip(file: Path, position: int, bit: int) -> None:
    """Change one bit of a file."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def only_cache(cache: Path) -> Path:
    """The one file in the cache folder."""
    (file,) = cache.iterdir()
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that decoded images are kept in."""
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, cache: Path) -> Path:
    """Six images in three classes; the seed of an image's pixels is its stem."""
    for name, stems in STEMS.items():
        for stem in stems:
            save(tmp_path / "images" / name / f"{stem}.png", picture(int(stem)))
    return tmp_path / "images"


def expected() -> NDArray[np.uint8]:
    """The pixels of `folder` in the original order, channels first."""
    return np.stack([picture(int(stem)).transpose(2, 0, 1) for _, stem in ORDER])


def test_numeric_stems_give_the_original_order(folder: Path) -> None:
    """Images are in the order of their numbers, across classes; labels count the classes in alphabetical order."""
    images, labels, names = read_image_folder(folder, 32)
    assert np.array_equal(images, expected())
    assert images.dtype == np.uint8
    assert names == ["cat", "dog", "emu"]
    assert [names[label] for label in labels] == [name for name, _ in ORDER]


@pytest.mark.parametrize("other", ["cat/last.png", "cat/02.png"])
def test_other_stems_give_the_order_of_paths(folder: Path, other: str) -> None:
    """With a stem that is no number, or a number that comes twice, images are in the order of their paths."""
    save(folder / other, picture(99))
    files = sorted(file.relative_to(folder) for file in folder.glob("*/*"))
    images, labels, names = read_image_folder(folder, 32)
    assert [names[label] for label in labels] == [file.parent.name for file in files]
    seeds = [99 if str(file) == other else int(file.stem) for file in files]
    assert np.array_equal(images, np.stack([picture(seed).transpose(2, 0, 1) for seed in seeds]))


def test_jpeg_and_grey_images_are_read_and_other_files_passed_over(folder: Path) -> None:
    """Endings count whatever their case; a grey image has three equal channels; a text file is no image."""
    Image.fromarray(np.full((32, 32), 77, dtype=np.uint8)).save(folder / "emu" / "4.JPG")
    (folder / "emu" / "notes.txt").write_text("no image")
    (folder / "labels.csv").write_text("no class")
    images, _, names = read_image_folder(folder, 32)
    assert len(images) == 7
    assert names == ["cat", "dog", "emu"]
    assert np.array_equal(images[4], np.full((3, 32, 32), 77))


def test_a_second_read_takes_the_cache(folder: Path, cache: Path) -> None:
    """Files that look the same are not decoded again, and the result is equal."""
    first = read_image_folder(folder, 32)
    only_cache(cache)
    for file in folder.glob("*/*"):  # unreadable now, with the same size and time
        status = file.stat()
        file.write_bytes(b"x" * status.st_size)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = read_image_folder(folder, 32)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[2] == second[2]


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_truncated_cache_is_rebuilt(folder: Path, cache: Path, keep: int) -> None:
    """A cut cache is told of, decoded anew and whole again."""
    read_image_folder(folder, 32)
    file = only_cache(cache)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged .*decoding the images anew"):
        images, _, _ = read_image_folder(folder, 32)
    assert np.array_equal(images, expected())
    assert np.array_equal(read_image_folder(folder, 32)[0], expected())


@pytest.mark.parametrize(
    ("mark", "offset", "bit"),
    [
        pytest.param(picture(3).transpose(2, 0, 1).tobytes()[:16], 5, 0, id="a pixel"),
        pytest.param(b"(6, 3, 32, 32)", 1, 1, id="the number of images becomes 4"),
        pytest.param(b"(6, 3, 32, 32)", 8, 1, id="the height becomes 30"),
        pytest.param(b"\x93NUMPY", 8, 1, id="the array's header ends two bytes early"),
        pytest.param(b"\x93NUMPY", 8, 6, id="the array's header ends in the middle"),
        pytest.param(b"\x93NUMPY", 6, 5, id="the array's version"),
        pytest.param(b"PK\1\2", 8, 0, id="the archive says encrypted"),
        pytest.param(b"PK\1\2", 10, 0, id="the archive says another compression"),
        pytest.param(b"PK\1\2", 6, 7, id="the archive says a later version"),
        pytest.param(b"PK\5\6", 1, 0, id="the archive has no end"),
    ],
)
def test_a_flipped_bit_in_the_cache_is_found(folder: Path, cache: Path, mark: bytes, offset: int, bit: int) -> None:
    """A cache with one flipped bit is told of and decoded anew, wherever the bit is."""
    read_image_folder(folder, 32)
    file = only_cache(cache)
    position = file.read_bytes().find(mark)
    assert position >= 0
    flip(file, position + offset, bit)
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged .*decoding the images anew"):
        images, _, _ = read_image_folder(folder, 32)
    assert np.array_equal(images, expected())


@pytest.mark.parametrize("same", ["size", "time"])
def test_a_changed_image_is_decoded_anew(folder: Path, cache: Path, same: str) -> None:
    """Another size or another time of one file makes the cache another, and the old one goes."""
    read_image_folder(folder, 32)
    old, file = only_cache(cache), folder / "emu" / "1.png"
    status = file.stat()
    content = file.read_bytes()
    if same == "size":
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    else:
        save(file, picture(50) // 16)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size == status.st_size) == (same == "size")
    images, _, _ = read_image_folder(folder, 32)
    pixels = picture(1) if same == "size" else picture(50) // 16
    assert np.array_equal(images[1], pixels.transpose(2, 0, 1))
    assert only_cache(cache) != old


def test_an_added_and_a_removed_image_are_seen(folder: Path) -> None:
    """The cache of other files is not taken."""
    read_image_folder(folder, 32)
    save(folder / "dog" / "11.png", picture(11))
    images, labels, _ = read_image_folder(folder, 32)
    assert np.array_equal(images[:-1], expected())
    assert np.array_equal(images[-1], picture(11).transpose(2, 0, 1))
    assert labels[-1] == 1
    (folder / "dog" / "11.png").unlink()
    assert np.array_equal(read_image_folder(folder, 32)[0], expected())


def test_folders_have_caches_of_their_own(folder: Path, cache: Path, tmp_path: Path) -> None:
    """Reading another folder with files of the same names leaves the first one's cache."""
    read_image_folder(folder, 32)
    for name, stem in ORDER:
        save(tmp_path / "others" / name / f"{stem}.png", picture(int(stem) + 100))
    others, _, _ = read_image_folder(tmp_path / "others", 32)
    assert np.array_equal(others[0], picture(100).transpose(2, 0, 1))
    assert len(list(cache.iterdir())) == 2
    assert np.array_equal(read_image_folder(folder, 32)[0], expected())


def test_a_cache_that_cannot_be_written_is_told_of(folder: Path, cache: Path) -> None:
    """Where no folder can be made (here because a file is in the way) images are decoded all the same."""
    cache.write_text("in the way")
    with pytest.warns(UserWarning, match=rf"cannot keep decoded images in {cache}"):
        images, _, _ = read_image_folder(folder, 32)
    assert np.array_equal(images, expected())
    assert cache.read_text() == "in the way"


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_cut_image_is_named(folder: Path, cache: Path, ending: str) -> None:
    """An image whose second half is missing is named, and nothing is kept."""
    file = folder / "dog" / f"12.{ending}"
    save(file, picture(12))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        read_image_folder(folder, 32)
    assert not cache.exists()


@pytest.mark.parametrize("position", [0, 11, 12, 60])
def test_an_image_with_a_flipped_bit_is_named(folder: Path, position: int) -> None:
    """A PNG that is damaged in its signature, the length or the name of its header, or its pixels, is named."""
    file = folder / "dog" / "9.png"
    flip(file, position, 0)
    with pytest.raises(ValueError, match=rf"{file} is damaged"):
        read_image_folder(folder, 32)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_file_that_is_no_image_is_named(folder: Path, content: bytes) -> None:
    """An empty file or a text with the ending of an image is named."""
    (folder / "cat" / "3.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{folder / 'cat' / '3.png'} is damaged or no image"):
        read_image_folder(folder, 32)


def test_an_image_of_another_size_is_named(folder: Path) -> None:
    """The message has the image, its width and height, and those expected."""
    file = folder / "cat" / "3.png"
    save(file, np.zeros((31, 40, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=rf"{file} is 40x31 pixels, expected 32x32"):
        read_image_folder(folder, 32)


def test_a_folder_without_images_is_named(tmp_path: Path, cache: Path) -> None:
    """The message has the folder and what is expected in it, with class folders and without."""
    for folder in (tmp_path / "empty", tmp_path / "classes"):
        folder.mkdir()
    (tmp_path / "classes" / "cat").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "classes"):
        with pytest.raises(ValueError, match=rf"no images in {folder}: expected {folder}/<class>/"):
            read_image_folder(folder, 32)
