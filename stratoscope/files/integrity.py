"""Files are what they should be, to the byte, before anything is read from them.

The digest of a file that is published is known to the code; that of a checkpoint stands beside it, in FILE.sha256.
"""

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


def sha256_of(content: bytes | memoryview) -> str:
    """The SHA-256 of some bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digests_beside(file: Path) -> Path:
    """The file with the digests that another one may have, one a line."""
    return file.with_name(f"{file.name}.sha256")


def known_digests(file: Path) -> list[str]:
    """The digests that a file may have; none if nothing is known of it."""
    beside = digests_beside(file)
    return beside.read_text().split() if beside.is_file() else []


def check_intact(file: Path, content: bytes | memoryview) -> None:
    """See whether a file is as it was written, as far as digests of it are known.

    Args:
        file: The file.
        content: What it holds.

    Raises:
        ValueError: If it is not.
    """
    if (known := known_digests(file)) and sha256_of(content) not in known:
        raise ValueError(f"{file} is damaged: its SHA-256 is not the one in {digests_beside(file).name}")
