"""W&B as a mirror of the run directory, which never stops a run for want of a key, nor holds up its end."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from netrc import NetrcParseError, netrc
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from jsonargparse import Namespace

from stratoscope.callbacks.instruments.wandb_server import reachable, server
from stratoscope.run.directory import RunDirectory

FIRST_PATIENCE = 5  # seconds for it to begin a run
LAST_PATIENCE = 6  # seconds for it to take the rest at the end of a run
UPLOAD_PATIENCE = 600  # where that may be checkpoints
TAG = 64  # characters, at most


def prepare_wandb(loggers: list[Any], directory: RunDirectory, tags: Sequence[str] = ()) -> list[str]:
    """Give W&B what the user has not: the run's name, directory, tags, and the time it may take at the end.

    Without an API key or a server it writes offline.

    Args:
        loggers: The trainer's loggers, as parsed; those of W&B are changed in place.
        directory: The run directory.
        tags: What to find the run by.

    Returns:
        Lines for the user.
    """
    notes = []
    for logger in loggers:
        if not isinstance(logger, Namespace) or not logger.class_path.endswith(".WandbLogger"):
            continue
        given = logger.init_args
        if given.save_dir == ".":
            given.save_dir = str(directory.path.resolve())  # W&B's own process may be at home elsewhere
        given.id = given.id or os.environ.get("WANDB_RUN_ID") or _id(directory)
        given.name = given.name or directory.path.name
        given.tags = given.get("tags") or [tag[:TAG] for tag in tags]
        project = os.environ.get("WANDB_PROJECT", "stratoscope")
        given.project = project if given.project in {None, "lightning_logs"} else given.project
        os.environ.setdefault("WANDB_INIT_TIMEOUT", str(FIRST_PATIENCE))
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(UPLOAD_PATIENCE if given.log_model else LAST_PATIENCE))
        os.environ.setdefault("WANDB_FINISH_TIMEOUT_RAISES", "true")
        if not given.offline and os.environ.get("WANDB_MODE", "online") == "online":
            reason = "" if reachable() else f"cannot reach {server()}"
            reason = reason if has_key() else "has no API key on this machine"
            if reason:
                given.offline, given.mode, given.log_model = True, "offline", False  # which would be refused
                notes.append(_offline(reason, directory))
    return notes


def begin_wandb(loggers: Sequence[Any], directory: RunDirectory) -> list[str]:
    """Begin W&B's runs; what its server refuses, or does not begin in time, is written offline.

    Args:
        loggers: The trainer's loggers.
        directory: The run directory.

    Returns:
        Lines for the user.
    """
    from lightning.pytorch.loggers import WandbLogger

    notes = []
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        import wandb

        try:
            _ = logger.experiment
        except wandb.Error as error:
            wandb.teardown()  # it reads the environment once
            os.environ["WANDB_MODE"] = "offline"
            _ = logger.experiment
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            notes.append(_offline(f"has no run at {server()} ({said})", directory))
    return notes


def _offline(reason: str, directory: RunDirectory) -> str:
    return f"W&B {reason} and writes offline; later: wandb sync {directory.path}/wandb/offline-run-*"


def tags_of(config: Namespace) -> list[str]:
    """The names of a run's network and of the corruptions of its data.

    Args:
        config: The parsed options of a command.
    """
    data = config.get("data")
    given = data.init_args.get("corruption") if data and "init_args" in data else None
    corruptions = [] if given is None else given if isinstance(given, list) else [given]
    parts = [*([config.model] if config.get("model") else []), *corruptions]
    names = [str(part.class_path).rpartition(".")[2] for part in parts if hasattr(part, "class_path")]
    return list(dict.fromkeys(names if corruptions else [*names, "uncorrupted"]))


def group_of(experiment: str, scale: str) -> str:
    """W&B's group of all runs of an experiment.

    Args:
        experiment: Its name.
        scale: Its scale.
    """
    return f"{experiment}/{scale}"


@contextmanager
def wandb_finished() -> Iterator[None]:
    """End this process's W&B run, if there is one, after the run itself, however that ended.

    What the server does not take in time stays in the run directory, and the user is told.

    Raises:
        SystemExit: As the run did.
    """
    code: Any = 1
    try:
        yield
        code = 0
    except SystemExit as stop:
        code = stop.code
        raise
    finally:
        if (run := getattr(sys.modules.get("wandb"), "run", None)) is not None:
            folder = Path(os.path.relpath(run.dir)).parent
            try:
                run.finish(exit_code=code)
            except Exception:  # also when W&B's own process has died; the run is over and well
                print(f"W&B has not taken everything; later: wandb sync {folder}", flush=True)


def _id(directory: RunDirectory) -> str:
    """W&B's id of a run that goes on, so that it stays one run there; another for a new one."""
    folders = sorted((directory.path / "wandb").glob("*run-*-*")) if directory.begun else []
    return folders[-1].name.rpartition("-")[2] if folders else token_hex(4)


def has_key() -> bool:
    """Whether W&B will find an API key, where it looks for one: the environment, then netrc."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(server()).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
