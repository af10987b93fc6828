"""What is written into a folder stays in it: no symbolic link inside is followed out of it."""

import os
import re
from pathlib import Path

from stratoscope.errors import Refused


def check_links(folder: Path, part: str = "") -> None:
    """Refuse to write into a folder in which a link leads elsewhere.

    That the folder itself, or one above it, is a link (to a larger disk, say) is its owner's choice; what lies in it
    may have come from anybody, and whoever writes, loggers and callbacks of other packages too, would follow it.

    Args:
        folder: A run directory, or another that one command writes into.
        part: The folder in it that is written into, if it is not all of it.

    Raises:
        Refused: If there is such a link.
    """
    top = folder.resolve()
    inside: list[Path] = []
    for place, folders, files in os.walk(folder / part):
        inside += [Path(place, name) for name in [*folders, *files]]
        if Path(place).name == "wandb":
            # runs of W&B's that have ended hold a link to its log, and are not written again
            folders[:] = [name for name in folders if not re.match(r"(offline-)?run-\d", name)]
    for path in [*([folder / part] if part else []), *inside]:
        if path.is_symlink() and not (led := _end(path)).is_relative_to(top):
            raise Refused(
                f"{path} is a link that leads out of {folder}, to {led}: nothing is written there; to keep runs on "
                "another disk make a link of the folder itself, or of the folder of all runs"
            )


def _end(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return link.readlink()
