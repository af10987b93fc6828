"""Tests of stratoscope/commands/list.py; what is listed is tested in test_catalogue.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stratoscope
from stratoscope.commands import catalogue
from stratoscope.commands.catalogue import listed
from stratoscope.commands.table import main
from stratoscope.errors import Refused


def test_what_there_is_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As it is listed."""
    monkeypatch.setattr(catalogue, "listed", lambda: "networks\n  MLP")
    main(["list"])
    assert capsys.readouterr() == ("networks\n  MLP\n", "")


def test_a_word_more_is_refused() -> None:
    """There is one list only."""
    with pytest.raises(Refused, match=r"^list: too many words: networks; usage: stratoscope list$"):
        main(["list", "networks", "--debug"])


@pytest.mark.slow
def test_a_process_that_has_imported_nothing_else_lists_the_same() -> None:
    """Classes are found once they are imported: the list sees to that itself."""
    own = os.environ | {"PYTHONPATH": str(Path(stratoscope.__file__).parents[1])}
    words = [sys.executable, "-m", "stratoscope", "list"]
    done = subprocess.run(words, env=own, capture_output=True, text=True, check=True)
    assert done.stdout == listed() + "\n"
