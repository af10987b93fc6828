"""How long a run will still take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up how long something takes that is done again and again.

    Args:
        clock: Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before = 0.0
        self._began: float | None = None
        self.last = 0.0  # seconds that it took the last time

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done within."""
        self._began = self._clock()
        try:
            yield
        finally:
            self.last = self.now
            self._before, self._began = self._before + self.last, None

    @property
    def now(self) -> float:
        """Seconds since it was last begun, 0 if that has ended."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def seconds(self) -> float:
        """All seconds so far."""
        return self._before + self.now


def seconds_left(elapsed: float, done: float, to_do: float, measured: float, ahead: float) -> float | None:
    """Seconds until a run has ended: its epochs as they went so far, and what is measured between them.

    Args:
        elapsed: Seconds since the first step.
        done: Epochs since then, with parts of one.
        to_do: Epochs to come, with parts of one.
        measured: Seconds of `elapsed` that instruments took.
        ahead: Seconds that they will take.

    Returns:
        None as long as nobody can know.
    """
    if done <= 0 or to_do == float("inf"):
        return None
    return max(0.0, elapsed - measured) / done * max(0.0, to_do) + ahead
