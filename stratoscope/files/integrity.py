"""Files are what they should be, to the byte, before anything is read from them."""

import hashlib
from pathlib import Path


def verify(file: Path, digest: str, remedy: str) -> None:
    """Compare a file with its published digest.

    Args:
        file: The file.
        digest: Hexadecimal md5 (32 digits) or SHA-256 (64).
        remedy: What the user can do, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not the file that was published.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {remedy}")
    if (found := digest_of(file, digest)) != digest:
        raise ValueError(f"{file} is damaged or another file: its {kind_of(digest)} is {found}, not {digest}; {remedy}")


def kind_of(digest: str) -> str:
    """The kind of a digest, by its length."""
    return "md5" if len(digest) == 32 else "sha256"


def digest_of(file: Path, like: str) -> str:
    """A file's digest of the kind of another one."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.new(kind_of(like), usedforsecurity=False)).hexdigest()
