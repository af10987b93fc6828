"""Tests of callbacks/progress/above.py; how it looks is in test_run_progress_bar.py."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from stratoscope.callbacks.progress.above import Above, console_above, messages_above, shown_by_rich


class Terminal(StringIO):
    """Where a bar may be."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def handler() -> Iterator[Any]:
    """A handler of somebody's logger, which writes to a terminal."""
    made = logging.StreamHandler(Terminal())
    logging.getLogger("somebody.else").addHandler(made)
    yield made
    logging.getLogger("somebody.else").removeHandler(made)


def test_lines_are_written_whole() -> None:
    """What has no end waits for it, or for the end of all."""
    terminal = Terminal()
    above = Above(terminal, RichProgressBar())
    assert above.write("one") == 3
    assert terminal.getvalue() == ""
    above.write(", two\nthree\nfo")
    assert terminal.getvalue() == "one, two\nthree\n"
    above.end()
    above.end()
    assert terminal.getvalue() == "one, two\nthree\nfo"
    assert above.isatty()


def test_a_forked_process_writes_past_the_bar() -> None:
    """It has a copy of the locks, which nobody gives back there."""
    reads, writes = os.pipe()
    above = Above(os.fdopen(writes, "w", buffering=1), RichProgressBar())
    above.write("begun, ")
    if not (child := os.fork()):
        above.write("from a worker\n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 100) == b"from a worker\n"
    os.close(reads)
    above.stream.close()


@pytest.mark.parametrize("bar", [RichProgressBar(), TQDMProgressBar()])
def test_loggers_get_their_streams_back(bar: Any, handler: Any) -> None:
    """Also after an error; one within another changes nothing."""
    before = handler.stream
    with suppress(InterruptedError), messages_above(bar):
        within = handler.stream
        assert isinstance(within, Above)
        with messages_above(bar):
            assert handler.stream is within
        logging.getLogger("somebody.else").warning("something")
        raise InterruptedError
    assert handler.stream is before
    assert before.getvalue() == "something\n"


def test_streams_are_taken_where_a_bar_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich sees to them itself, and tqdm writes its bars to standard output; files stay what they are."""
    cases: list[tuple[tuple[StringIO, StringIO], Any, bool, list[str]]] = [
        ((Terminal(), Terminal()), RichProgressBar(), False, []),
        ((Terminal(), Terminal()), TQDMProgressBar(), False, ["stderr"]),
        ((Terminal(), Terminal()), RichProgressBar(), True, ["stdout", "stderr"]),
        ((StringIO(), Terminal()), RichProgressBar(), True, ["stderr"]),
        ((Terminal(), Terminal()), None, True, []),
    ]
    for streams, bar, every, taken in cases:
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, stream)
        with messages_above(bar, every):
            assert [name for name in ("stdout", "stderr") if isinstance(getattr(sys, name), Above)] == taken
        assert (sys.stdout, sys.stderr) == streams


@pytest.mark.parametrize("bar", [None, RichProgressBar(), TQDMProgressBar()])
def test_a_table_is_written_where_standard_output_is(bar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bar that is not shown, or none; what is in it is text."""
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    trainer: Any = SimpleNamespace(progress_bar_callback=bar)
    console_above(trainer).print("[b] :smile:", highlight=False)
    assert "[b] :smile:" in terminal.getvalue()
    assert shown_by_rich(bar) is None
