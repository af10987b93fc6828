"""Long computations are given up between two of their steps, when whoever waits for them no longer does.

A probe of a large layer takes minutes. What it computes can be computed again, so a process that is asked to end need
not wait for it: its loops ask here, and whoever has a reason to end raises it.
"""

from collections.abc import Callable
from contextvars import ContextVar

Check = Callable[[bool], None]  # raises to give up; is told whether all processes of a run ask at this place

_check: ContextVar[Check | None] = ContextVar("check", default=None)


def given_up_by(check: Check | None) -> None:
    """Set who may give up what is computed in this thread.

    Args:
        check: Raises when it is to end; None for nobody.
    """
    _check.set(check)


def go_on(together: bool = False) -> None:
    """Ask whether to go on, between two steps that leave nothing half done.

    Args:
        together: Whether all processes of a run ask at this place, so that they can agree.
    """
    if (check := _check.get()) is not None:
        check(together)
