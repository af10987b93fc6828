"""Tests of stratoscope/run/lock.py: one process at a time in a run directory."""

import json
import os
import signal
import socket
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.run.lock import DEAD, RunLock, holder
from tests.forked_runs import command, finish, forked, said
from tests.interrupted_runs import PLAIN, At, run

HERE = socket.gethostname()


def test_two_processes_cannot_share_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is refused with exit code 2, by name, while the first lives; a dead one's run is taken over."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    line, lock = f"{PLAIN} --trainer.max_epochs 1 --run shared", Path("runs/shared/lock")
    first = forked(command(line.split(), At("on_train_batch_start", 0, 1, signal.SIGSTOP)))
    assert first.pid
    os.waitpid(first.pid, os.WUNTRACED)  # until it has stopped
    assert json.loads(lock.read_text())["pid"] == first.pid
    with pytest.raises(SystemExit) as refused:
        main(line.split())
    assert refused.value.code == 2
    assert f"run shared is already running (process {first.pid} on" in capsys.readouterr().err
    first.kill()
    finish(first)
    assert run(line) == 0, said()
    assert not lock.exists()


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """Within one process too; it says who holds it, and leaves nothing when it is released."""
    lock = RunLock(tmp_path)
    with pytest.raises(Refused, match=rf"is already running \(process {os.getpid()} on {HERE}, since "):
        RunLock(tmp_path)
    found = holder(tmp_path)
    assert found
    assert (found["pid"], found["host"]) == (os.getpid(), HERE)
    lock.release()
    lock.release()  # nothing more happens
    assert holder(tmp_path) is None
    assert not list(tmp_path.iterdir())
    RunLock(tmp_path).release()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_what_a_dead_process_left_half_written_is_taken_over(tmp_path: Path, content: bytes) -> None:
    """The system's own lock has gone with it."""
    (tmp_path / "lock").write_bytes(content)
    lock = RunLock(tmp_path)
    assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    lock.release()


def test_a_process_elsewhere_counts_as_dead_after_a_minute(tmp_path: Path) -> None:
    """Where another machine's lock cannot be seen, its signs of life decide."""
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "yesterday"}))
    with pytest.raises(Refused, match=r"process 1 on elsewhere, since yesterday"):
        RunLock(tmp_path)
    os.utime(lock, (time.time() - 61, time.time() - 61))
    RunLock(tmp_path).release()
    assert not lock.exists()


def test_a_lock_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who cannot see its process."""
    monkeypatch.setattr("stratoscope.run.lock.BEAT", 0.05)
    lock = RunLock(tmp_path)
    os.utime(tmp_path / "lock", (0, 0))
    for _ in range(200):
        if (tmp_path / "lock").stat().st_mtime:
            break
        time.sleep(0.05)
    assert time.time() - (tmp_path / "lock").stat().st_mtime < 60
    lock.release()


def test_the_lock_follows_nothing(tmp_path: Path) -> None:
    """Whatever came in its place after the look: a link, a second name of another file, a pipe."""
    (tmp_path / "precious").write_text("kept")
    for make in (
        lambda lock: lock.symlink_to(tmp_path / "precious"),
        lambda lock: lock.hardlink_to(tmp_path / "precious"),
        os.mkfifo,
    ):
        make(tmp_path / "lock")
        with pytest.raises(Refused, match="is not the lock of a run"):
            RunLock(tmp_path)
        (tmp_path / "lock").unlink()
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_look_takes_no_lock(tmp_path: Path) -> None:
    """Who holds it is seen from its file, whose times stay; a pipe is not read."""
    lock = RunLock(tmp_path)
    before = lock.file.stat().st_mtime_ns
    assert holder(tmp_path)
    assert lock.file.stat().st_mtime_ns == before
    lock.release()
    os.mkfifo(tmp_path / "lock")
    assert holder(tmp_path) == {}


def ended() -> int:
    """The number of a process that is no more."""
    process = get_context("fork").Process(target=int)
    process.start()
    process.join()
    assert process.pid
    return process.pid


@pytest.mark.parametrize(
    ("content", "age", "held"),
    [
        ({"pid": 0, "host": HERE}, 0, False),  # of a process that has ended
        ({"pid": 0, "host": "elsewhere"}, 0, True),  # that cannot be seen
        ({"pid": os.getpid(), "host": "elsewhere"}, 2 * DEAD, False),
        ({"pid": os.getpid(), "host": HERE}, 2 * DEAD, False),
        ({"pid": 2**80, "host": HERE}, 0, True),
        ({}, 0, True),
    ],
)
def test_a_holder_is_seen_by_its_process_or_its_signs_of_life(
    content: dict[str, Any], age: float, held: bool, tmp_path: Path
) -> None:
    """By its process on this machine; by the age of the file anywhere."""
    if content.get("pid") == 0:
        content = {**content, "pid": ended()}
    (tmp_path / "lock").write_text(json.dumps(content))
    then = time.time() - age
    os.utime(tmp_path / "lock", (then, then))
    assert (holder(tmp_path) is not None) == held
