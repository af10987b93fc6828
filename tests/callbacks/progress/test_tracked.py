"""Tests of callbacks/progress/tracked.py; how it looks is in test_run_progress_bar.py."""

from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from stratoscope.callbacks.progress.tracked import tracked
from stratoscope.probes.giving_up import given_up_by


def trainer(bar: Any) -> Any:
    """What is asked of a trainer, and by its bar."""
    found = SimpleNamespace(progress_bar_callback=bar, state=SimpleNamespace(fn="fit"), sanity_checking=True)
    if bar is not None:
        bar._trainer = found
    return found


class Terminal(StringIO):
    """Where a bar may be."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def said(run: Any, terminal: StringIO) -> str:
    """What standard output is told while three items are gone through."""
    with redirect_stdout(terminal):
        assert list(tracked(run, "abc", "reading")) == ["a", "b", "c"]
    return terminal.getvalue()


def test_there_is_a_bar_beside_that_of_tqdm() -> None:
    """With its text, on a line of its own, and gone in the end."""
    first, *_, last = said(trainer(TQDMProgressBar()), Terminal()).split("\r")
    assert first == "\n"
    assert "reading: " in said(trainer(TQDMProgressBar()), Terminal())
    assert "reading: " not in last


def test_rich_has_a_line_as_long_as_it_lasts() -> None:
    """The same one each time, with its text as it is: a name may have brackets."""
    bar = RichProgressBar()
    run = trainer(bar)
    with redirect_stdout(StringIO()):
        for text in ("reading [bold] features", "fitting"):
            for done, _ in enumerate(tracked(run, "abc", text)):
                assert bar.progress is not None
                (line,) = bar.progress.tasks
                assert (line.visible, line.completed, line.total) == (True, done, 3)
                assert line.description == text.replace("[", "\\[")
        assert bar.progress is not None
        assert [line.visible for line in bar.progress.tasks] == [False]
        bar._stop_progress()


@pytest.mark.parametrize("bar", [None, RichProgressBar(), TQDMProgressBar()], ids=["none", "rich", "tqdm"])
def test_there_is_none_where_it_is_turned_off(bar: Any) -> None:
    """As on all processes but the first."""
    if bar is not None:
        bar.disable()
    assert said(trainer(bar), Terminal()) == ""


def test_tqdm_has_none_without_a_terminal() -> None:
    """In a file it would be lines upon lines."""
    assert said(trainer(TQDMProgressBar()), StringIO()) == ""


def test_between_two_items_all_may_be_given_up() -> None:
    """Each process by itself; what was asked for before the third is done, and its line is gone."""
    asked: list[bool] = []

    def third(together: bool) -> None:
        asked.append(together)
        if len(asked) == 3:
            raise InterruptedError

    seen: list[int] = []
    bar = RichProgressBar()
    given_up_by(third)
    try:
        with redirect_stdout(StringIO()), pytest.raises(InterruptedError):
            seen.extend(tracked(trainer(bar), range(9), "reading"))
    finally:
        given_up_by(None)
        bar._stop_progress()
    assert asked == [False] * 3
    assert seen == [0, 1]
    assert bar.progress is not None
    assert [line.visible for line in bar.progress.tasks] == [False]
