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
from stratoscope.errors import Refused
from stratoscope.files.atomic import replacing
from stratoscope.files.bounded import read_json
from stratoscope.files.own_folder import check_links
from stratoscope.run.lock import RunLock
from stratoscope.run.masking import MASK
from stratoscope.run.record_file import read_record

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST = 200  # name, in characters: file systems have 255 for a folder
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

    Attributes:
        longer: Whether the run is asked to train longer than it was.
        note: What else to record of it.

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
        if not NAME.fullmatch(name) or len(name) > LONGEST:
            raise Refused(
                "--run must be letters, digits, '.', '_' and '-', starting with a letter or digit, at most "
                f"{LONGEST}; got {name[: 2 * LONGEST]!r}"
            )
        self.path = Path(folder).expanduser() / name
        self.config_file, self.record_file = self.path / "config.yaml", self.path / "run.json"
        self.record: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.longer = False
        self.note: dict[str, Any] = {}
        if self.named and self.path.exists() and not self._hardly_begun():
            self._read()

    @property
    def finished(self) -> bool:
        """Whether the run has ended as it should, and is not asked to train longer."""
        return self.record.get("status") == "finished" and not self.longer

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

    def claim(
        self,
        config: dict[str, Any],
        asked: dict[str, Any],
        data: dict[str, str] | None = None,
        samples: dict[str, int] | None = None,
        words: Sequence[str] | None = None,
    ) -> None:
        """Make the directory and write config and record.

        Args:
            config: The full config.
            asked: The command and what it was given beside the config.
            data: Content hash of every set.
            samples: Size of every set.
            words: The command line, as it may be written down; that of the process by default.

        Raises:
            Refused: If the directory cannot be written, or another process runs it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=self.named)
            check_links(self.path)
            self.lock = RunLock(self.path)
            self._check_unchanged()
            for part in self.path.rglob(".*.part"):  # of a process that was killed while it wrote
                part.unlink()
            with replacing(self.config_file) as part:
                part.write_text(yaml.safe_dump(config, sort_keys=False))
            begun = {"started": _now(), **self.record, **self.note, "status": "running", "asked": asked}
            if self.begun and (changes := self.differences(config, asked)):
                begun["changes"] = [*begun.get("changes", []), {"when": _now(), "what": changes}]
            commands = [*begun.get("commands", []), shlex.join(words or sys.argv)]
            self._write({
                **begun,
                "data": data,
                "samples": samples,
                "versions": _versions(),
                "code": _code(),
                "commands": commands,
            })
        except OSError as error:
            raise Refused(f"cannot write the run directory {self.path}: {error.strerror}") from error

    def end(self, status: str) -> None:
        """Record how the run has ended, and let others in.

        Args:
            status: finished, interrupted (it was asked to end and can go on), stopped (its max_time is over, and it can
                go on) or failed.
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
            now = read_json(self.record_file)
        except FileNotFoundError:
            now = {}
        if now != self.record:
            self.lock.release()
            raise Refused(f"run {self.path.name} has changed while this command started; give it again")

    def _read(self) -> None:
        try:
            self.record, self.config = read_record(self.path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            what = f"is no run of stratoscope, or its config.yaml or run.json is damaged ({why})"
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
    if MASK in (before, now):
        return []
    lists = isinstance(before, list) and isinstance(now, list) and len(before) == len(now)
    if lists and all(isinstance(one, dict) for one in [*before, *now]):  # classes, which may have more options by now
        return [
            line for at, pair in enumerate(zip(before, now, strict=True)) for line in different(*pair, f"{key}.{at}")
        ]
    return [] if before == now else [f"{key}: {_brief(before)} before, {_brief(now)} now"]


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
