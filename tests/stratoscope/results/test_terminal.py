"""Tests of stratoscope/results/terminal.py: tables fit a terminal, and are whole and plain in a pipe."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from stratoscope.results.terminal import LEAST, clean, columns, grid, put

LONG = "2026-01-02_03-04-05_fit_TorchvisionClassifier_CIFAR10_" + 40 * "x" + "_0123abcd"


@pytest.mark.parametrize("line", ["ls", "ls --sort test/loss", "best test/loss", "show 0123abcd", "show δ"])
def test_a_terminal_is_wide_enough(
    runs: Path, line: str, said: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 80 columns, also with long names, whose ends stay; in a pipe nothing is cut, and no line ends in blanks."""
    (runs / "random").rename(runs / LONG)
    plain = said(line)
    assert "\x1b" not in plain
    assert [row for row in plain.splitlines() if row != row.rstrip()] == []
    assert LONG in plain or line == "show δ"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    coloured = said(line)
    assert "\x1b[" in coloured
    bare = "".join(piece.partition("m")[2] if place else piece for place, piece in enumerate(coloured.split("\x1b[")))
    assert max(map(len, bare.splitlines())) <= 80
    if line.startswith(("ls", "best")):
        assert any(f"{LONG[:4]}" in row and "…" in row and LONG[-4:] in row for row in bare.splitlines())


def test_a_pipe_gets_every_line_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Without colours, markup or blanks at the end."""
    put(Text("[bold]name", "red"), columns(["a", "b"], [["x" * 500, "1"], ["y", "22"]], ["a"], ["a"]), "")
    assert capsys.readouterr().out == f"[bold]name\n{'a':500}   b\n{'x' * 500}   1\n{'y':500}  22\n\n"


def test_no_cell_is_shortened_below_what_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers never; a run's name loses its middle, and other long cells their end."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    names = ["run", "what", "number"]
    table = columns(names, [["r" * 30 + "end", "w" * 30, "123456789"]], ["run", "what"], ["run", "what"])
    run, what, number = (str(next(iter(column.cells))) for column in table.columns)
    assert (len(run), len(what), number) == (LEAST, LEAST, "123456789")
    assert run == "rrrrr…rrrend"
    assert what == "w" * (LEAST - 1) + "…"


def test_what_would_steer_the_terminal_is_written_out() -> None:
    """In cells, names of columns, grids and lines; the style stays, and a text that is fine is the same."""
    fine = Text("fine", "bold")
    assert clean(fine) is fine
    assert (clean(Text("\x1b[0m", "bold")).plain, clean(Text("\x1b", "bold")).style) == ("\\x1b[0m", "bold")
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(columns(["\x1bname"], [["\x9bcell"]], ["\x1bname"]), grid([("\x07key", "\u202etext")]))
    text = captured.get()
    assert all(part in text for part in ("\\x1bname", "\\x9bcell", "\\x07key", "\\u202etext"))
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text)


def test_a_table_without_rows_has_its_names(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    put(columns(["a", "b"], [], ["a"]))
    assert capsys.readouterr().out.split() == ["a", "b"]
