"""What costs more the longer a run is, such as its pictures, is done more seldom."""

import time
from collections.abc import Callable

SHARE = 0.02  # of the time of a run
FIRST = 10.0  # seconds before the first time, as shorter runs have an end


class Seldom:
    """Has something done at most so often that it takes a fiftieth of the time, and once more at the end.

    Args:
        owed: Whether there is something to be done at the end, whatever comes.
        clock: Gives seconds.
    """

    def __init__(self, owed: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._owed, self._clock, self._next = owed, clock, clock() + FIRST

    def perhaps(self, do: Callable[[], None]) -> None:
        """Do it if it is time, or else remember that it is to be done."""
        self._owed = True
        if self._clock() >= self._next:
            self.at_last(do)

    def at_last(self, do: Callable[[], None]) -> None:
        """Do it now, unless that has been done since it was asked for."""
        if self._owed:
            began = self._clock()
            do()
            ended = self._clock()
            self._next, self._owed = ended + (ended - began) / SHARE, False
