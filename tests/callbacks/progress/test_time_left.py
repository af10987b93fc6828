"""Tests of callbacks/progress/time_left.py."""

from contextlib import suppress

import pytest

from stratoscope.callbacks.progress.time_left import Stopwatch, seconds_left


def test_a_stopwatch_adds_up() -> None:
    """Also while it runs, and when what it times fails."""
    time = [0.0]
    watch = Stopwatch(lambda: time[0])
    assert (watch.last, watch.now, watch.seconds) == (0, 0, 0)
    with watch.running():
        time[0] = 4.0
        assert (watch.last, watch.now, watch.seconds) == (0, 4, 4)
    time[0] = 10.0
    with suppress(InterruptedError), watch.running():
        time[0] = 13.0
        raise InterruptedError
    assert (watch.last, watch.now, watch.seconds) == (3, 0, 7)


@pytest.mark.parametrize(
    ("elapsed", "done", "to_do", "measured", "ahead", "left"),
    [
        (100, 2, 8, 0, 0, 400),
        (100, 2, 8, 60, 90, 250),  # 20 s an epoch without what was measured, and 90 s of that to come
        (5, 0.25, 0.75, 0, 30, 45),
        (5, 0, 9, 0, 0, None),  # before the first step has ended
        (5, 1, float("inf"), 0, 0, None),
        (50, 5, -0.5, 0, 0, 0),  # behind the last
    ],
)
def test_epochs_to_come_take_as_long_as_those_before(
    elapsed: float, done: float, to_do: float, measured: float, ahead: float, left: float | None
) -> None:
    """By hand."""
    assert seconds_left(elapsed, done, to_do, measured, ahead) == left
