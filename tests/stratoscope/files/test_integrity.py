"""Tests of stratoscope/files/integrity.py."""

import hashlib
from pathlib import Path

import pytest

from stratoscope.files.integrity import verify

CONTENT = b"The quick brown fox jumps over the lazy dog"
KNOWN = {  # published test values
    "md5": "9e107d9d372bb6826bd81d3542a419d6",
    "sha256": "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
}
each = pytest.mark.parametrize("kind", KNOWN)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with published digests."""
    path = tmp_path / "fox.bin"
    path.write_bytes(CONTENT)
    return path


@each
def test_the_published_file_passes(file: Path, kind: str) -> None:
    """md5 and SHA-256 are told apart by their length."""
    verify(file, KNOWN[kind], "fetch it again")


@each
def test_a_large_file_passes(tmp_path: Path, kind: str) -> None:
    """A file of some megabytes is read to its end, and an empty one too."""
    for content in (bytes(range(256)) * 20_000, b""):
        (tmp_path / "large.bin").write_bytes(content)
        verify(tmp_path / "large.bin", hashlib.new(kind, content).hexdigest(), "fetch it again")


@each
@pytest.mark.parametrize("position", [0, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_flipped_bit_is_found(file: Path, kind: str, position: int) -> None:
    """The message has the file, both digests, their kind and the remedy."""
    content = bytearray(CONTENT)
    content[position] ^= 1
    file.write_bytes(content)
    found = hashlib.new(kind, content).hexdigest()
    message = f"{file} is damaged or another file: its {kind} is {found}, not {KNOWN[kind]}; fetch it again"
    with pytest.raises(ValueError, match=f"^{message}$"):
        verify(file, KNOWN[kind], "fetch it again")


@each
@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\n", b""])
def test_a_file_of_another_length_is_found(file: Path, kind: str, content: bytes) -> None:
    """A cut file, one with an added line end and an empty one are refused."""
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} is damaged or another file"):
        verify(file, KNOWN[kind], "fetch it again")


@each
@pytest.mark.parametrize("folder", [False, True])
def test_a_missing_file_is_named(tmp_path: Path, kind: str, folder: bool) -> None:
    """A file that is not there, or a folder in its place, is named with the remedy."""
    missing = tmp_path / "missing.bin"
    if folder:
        missing.mkdir()
    with pytest.raises(FileNotFoundError, match=f"^{missing} is missing: fetch it again$"):
        verify(missing, KNOWN[kind], "fetch it again")
