"""Tests of stratoscope/run/record_file.py: run.json and config.yaml are what they should be, or an error says what."""

import json
from pathlib import Path
from typing import Any

import pytest

from stratoscope.run.record_file import read_record

RECORD: dict[str, Any] = {
    "status": "finished",
    "started": "2026-01-02T03:04:05+00:00",
    "asked": {"command": "fit", "ckpt_path": None},
    "data": {"train": "aa"},
    "samples": {"train": 3, "test": 0},
    "versions": {"torch": "2.9"},
    "code": {"commit": "aa", "changed": False},
    "commands": ["stratoscope fit"],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with a config."""
    (tmp_path / "config.yaml").write_text("seed_everything: 3\n")
    return tmp_path


@pytest.mark.parametrize("record", [RECORD, {}, dict.fromkeys(RECORD), {**RECORD, "more": [1]}])
def test_both_are_read(record: dict[str, Any], run: Path) -> None:
    """Parts that are missing or null are not there; others may be added."""
    (run / "run.json").write_text(json.dumps(record))
    assert read_record(run) == (record, {"seed_everything": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", []),
        ("started", {}),
        ("asked", "fit"),
        ("asked", {"command": ["fit"]}),
        ("data", [1]),
        ("data", {"train": 1}),
        ("samples", {"train": "x"}),
        ("samples", {"train": -1}),
        ("samples", {"train": 2**53 + 1}),
        ("versions", ["x"]),
        ("versions", {"torch": 2.9}),
        ("code", "x"),
        ("code", {"commit": 3}),
        ("commands", "stratoscope fit"),
        ("commands", [3]),
    ],
)
def test_a_part_of_another_kind_is_named(name: str, value: Any, run: Path) -> None:
    """Whoever has written it."""
    (run / "run.json").write_text(json.dumps({**RECORD, name: value}))
    with pytest.raises(ValueError, match=rf"^{name} in run\.json is not what it should be"):
        read_record(run)


@pytest.mark.parametrize("content", ["[1]", "3", "null", "{", ""])
@pytest.mark.parametrize("file", ["run.json", "config.yaml"])
def test_a_file_without_a_mapping_is_an_error(file: str, content: str, run: Path) -> None:
    """Or one that cannot be read as what it is."""
    (run / "run.json").write_text("{}")
    (run / file).write_text(content)
    with pytest.raises(ValueError, match=r"holds no mapping|Expecting|expected"):
        read_record(run)


@pytest.mark.parametrize("file", ["run.json", "config.yaml"])
def test_a_file_that_is_missing_is_an_error_of_the_system(file: str, run: Path) -> None:
    """So that whoever reads can tell it from a damaged one."""
    (run / "run.json").write_text("{}")
    (run / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        read_record(run)
