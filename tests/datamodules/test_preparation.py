"""Tests of datamodules/preparation.py."""

import os
import shutil
from pathlib import Path

import pytest

from stratoscope.datamodules.preparation import ABANDONED, beside


def test_what_others_take_away_meanwhile_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process clears away what was left behind, between the listing and the look; the rest goes still."""
    names = [".a.part", ".b.part", ".c.part"]
    for name in names:
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, os.stat(tmp_path).st_mtime - 2 * ABANDONED))
    listed = Path.glob

    def glob(folder: Path, pattern: str) -> list[Path]:
        found = sorted(listed(folder, pattern))
        shutil.rmtree(tmp_path / ".b.part")
        return found

    monkeypatch.setattr(Path, "glob", glob)
    with beside(tmp_path, to_keep=True) as made:
        assert [one.name for one in tmp_path.iterdir()] == [made.name]
    assert not list(tmp_path.iterdir())
