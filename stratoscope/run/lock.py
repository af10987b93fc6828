"""One process at a time in a run directory."""

import errno
import json
import os
import socket
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from stratoscope.errors import Refused
from stratoscope.files.bounded import json_value, read_text

BEAT = 10  # seconds between signs of life
DEAD = 6 * BEAT  # without one for so long, a process of another machine counts as dead


class RunLock:
    """Holds a run directory until the process ends, however it ends.

    The file `lock` says who holds it and is touched while they live. On one machine the system's own lock on it decides
    (flock: gone with the process); for another machine, where that may not be seen, the age of the last touch.

    Args:
        folder: The run directory.

    Raises:
        Refused: If another process runs it.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "lock"
        while True:
            self._handle = self._opened(folder)
            try:
                self._take(folder)
                if os.fstat(self._handle).st_ino == self.file.stat().st_ino:
                    break
            except FileNotFoundError:  # who held it has ended meanwhile, and its file is gone
                pass
            except Refused:
                os.close(self._handle)
                raise
            os.close(self._handle)
        self._released = Event()
        Thread(target=self._beat, daemon=True).start()

    def _opened(self, folder: Path) -> int:
        """The file `lock`, and no other that a link of that name leads to.

        Raises:
            Refused: If it is no file of this run.
            OSError: If it cannot be written.
        """
        try:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO}:
                raise Refused(f"run {folder.name}: {self.file} is not the lock of a run: delete it") from error
            raise
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(handle)
            raise Refused(f"run {folder.name}: {self.file} is not the lock of a run: delete it")
        return handle

    def release(self) -> None:
        """Let others in."""
        if not self._released.is_set():
            self._released.set()
            self.file.unlink(missing_ok=True)
            os.close(self._handle)

    def _take(self, folder: Path) -> None:
        holder, age = self._holder(), time.time() - self.file.stat().st_mtime
        free = _flock(self._handle)
        elsewhere = holder.get("host", socket.gethostname()) != socket.gethostname()
        if not free or (elsewhere and age < DEAD):
            who = f"process {holder.get('pid', '?')} on {holder.get('host', 'this machine')}"
            raise Refused(f"run {folder.name} is already running ({who}, since {holder.get('since', 'just now')})")
        since = datetime.now(UTC).isoformat(timespec="seconds")
        mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(mine).encode(), 0)

    def _holder(self) -> dict[str, Any]:
        try:
            found = json_value(os.pread(self._handle, 1000, 0))
        except ValueError:  # new, or half written
            return {}
        return found if isinstance(found, dict) else {}

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            os.utime(self._handle)


def holder(folder: Path) -> dict[str, Any] | None:
    """Which process runs in a run directory, found by looking only: no lock is taken that a run could trip over.

    Args:
        folder: The run directory.

    Returns:
        Their pid, host and since when, as far as they are known; None if nobody is.
    """
    file = folder / "lock"
    try:
        age = time.time() - file.stat().st_mtime
        try:
            found = json_value(read_text(file))
        except ValueError:  # new, or half written
            found = {}
    except OSError:
        return None
    found = found if isinstance(found, dict) else {}
    here = found.get("host") == socket.gethostname()
    return None if age >= DEAD or (here and not _alive(found.get("pid"))) else found


def _alive(pid: Any) -> bool:
    """Whether a process of this machine lives; true where that cannot be seen."""
    if os.name != "posix" or not isinstance(pid, int) or pid < 1:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        pass
    return True


def _flock(handle: int) -> bool:
    """Whether this process has, or can have, the system's lock; true where there is none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True
