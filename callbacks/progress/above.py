"""Messages above a progress bar, whole, whoever writes them."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO, cast

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from rich.console import Console
from rich.live import Live
from rich.text import Text


class Above:
    """A terminal as a stream, whose lines come to stand above a progress bar instead of in it.

    Args:
        stream: The terminal.
        bar: The bar, whether it is shown or not.
    """

    def __init__(self, stream: TextIO, bar: ProgressBar) -> None:
        self.stream, self._bar = stream, bar
        self._begun = ""  # a line that has no end yet
        self._process = os.getpid()

    def __getattr__(self, name: str) -> Any:
        """What else a stream has."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write whole lines above the bar; what has no end waits for it.

        Args:
            text: Any, with colours or without.
        """
        if os.getpid() != self._process:  # a worker, which has a copy of the bar, and of its locks
            return self.stream.write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._put(lines)
        return len(text)

    def end(self) -> None:
        """Write what has no end."""
        rest, self._begun = self._begun, ""
        self.stream.write(rest)

    def _put(self, lines: list[str]) -> None:
        if (live := shown_by_rich(self._bar)) is not None:
            with live._lock:  # the thread that draws the bar must not take other lines for it
                # the terminal breaks lines where it has to, so that they are copied from it as they were written
                live.console.print(Text("\n").join(map(Text.from_ansi, lines)), soft_wrap=True)
            return
        # where Lightning has its bars of tqdm
        cleared = Tqdm.external_write_mode(sys.stdout) if isinstance(self._bar, TQDMProgressBar) else nullcontext()
        with cleared:
            self.stream.write("".join(f"{line}\n" for line in lines))
            self.stream.flush()


def shown_by_rich(bar: Any) -> Live | None:
    """Rich's display in which a bar is at this moment.

    Args:
        bar: A trainer's bar.

    Returns:
        None if it is not shown, or not by Rich.
    """
    if isinstance(bar, RichProgressBar) and bar.progress is not None and bar.progress.live.is_started:
        return bar.progress.live
    return None


def console_above(trainer: Trainer) -> Console:
    """A console on standard output, for what has more than one line.

    Args:
        trainer: Whose bar it stands above.
    """
    bar = trainer.progress_bar_callback
    inner = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    above = cast(TextIO, Above(inner, bar)) if bar is not None and _terminal(inner) else None
    return Console(file=above, markup=False, emoji=False)


@contextmanager
def messages_above(bar: ProgressBar | None, all_streams: bool = False) -> Iterator[None]:
    """Have the lines of all loggers, and of the standard streams, come to stand above a trainer's bar.

    Rich lets what is printed stand above its bars, but knows nothing of loggers, which keep the stream that was there
    when they were made. Those of tqdm know nothing of either; they are on standard output, and so leave it alone.

    Args:
        bar: The bar; nothing is changed without one.
        all_streams: Whether both standard streams are meant, too: of a bar that is on neither.
    """
    if bar is None:
        yield
        return
    names = ["stdout", "stderr"] if all_streams else ["stderr"] if isinstance(bar, TQDMProgressBar) else []
    streams = {name: stream for name in names if _terminal(stream := getattr(sys, name))}
    handlers = [(one, one.stream) for one in _handlers() if _terminal(one.stream)]
    above = [Above(stream, bar) for _, stream in handlers]
    for (handler, _), stream in zip(handlers, above, strict=True):
        handler.stream = stream
    for name, stream in streams.items():
        above.append(Above(stream, bar))
        setattr(sys, name, above[-1])
    try:
        yield
    finally:
        for handler, stream in handlers:
            handler.stream = stream
        for name, stream in streams.items():
            setattr(sys, name, stream)
        for stream in above:
            stream.end()


def _handlers() -> list[Any]:
    """Those that write to a stream, of all loggers."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    every = {handler for logger in loggers for handler in getattr(logger, "handlers", [])}
    return [one for one in every if isinstance(one, logging.StreamHandler)]


def _terminal(stream: Any) -> bool:
    """Whether what is written there could be written into a bar."""
    return not isinstance(stream, Above) and hasattr(stream, "isatty") and bool(stream.isatty())
