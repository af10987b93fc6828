"""What happens between epochs, in the bar of a trainer or beside it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from rich import get_console
from rich.markup import escape

from stratoscope.probes.giving_up import go_on

Item = TypeVar("Item", covariant=True)
OURS = "tracked"  # marks the line of Rich's display that is used again and again, as its lines are found by number


class Sized(Protocol[Item]):
    """What can be gone through, and says how much it is."""

    def __iter__(self) -> Iterator[Item]:
        """Go through it."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


def tracked(trainer: Trainer, items: Sized[Item], text: str) -> Iterator[Item]:
    """Go through the items, which is shown in the trainer's bar, or beside it, as long as it lasts.

    Between two of them all may be given up.

    Args:
        trainer: Whose bar, if it is shown.
        items: What to go through.
        text: What is being done.
    """
    with _shown(trainer, len(items), text) as advance:
        for item in items:
            go_on()
            yield item
            advance()


@contextmanager
def _shown(trainer: Trainer, total: int, text: str) -> Iterator[Callable[[], Any]]:
    """Show a line; gives what moves it by one."""
    bar: Any = trainer.progress_bar_callback
    if isinstance(bar, RichProgressBar) and bar.is_enabled:
        bar._init_progress(trainer)  # it has not begun before training has
        progress: Any = bar.progress
        line = next((task.id for task in progress.tasks if OURS in task.fields), None)
        if line is None:
            line = progress.add_task("", total=total, visible=False, **{OURS: True})
        progress.reset(line, total=total, description=escape(text), visible=True)

        def advance() -> None:
            progress.advance(line)
            bar.refresh()

        try:
            yield advance
        finally:
            progress.update(line, visible=False)
    elif isinstance(bar, TQDMProgressBar) and (sys.stdout.isatty() or get_console().is_jupyter):
        second = bar.init_validation_tqdm()  # where it shows the other thing that happens between epochs
        second.set_description(text, refresh=False)
        second.reset(total)
        try:
            yield second.update
        finally:
            second.leave = False
            second.close()
    else:
        yield lambda: None
