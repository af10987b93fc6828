"""What is downloaded or unpacked appears whole or not at all, however many processes prepare it at once."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

PART = ".part"
ABANDONED = 86_400  # seconds after which nobody is at work any more


@contextmanager
def beside(folder: Path, to_keep: bool) -> Iterator[Path]:
    """A new folder to prepare data in; it goes when the block ends, with what was not published.

    Args:
        folder: Where the data are to be: the new folder is in it, so that they can be renamed into their place.
        to_keep: Whether they have to stay there; else, where nothing can be written, the new folder is among the
            system's temporary files.

    Raises:
        OSError: If they have to stay, and nothing can be written.
    """
    try:
        if to_keep:
            folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".*{PART}"):  # by a process that was killed
            with suppress(OSError):  # which may go at any moment
                if time.time() - left.stat().st_mtime > ABANDONED:
                    shutil.rmtree(left, ignore_errors=True)
        made = Path(mkdtemp(PART, ".", folder))
    except OSError:
        if to_keep:
            raise
        made = Path(mkdtemp(prefix="stratoscope-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(made: Path, place: Path) -> None:
    """Put a file or folder in its place, or leave there what another process has put meanwhile.

    Args:
        made: Whole, in a folder from `beside`.
        place: Where it belongs.
    """
    with suppress(OSError):  # a folder that is there, or a place that cannot be written
        made.rename(place)
