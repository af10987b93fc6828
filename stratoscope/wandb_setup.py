"""W&B as a mirror of the run directory, which never stops a run for want of a key."""

import os
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlsplit

from jsonargparse import Namespace

from stratoscope.run_directory import RunDirectory


def prepare_wandb(loggers: list[Any], directory: RunDirectory) -> list[str]:
    """Give W&B the run's name and directory; without an API key it writes offline, which the user is to be told.

    Args:
        loggers: The trainer's loggers, as parsed; those of W&B are changed in place.
        directory: The run directory.

    Returns:
        Lines for the user.
    """
    notes = []
    for logger in loggers:
        if not isinstance(logger, Namespace) or not logger.class_path.endswith(".WandbLogger"):
            continue
        given = logger.init_args
        if given.save_dir == ".":
            given.save_dir = str(directory.path)
        given.name = given.name or directory.path.name
        given.project = "stratoscope" if given.project in {None, "lightning_logs"} else given.project
        if not given.offline and os.environ.get("WANDB_MODE", "online") == "online" and not _has_key():
            given.offline, given.mode = True, "offline"
            where = f"{directory.path}/wandb/offline-run-*"
            notes.append(f"W&B has no API key here and writes offline; later: wandb sync {where}")
    return notes


def _has_key() -> bool:
    """Whether W&B will find an API key, where it looks for one: the environment, then netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
