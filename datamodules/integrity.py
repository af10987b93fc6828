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
    kind = "md5" if len(digest) == 32 else "sha256"
    with file.open("rb") as content:
        found = hashlib.file_digest(content, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    if found != digest:
        raise ValueError(f"{file} is damaged or another file: its {kind} is {found}, not {digest}; {remedy}")
