"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends without an error, it replaces the file.

    Args:
        file: The file to replace. Its folder is made if need be.

    Yields:
        A temporary path in the same folder.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")  # several processes may replace one file
    part.unlink(missing_ok=True)  # a link of that name would be followed
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
