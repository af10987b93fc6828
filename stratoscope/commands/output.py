"""What a command prints when nobody reads it: `stratoscope list | head -5`, or a terminal that is gone.

A run is worth more than its words: it goes on, and every command ends with the code that it would have ended with.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO


class Unbreakable:
    """A stream that drops what is written once nobody reads it any more.

    Args:
        stream: Where it goes until then.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write, if somebody reads it."""
        try:
            return self.stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Hand over what was written, if somebody reads it."""
        try:
            self.stream.flush()
        except BrokenPipeError:
            self._let_go()

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self.stream, name)

    def _let_go(self) -> None:
        """Let the rest, with what is still in the buffers when Python ends, go nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


@contextmanager
def unbroken_output() -> Iterator[None]:
    """Let no print fail: neither for want of a reader, nor of a terminal, nor of a letter in its alphabet."""
    streams = sys.stdout, sys.stderr
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        if stream is None:  # closed, as by `2>&-`
            stream = open(os.devnull, "w")  # for the rest of the process
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # such as folders not in UTF-8
        setattr(sys, name, Unbreakable(stream))
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams
