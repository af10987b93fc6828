"""Tests of datamodules/image_folder.py."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stratoscope.datamodules.image_folder import _as_seen, read_image_folder

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


def saved(folder: Path, image: Image.Image, **options: Any) -> NDArray[np.uint8]:
    """What is read of an image alone, from a PNG, or a JPEG if there is EXIF."""
    file = folder / "one" / ("a.jpg" if "exif" in options or image.mode == "CMYK" else "a.png")
    file.parent.mkdir(parents=True)
    image.save(file, quality=100, **options)
    return np.asarray(read_image_folder(folder, 4)[0][0], dtype=np.uint8)


GREY = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY),  # 16 bits
        (Image.fromarray(GREY.astype(np.uint16) << 8), GREY),
        (Image.fromarray(GREY), GREY),
        (Image.fromarray(GREY > 100), np.where(GREY > 100, 255, 0)),  # 1 bit
        (Image.fromarray(GREY).quantize(16), GREY),  # a palette
        (Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (4, 4), 255)]), GREY),  # opaque
        (Image.merge("RGBA", [*[Image.fromarray(GREY)] * 3, Image.new("L", (4, 4), 255)]), GREY),
    ],
    ids=["16 bits", "16 bits, shifted", "8 bits", "1 bit", "palette", "LA", "RGBA"],
)
def test_every_kind_of_pixel_has_its_brightness(
    image: Image.Image, wanted: NDArray[np.uint8], tmp_path: Path, cache: Path
) -> None:
    """Black is 0 and white is 255 in all three channels, however many bits there are."""
    read = saved(tmp_path / "images", image)
    assert all(np.array_equal(channel, wanted) for channel in read)


def test_inks_are_read_as_colours(tmp_path: Path, cache: Path) -> None:
    """White paper is white, and black ink black."""
    image = Image.new("CMYK", (4, 4), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 2))
    read = saved(tmp_path / "images", image)
    assert (read[:, 0] < 30).all()
    assert (read[:, 3] > 225).all()


# where the camera was held otherwise (Exif 2.32, section 4.6.4): what was done to the picture that is seen
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,  # counter-clockwise
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("turn", range(1, 9))
def test_photographs_are_turned_as_they_say(turn: int, tmp_path: Path, cache: Path) -> None:
    """The EXIF tag says where the top of the stored image belongs, as viewers show it."""
    upright = Image.fromarray(np.array([[0, 0, 255, 255]] * 2 + [[0, 0, 0, 0]] * 2, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = upright if turn == 1 else upright.transpose(STORED[turn])
    read = saved(tmp_path / "images", stored, exif=exif)
    assert np.abs(read[0].astype(int) - np.asarray(upright).astype(int)).max() < 60


@pytest.mark.parametrize("turn", [1, 3, 6])
def test_grey_of_16_bits_is_turned_too(turn: int) -> None:
    """Also where it was read into 32 bits, as older Pillows do, of which only the format tells that there are 16."""
    grey = np.arange(12, dtype=np.int32).reshape(3, 4) * 5000
    for image in (Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16))):
        image.format = "PNG"
        image.getexif()[0x0112] = turn
        seen = np.asarray(_as_seen(image))
        wanted = np.rot90(grey >> 8, {1: 0, 3: 2, 6: -1}[turn])
        assert np.array_equal(seen, np.repeat(wanted[..., None], 3, 2))


def transparent() -> Image.Image:
    """Of which one pixel can be looked through."""
    image = Image.fromarray(GREY).convert("RGBA")
    image.putpixel((1, 2), (9, 9, 9, 128))
    return image


@pytest.mark.parametrize(
    ("image", "options", "format", "part"),
    [
        (transparent(), {}, "PNG", "a.png has transparent pixels: put it on a background"),
        (transparent().convert("LA"), {}, "PNG", "transparent pixels"),
        (Image.fromarray(GREY).quantize(8), {"transparency": 0}, "PNG", "transparent pixels"),
        (Image.fromarray(GREY), {"transparency": 16}, "PNG", "transparent pixels"),
        (Image.fromarray(GREY.astype(np.float32)), {}, "TIFF", "a.png has pixels of mode F"),
        (Image.fromarray(GREY.astype(np.int32)), {}, "TIFF", "a.png has pixels of mode I,"),
        (
            Image.fromarray(GREY),
            {"save_all": True, "append_images": [Image.fromarray(255 - GREY)]},
            "PNG",
            "a.png has 2 frames: save one of them",
        ),
    ],
)
def test_images_of_which_it_is_not_known_how_they_look_are_named(
    image: Image.Image, options: dict[str, Any], format: str, part: str, tmp_path: Path, cache: Path
) -> None:
    """Something behind them would show through, or nobody knows what is white."""
    file = tmp_path / "images" / "one" / "a.png"
    file.parent.mkdir(parents=True)
    image.save(file, format, **options)
    with pytest.raises(ValueError, match=part):
        read_image_folder(tmp_path / "images", 4)


def test_what_another_decoder_made_is_decoded_anew(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As images may have been read wrongly by an earlier release."""
    monkeypatch.setattr("stratoscope.datamodules.image_folder.DECODER", 1)
    read_image_folder(folder, 32)
    before = only_cache(cache)
    monkeypatch.undo()
    monkeypatch.setenv("STRATOSCOPE_CACHE", str(cache))
    read_image_folder(folder, 32)
    assert only_cache(cache) != before


def test_what_systems_leave_in_folders_is_left_out(folder: Path) -> None:
    """Of macOS, Windows, notebooks, network drives and git, in either level, without a word."""
    whole = read_image_folder(folder, 32)
    for name in ("._3.jpg", ".hidden.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / "cat" / name).write_bytes(b"\0\5\x16\7 not an image")
        (folder / name).write_bytes(b"nor a class")
    for name in (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir", "$RECYCLE.BIN", "System Volume Information"):
        (folder / name).mkdir()
        save(folder / name / "1.png", picture(1))
        save(folder / "cat" / name / "1.png", picture(1))
    (folder / "cat" / "thumbnails.png").mkdir()
    images, labels, names = read_image_folder(folder, 32)
    assert names == whole[2]
    assert np.array_equal(labels, whole[1])
    assert np.array_equal(images, whole[0])


def test_names_need_not_be_in_utf_8(tmp_path: Path, cache: Path) -> None:
    """Files, classes and folders of Latin-1 are read, and kept decoded; one that is damaged is named."""
    folder = tmp_path / os.fsdecode(b"b\xe4ume")
    for name in (b"\xfcbel", b"gut"):
        (folder / os.fsdecode(name)).mkdir(parents=True)
        Image.fromarray(picture(1)).save(folder / os.fsdecode(name) / os.fsdecode(b"\xe9.png"))
    images, labels, names = read_image_folder(folder, 32)
    assert [os.fsencode(name) for name in names] == [b"gut", b"\xfcbel"]
    assert labels.tolist() == [0, 1]
    assert np.array_equal(images[0], picture(1).transpose(2, 0, 1))
    only_cache(cache)
    bad = folder / "gut" / os.fsdecode(b"\xe8.png")
    bad.write_bytes(b"x")
    with pytest.raises(ValueError, match="is damaged or no image") as caught:
        read_image_folder(folder, 32)
    assert str(bad) in str(caught.value)
