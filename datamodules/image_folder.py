"""Images in folders named after their classes, decoded once into one array."""

import contextlib
import hashlib
import io
import os
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

ENDINGS = {".png", ".jpg", ".jpeg"}
SYSTEM = {"__MACOSX", "@eaDir", "lost+found", "System Volume Information"}  # and all that begins with a dot or a $
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK"}  # of 8 bits or fewer, which Pillow converts itself
SIXTEEN = {"I;16", "I;16L", "I;16B", "I;16N"}  # grey of 16 bits
ORIENTATION = 0x0112  # the EXIF tag
DECODER = 2  # of `_decode`: what another one has decoded is decoded anew


def read_image_folder(folder: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Decode `<folder>/<class>/*.{png,jpg}`, or read what an earlier call decoded.

    What operating systems and notebooks leave in folders (`._x.jpg`, `.ipynb_checkpoints`, `__MACOSX`, ...) is no image
    and no class. Pixels come as viewers show them: turned as their EXIF tag says, grey in three equal channels, and of
    16 bits the upper 8. Where it is not known how they look (transparent, of floating point, moving), they are refused.

    The result is kept under `$STRATOSCOPE_CACHE` (default: ~/.cache/stratoscope), in a file named after the paths,
    sizes and modification times of all images, so that it is never stale; it appears whole or not at all, and a
    damaged one (its checksums are verified) is decoded anew.

    Args:
        folder: The folder of classes.
        size: Height and width every image must have, in pixels.

    Returns:
        Images (n, 3, size, size), labels (n) and the class names in alphabetical order. Images are in the order of
        their file stems where these are numbers and all different (original indices), else in that of their paths.

    Raises:
        ValueError: If there are no images, or one is damaged or of another size; the message names it.
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _left_behind(entry.name))
    files = sorted(
        Path(entry.path)
        for name in names
        for entry in os.scandir(folder / name)
        if not _left_behind(entry.name) and not entry.is_dir()
    )
    files = [file for file in files if file.suffix.lower() in ENDINGS]
    if not files:
        raise ValueError(f"no images in {folder}: expected {folder}/<class>/*.png or *.jpg")
    if all(file.stem.isdecimal() for file in files) and len({int(file.stem) for file in files}) == len(files):
        files.sort(key=lambda file: int(file.stem))
    labels = np.array([names.index(file.parent.name) for file in files], dtype=np.int64)
    cache = _cache_file(folder, files)
    images = _read_cache(cache)
    if images is None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            images = np.stack(list(threads.map(lambda file: _decode(file, size), files)))
        _write_cache(cache, images)
    return images, labels, names


def _left_behind(name: str) -> bool:
    """Whether a file or folder is not the user's but some system's."""
    return name.startswith((".", "$")) or name in SYSTEM


def _decode(file: Path, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            unclear = _unclear(image)
            pixels = np.asarray(_as_seen(image)).transpose(2, 0, 1)
    except Exception as error:  # damage can make the decoders raise anything
        raise ValueError(f"{file} is damaged or no image: {error}") from error
    if unclear:
        raise ValueError(f"{file} {unclear}")
    if pixels.shape != (3, size, size):
        raise ValueError(f"{file} is {pixels.shape[2]}x{pixels.shape[1]} pixels, expected {size}x{size}")
    return pixels


def _unclear(image: Image.Image) -> str:
    """Why it is not known how an image looks; nothing if it is."""
    if image.mode not in MODES and not _of_16_bits(image):
        return f"has pixels of mode {image.mode}, of which it is not known what is white: save it with 8 bits"
    if image.format in {"PNG", "GIF", "WEBP"} and (frames := getattr(image, "n_frames", 1)) > 1:
        return f"has {frames} frames: save one of them"
    transparent = image.mode in {"LA", "PA", "RGBA"} or "transparency" in image.info
    if transparent and bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any()):
        return "has transparent pixels: put it on a background"
    return ""


def _as_seen(image: Image.Image) -> Image.Image:
    """An image in three channels of 8 bits, turned as it should be seen."""
    sixteen = _of_16_bits(image)  # which a turned copy does not tell, as it has no format
    if image.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if sixteen:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # as Pillow does in colour
    return image.convert("RGB")


def _of_16_bits(image: Image.Image) -> bool:
    """Whether an image is grey with 16 bits; older Pillows give a PNG's 32."""
    return image.mode in SIXTEEN or (image.mode == "I" and image.format == "PNG")


def _cache_file(folder: Path, files: list[Path]) -> Path:
    content = hashlib.sha256(f"decoder {DECODER}\n".encode())
    for file in files:
        status = file.stat()
        name = os.fsencode(file.relative_to(folder))  # which need not be UTF-8
        content.update(name + f" {status.st_size} {status.st_mtime_ns}\n".encode())
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = Path(os.environ.get("STRATOSCOPE_CACHE") or f"{home}/stratoscope").expanduser()
    return cache / f"images-{place}-{content.hexdigest()[:16]}.npz"


def _read_cache(cache: Path) -> NDArray[np.uint8] | None:
    try:
        with zipfile.ZipFile(cache) as archive:
            content = archive.read("images.npy")  # to its end, which verifies the checksum of every byte
        images: NDArray[np.uint8] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # damage can make the parsers raise anything
        warnings.warn(f"{cache} is damaged ({error}): decoding the images anew", stacklevel=3)
        return None
    return images


def _write_cache(cache: Path, images: NDArray[np.uint8]) -> None:
    part = cache.with_suffix(f".{token_hex(8)}.part")  # other machines may share the folder
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, images=images)
            file.flush()
            os.fsync(file.fileno())
        part.replace(cache)
        for stale in cache.parent.glob(cache.name.rsplit("-", 1)[0] + "-*.npz"):
            if stale != cache:
                stale.unlink(missing_ok=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        warnings.warn(
            f"cannot keep decoded images in {cache.parent} ({error}): they are decoded in every run", stacklevel=3
        )
