"""The directory a run leaves: what was run, how, and how far it got."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

import stratoscope
from stratoscope.callbacks.atomic import replacing

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

    Nothing is written before `claim`.

    Args:
        folder: Folder of all runs.
        name: Name of the run.

    Raises:
        ValueError: If the name could lead out of the folder.
    """

    def __init__(self, folder: str, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"--run must be letters, digits, '.', '_' and '-', starting with a letter or digit; got {name!r}"
            )
        self.path = Path(folder).expanduser() / name
        self.config_file, self.record_file = self.path / "config.yaml", self.path / "run.json"

    @property
    def finished(self) -> bool:
        """Whether the run has ended as it should."""
        return self._record().get("status") == "finished"

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to go on from, if there is one."""
        file = self.path / "checkpoints" / "last.ckpt"
        return file if file.is_file() else None

    def differences(self, config: dict[str, Any]) -> list[str]:
        """How a config differs from the one this run was started with; nothing if the run is new."""
        if not self.config_file.is_file():
            return []
        return different(yaml.safe_load(self.config_file.read_text()), config)

    def claim(self, config: dict[str, Any], exclusive: bool) -> None:
        """Make the directory and write config and record.

        Args:
            config: The full config.
            exclusive: Whether the directory must not be there yet.

        Raises:
            FileExistsError: If it is there and must not be.
        """
        self.path.mkdir(parents=True, exist_ok=not exclusive)
        with replacing(self.config_file) as part:
            part.write_text(yaml.safe_dump(config, sort_keys=False))
        record = {"status": "running", "started": _now(), **self._record(), "versions": _versions(), "code": _code()}
        self._write({**record, "commands": [*record.get("commands", []), shlex.join(sys.argv)]})

    def finish(self) -> None:
        """Record that the run has ended as it should."""
        self._write({**self._record(), "status": "finished", "ended": _now()})

    def _record(self) -> dict[str, Any]:
        if not self.record_file.is_file():
            return {}
        record: dict[str, Any] = json.loads(self.record_file.read_text())
        return record

    def _write(self, record: dict[str, Any]) -> None:
        with replacing(self.record_file) as part:
            part.write_text(json.dumps(record, indent=2) + "\n")


def new_name(words: list[str]) -> str:
    """A name no other run has, which sorts by time: local date and time, words, four random digits."""
    # not from a seeded generator: two runs of one command must differ
    return "_".join([datetime.now().strftime("%Y-%m-%d_%H-%M-%S"), *words, os.urandom(2).hex()])


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
    return {"stratoscope": stratoscope.__version__, "python": platform.python_version()} | {
        n: version(n) for n in RECORDED
    }


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
