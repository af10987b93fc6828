"""W&B as a mirror of the run directory, which never stops a run for want of a key."""

import os
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlsplit

from jsonargparse import Namespace

from stratoscope.run_directory import RunDirectory

PATIENCE = 3  # seconds for the server to answer


def prepare_wandb(loggers: list[Any], directory: RunDirectory) -> list[str]:
    """Give W&B the run's name and directory; without an API key or a server it writes offline, and the user is told.

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
        given.id = given.id or _id(directory)
        given.name = given.name or directory.path.name
        given.project = "stratoscope" if given.project in {None, "lightning_logs"} else given.project
        if not given.offline and os.environ.get("WANDB_MODE", "online") == "online":
            reason = "" if reachable() else f"cannot reach {server()}"
            reason = reason if has_key() else "has no API key here"
            if reason:
                given.offline, given.mode = True, "offline"
                where = f"{directory.path}/wandb/offline-run-*"
                notes.append(f"W&B {reason} and writes offline; later: wandb sync {where}")
    return notes


def _id(directory: RunDirectory) -> str | None:
    """W&B's id of a run that goes on, so that it stays one run there; None for a new one."""
    folders = sorted((directory.path / "wandb").glob("*run-*-*")) if directory.begun else []
    return folders[-1].name.rpartition("-")[2] if folders else None


def server() -> str:
    """Address of the W&B server."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def reachable() -> bool:
    """Whether the W&B server answers, whatever it says; known within some seconds."""
    address = urlsplit(server())
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    try:
        connection = kind(address.hostname or "", address.port, timeout=PATIENCE)
        try:
            connection.request("HEAD", "/")
            connection.getresponse()
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException):
        return False
    return True


def has_key() -> bool:
    """Whether W&B will find an API key, where it looks for one: the environment, then netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(server()).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
