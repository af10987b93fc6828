"""Tests of callbacks/samples/progress.py."""

from contextlib import redirect_stderr
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from stratoscope.callbacks.samples.progress import tracked
from stratoscope.probes.giving_up import given_up_by


def trainer(bar: Any, first: bool = True) -> Any:
    """What is asked of a trainer."""
    return SimpleNamespace(progress_bar_callback=bar, is_global_zero=first)


class Terminal(StringIO):
    """Where a bar may be."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def said(run: Any) -> str:
    """What a terminal is told while three items are gone through."""
    with redirect_stderr(Terminal()) as terminal:
        assert list(tracked(run, "abc", "reading")) == ["a", "b", "c"]
    return terminal.getvalue()


def test_there_is_a_bar_beside_that_of_training() -> None:
    """With its text, on a line of its own, and gone in the end."""
    first, *_, last = said(trainer(TQDMProgressBar())).split("\r")
    assert first == "\n"
    assert "reading: " in said(trainer(TQDMProgressBar()))
    assert "reading: " not in last


@pytest.mark.parametrize(
    "run",
    [trainer(None), trainer(RichProgressBar()), trainer(TQDMProgressBar(), first=False)],
    ids=["turned off", "rich", "second process"],
)
def test_there_is_none_where_training_has_none_or_another_kind(run: Any) -> None:
    """Turned off, Rich's, or on another process than the first."""
    assert said(run) == ""


def test_there_is_none_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """In a file it would be lines upon lines."""
    assert list(tracked(trainer(TQDMProgressBar()), "abc", "reading")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_between_two_items_all_may_be_given_up() -> None:
    """Each process by itself; what was asked for before the third is done."""
    asked: list[bool] = []

    def third(together: bool) -> None:
        asked.append(together)
        if len(asked) == 3:
            raise InterruptedError

    seen: list[int] = []
    given_up_by(third)
    try:
        with pytest.raises(InterruptedError):
            seen.extend(tracked(trainer(None), range(9), "reading"))
    finally:
        given_up_by(None)
    assert asked == [False] * 3
    assert seen == [0, 1]
