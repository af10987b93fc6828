"""The directory a run leaves: what was run, how, and how far it got."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

import stratoscope
from stratoscope.callbacks.atomic import replacing
from stratoscope.refusal import Refused
from stratoscope.run_lock import RunLock

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RECORDED = [
    "lightning",
    "torch",
    "torchvision",
    "torchmetrics",
    "jsonargparse",
    "numpy",
    "scipy",
    "scikit-learn",
    "wandb",
]


class RunDirectory:
    """One run's directory: `config.yaml`, `run.json`, `metrics.csv`, `probes.csv`, `checkpoints/`, ...

    Nothing is written before `claim`, and nothing by another process between `claim` and `end`.

    Args:
        folder: Folder of all runs.
        name: Name of the run; None makes one that no other run has.
        words: What a name that is made says besides date and time.

    Raises:
        Refused: If the name could lead out of the folder, or is that of something else than a run.
    """

    def __init__(self, folder: str, name: str | None, words: Sequence[str] = ()) -> None:
        self.named = name is not None
        name = new_name(words) if name is None else name
        if not NAME.fullmatch(name):
            raise Refused(
                f"--run must be letters, digits, '.', '_' and '-', starting with a letter or digit; got {name!r}"
            )
        self.path = Path(folder).expanduser() / name
        self.config_file, self.record_file = self.path / "config.yaml", self.path / "run.json"
        self.record: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        if self.named and self.path.exists() and not self._hardly_begun():
            self._read()

    @property
    def finished(self) -> bool:
        """Whether the run has ended as it should."""
        return self.record.get("status") == "finished"

    @property
    def begun(self) -> bool:
        """Whether there is a run of this name to go on with."""
        return bool(self.record)

    def differences(self, config: dict[str, Any], asked: dict[str, Any]) -> list[str]:
        """How this run differs from what is asked for now; nothing if the run is new.

        Args:
            config: The full config.
            asked: The command and what it was given beside the config.
        """
        if not self.begun:
            return []
        return different(self.record.get("asked"), asked) + different(self.config, config)

    def check_data(self, hashes: dict[str, str]) -> None:
        """Compare the data with those the run began with.

        Args:
            hashes: Content hash of every set.

        Raises:
            Refused: If they differ.
        """
        if changes := different(self.record.get("data") or hashes, hashes, "data"):
            raise Refused(f"run {self.path.name} was begun with other data: {'; '.join(changes)}; give another --run")

    def claim(self, config: dict[str, Any], asked: dict[str, Any], data: dict[str, str] | None = None) -> None:
        """Make the directory and write config and record.

        Args:
            config: The full config.
            asked: The command and what it was given beside the config.
            data: Content hash of every set.

        Raises:
            Refused: If the directory cannot be written, or another process is at work in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=self.named)
            self.lock = RunLock(self.path)
            self._check_unchanged()
            for part in self.path.rglob(".*.part"):  # of a process that was killed while it wrote
                part.unlink()
            with replacing(self.config_file) as part:
                part.write_text(yaml.safe_dump(config, sort_keys=False))
            begun = {"started": _now(), **self.record, "status": "running", "asked": asked}
            commands = [*begun.get("commands", []), shlex.join(sys.argv)]
            self._write({**begun, "data": data, "versions": _versions(), "code": _code(), "commands": commands})
        except OSError as error:
            raise Refused(f"cannot write the run directory {self.path}: {error.strerror}") from error

    def end(self, status: str) -> None:
        """Record how the run has ended, and let others in.

        Args:
            status: finished, interrupted (it was asked to end and can go on) or failed.
        """
        self._write({**self.record, "status": status, "ended": _now()})
        self.lock.release()

    def _hardly_begun(self) -> bool:
        """Whether a run was stopped before it left a record."""
        names = {file.name for file in self.path.iterdir()} if self.path.is_dir() else {"a file"}
        return all(name in {"lock", "config.yaml"} or name.endswith(".part") for name in names) and "lock" in names

    def _check_unchanged(self) -> None:
        """Look again, now that nobody else can write.

        Raises:
            Refused: If another process has worked on the run since this one looked.
        """
        try:
            now = json.loads(self.record_file.read_text())
        except FileNotFoundError:
            now = {}
        if now != self.record:
            self.lock.release()
            raise Refused(f"run {self.path.name} has changed while this command started; give it again")

    def _read(self) -> None:
        try:
            self.record = json.loads(self.record_file.read_text())
            self.config = yaml.safe_load(self.config_file.read_text())
            if not isinstance(self.record, dict) or not isinstance(self.config, dict):
                raise ValueError("not a mapping")
        except (OSError, ValueError, yaml.YAMLError) as error:
            what = "is no run of stratoscope, or its config.yaml or run.json is damaged"
            raise Refused(f"--run: {self.path} {what}; give another name") from error

    def _write(self, record: dict[str, Any]) -> None:
        self.record = record
        with replacing(self.record_file) as part:
            part.write_text(json.dumps(record, indent=2) + "\n")


def new_name(words: Sequence[str]) -> str:
    """A name no other run has, which sorts by time: date and time (UTC), words, random digits."""
    # not from a seeded generator: two runs of one command must differ
    return "_".join([datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S"), *words, os.urandom(4).hex()])


def different(before: Any, now: Any, key: str = "") -> list[str]:
    """Dotted keys at which two configs differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        return [
            line for name in names for line in different(before.get(name), now.get(name), f"{key}.{name}".strip("."))
        ]
    return [] if before == now else [f"{key}: {_brief(before)} there, {_brief(now)} here"]


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    """What the run is done with, of what is installed."""
    found = {"stratoscope": stratoscope.__version__, "python": platform.python_version()}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _code() -> dict[str, Any] | None:
    """Commit of the code and whether it was changed; None outside a clone."""
    root = Path(stratoscope.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "changed": bool(changed.strip())}
