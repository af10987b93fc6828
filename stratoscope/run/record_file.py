"""`run.json` and `config.yaml` of a run, read back: each part is what it should be, whoever has written it."""

from pathlib import Path
from typing import Any

from stratoscope.files.bounded import read_json, read_yaml
from stratoscope.files.table import LARGEST

# what `run.json` holds, as far as anything is read off it; null counts as not there
RECORD: dict[str, type | tuple[type, type]] = {
    "status": str,
    "started": str,
    "ended": str,
    "asked": dict,
    "data": (dict, str),
    "samples": (dict, int),
    "versions": (dict, str),
    "code": dict,
    "commands": (list, str),
}


def read_record(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`run.json` and `config.yaml` of a run.

    Args:
        folder: The run directory.

    Raises:
        OSError: If one cannot be read.
        ValueError: If one is damaged.
    """
    record = _mapping("run.json", read_json(folder / "run.json"))
    for name, wanted in RECORD.items():
        kind, inside = wanted if isinstance(wanted, tuple) else (wanted, None)
        found = record.get(name)
        parts = found.values() if isinstance(found, dict) else found or ()
        if not (found is None or isinstance(found, kind)) or (
            found and inside and not all(isinstance(part, inside) for part in parts)
        ):
            raise ValueError(f"{name} in run.json is not what it should be: {str(found)[:60]}")
    asked = record.get("asked") or {}
    if not all(value is None or isinstance(value, str) for value in asked.values()):
        raise ValueError("asked in run.json is not what it should be")
    code = record.get("code") or {}
    if not isinstance(code.get("commit", ""), str):
        raise ValueError("code in run.json is not what it should be")
    if not all(0 <= size <= LARGEST for size in (record.get("samples") or {}).values()):
        raise ValueError("samples in run.json is not what it should be")
    return record, _mapping("config.yaml", read_yaml(folder / "config.yaml"))


def _mapping(what: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{what} holds no mapping")
    return found
