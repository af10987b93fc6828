"""What ends a command before its time, in one line and with an exit code of its own. Imports nothing heavy."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from stratoscope.printable import one_printable_line, printable

NO_PLACE = {errno.ENAMETOOLONG, errno.ELOOP}  # whatever is to be read there
# no room, no permission, or something else in the place of a file or folder
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_WRITABLE = {*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}


class Refused(Exception):
    """Input that cannot be run; its text is the whole message.

    Args:
        text: What is wrong, where, and what would be right; names in it may be anybody's.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_printable_line(text))


class NotFinite(ArithmeticError):
    """Training had a NaN or infinite loss."""


@contextmanager
def exit_codes(debug: bool = False, writes: bool = True) -> Iterator[None]:
    """Say an error in one line, and end the process with its exit code.

    Args:
        debug: Whether errors end with their traceback instead.
        writes: Whether anything is written; else what cannot be read is input that is refused.

    Raises:
        SystemExit: With code 2 for input that was refused, 1 for a NaN or infinite loss, 74 for files that cannot be
            written.
        Refused: With `debug`.
        NotFinite: With `debug`.
        OSError: With `debug`, and if it is none of these.
    """
    try:
        yield
    except (Refused, NotFinite, OSError) as error:
        code, line = _told(error, writes)
        if debug or code is None:
            raise
        print(f"stratoscope: {line}", file=sys.stderr)
        raise SystemExit(code) from None


def _told(error: BaseException, writes: bool) -> tuple[int | None, str]:
    """The exit code, if there is one, and the line."""
    if not isinstance(error, OSError):
        return 2 if isinstance(error, Refused) else 1, one_printable_line(error)
    where = f" ({printable(error.filename)[:200]})" if error.filename else ""
    if error.errno in NO_PLACE or not writes:
        return 2, f"cannot read{where}: {error.strerror}"
    code = os.EX_IOERR if error.errno in NOT_WRITABLE else None
    return code, f"cannot write{where}: {error.strerror}; what was saved before is as it was"


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """What was probably meant, as the end of a message; nothing if no name is near.

    Args:
        name: What was given.
        names: What there is.
        prefix: What stands before a name in the message.
    """
    close = get_close_matches(name, sorted({*names} - {name}), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
