"""Something that runs in a terminal, and what is to be seen there."""

import fcntl
import gc
import logging
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import pyte
from lightning.pytorch.utilities import rank_zero_only

from tests.pictures import draw_nothing

ROWS = 300  # so that nothing is scrolled away
LONGEST = 120  # seconds
ENTER = b"\r\n"


class Seen(NamedTuple):
    """What was seen.

    Attributes:
        screens: The lines of the screen, whenever there was something new.
        cursor: Row, column, and whether it is shown, in the end.
        code: The exit code.
        told: What loggers were given, a message each.
    """

    screens: list[list[str]]
    cursor: tuple[int, int, bool]
    code: int
    told: list[str]

    @property
    def last(self) -> list[str]:
        """The lines of the screen in the end."""
        return self.screens[-1]

    def has(self, message: str) -> bool:
        """Whether a message stands on the screen in the end with every letter, wherever the terminal broke it."""
        return "".join(message.split()) in "".join("".join(self.last).split())

    def lines(self, words: str) -> list[str]:
        """All lines that were ever there and have some words in them, in order, each once."""
        return list(dict.fromkeys(line for screen in self.screens for line in screen if words in line))


def in_terminal(
    run: Callable[[], object], columns: int = 80, keys: tuple[tuple[str, bytes], ...] = (), pipe: bool = False
) -> Seen:
    """Run something in a process whose controlling terminal is a new one, and look at that.

    Args:
        run: What to run.
        columns: Width of the terminal.
        keys: What is typed when some words are first seen after what was typed before.
        pipe: Whether standard output and error go to the file `pipe` instead.
    """
    gc.freeze()
    process, terminal = pty.fork()
    if not process:
        _child(run, pipe)
    gc.unfreeze()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    screen = pyte.Screen(columns, ROWS)
    stream, screens, waiting = pyte.ByteStream(screen), [list[str]()], list(keys)
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            new = os.read(terminal, 65536)
        except OSError:  # nobody has it open any more
            break
        if not new:
            break
        stream.feed(new)
        screens.append([line.rstrip() for line in screen.display])
        if waiting and any(waiting[0][0] in line for line in screens[-1]):
            os.write(terminal, waiting.pop(0)[1])
    else:
        os.kill(process, signal.SIGKILL)
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    cursor = screen.cursor.y, screen.cursor.x, not screen.cursor.hidden
    return Seen(screens, cursor, code, Path("told").read_text(encoding="utf-8").split("\0")[:-1])


def _child(run: Callable[[], object], pipe: bool) -> None:
    """Run in the new process, which never returns."""
    code = 70
    try:
        if pipe:
            file = os.open("pipe", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1)
            os.dup2(file, 2)
        os.environ.update(TERM="xterm-256color")
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        sys.stdout, sys.stderr = (open(file, "w", buffering=1, encoding="utf-8") for file in (1, 2))
        time.sleep(0.2)  # until the terminal has its size
        told = os.open("told", os.O_WRONLY | os.O_CREAT)
        for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
            for handler in logging.getLogger(name).handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setStream(sys.stderr)  # which it took when Lightning was imported
                    handler.addFilter(lambda record: bool(os.write(told, f"{record.getMessage()}\0".encode())))
        warnings.resetwarnings()
        warnings.simplefilter("always")
        warnings.showwarning = lambda *what, **more: print(warnings.formatwarning(*what[:4]), end="", file=sys.stderr)
        jaxtyping.config.update("jaxtyping_disable", True)  # shapes are checked where probes are tested
        draw_nothing()
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
        run()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
