"""Runs of an experiment, some at a time, each in a process of its own.

One run that fails, however, leaves the others alone; if this process ends, however, the runs are saved and end too.
Several launchers, on several machines with one file system, share the runs of one experiment: what one of them is at
work on, the others leave to it. Every process comes from one that has imported everything already, which saves seconds
for each run.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from stratoscope.errors import exit_codes
from stratoscope.experiments.grid import PlannedRun
from stratoscope.fit.quiet import quieten
from stratoscope.run.interruption import handle
from stratoscope.run.lock import holder

FINISHED, FAILED, INTERRUPTED, HELD_BACK = "finished", "failed", "interrupted", "held back"
REFUSED = 2  # exit code


class Launcher:
    """Runs what is planned, in order, `jobs` at a time.

    Args:
        jobs: How many at a time.
        more: Words that are added to every command line.
        say: Is told of every run that begins or ends.
    """

    def __init__(self, jobs: int, more: Sequence[str] = (), say: Callable[[str], None] = print) -> None:
        self.jobs, self.more, self.say = jobs, list(more), say
        self.signal = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["stratoscope.fit.command"])
        self._held: set[str] = set()  # runs of which it was said that others are at work on them
        self._working: dict[int, tuple[PlannedRun, ForkServerProcess, float, bytes]] = {}  # by slot

    def run(self, runs: Sequence[PlannedRun]) -> dict[str, str]:
        """Run them all.

        Args:
            runs: In an order in which those that others start from come first.

        Returns:
            By name how each has ended: finished, failed, interrupted, or held back because it starts from a run that
            has not finished.
        """
        ended: dict[str, str] = {}
        waiting = list(runs)
        before = handle((signal.SIGINT, signal.SIGTERM), signal.SIG_IGN)
        forkserver.ensure_running()  # inherits that: a signal to all of our processes must not end it before the runs
        handle(before, self._stop)
        try:
            while waiting or self._working:
                for run in list(waiting):
                    states = [ended.get(name) for name in run.needs]
                    if self.signal or any(state not in {None, FINISHED} for state in states):
                        waiting.remove(run)
                        ended[run.name] = INTERRUPTED if self.signal else HELD_BACK
                    elif len(self._working) < self.jobs and all(states) and not self._elsewhere(run):
                        waiting.remove(run)
                        self._begin(run, f"{len(runs) - len(waiting)} of {len(runs)}")
                wait([process.sentinel for _, process, *_ in self._working.values()], timeout=1)
                self._collect(waiting, ended)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return ended

    def _collect(self, waiting: list[PlannedRun], ended: dict[str, str]) -> None:
        """Note which runs have ended, and how."""
        for slot, (run, process, began, record) in list(self._working.items()):
            if process.is_alive():
                continue
            del self._working[slot]
            changed = record != _record(run)
            if process.exitcode == REFUSED and (changed or holder(run.path)):  # another launcher was faster
                waiting.append(run)
                continue
            state = _state(process.exitcode)
            if state == FINISHED and not run.finished:
                state = INTERRUPTED  # its max_time is over
            ended[run.name] = state
            took = f"{time.monotonic() - began:.0f} s" if changed or state != FINISHED else "before"
            self.say(f"{run.name}: {state} ({took}){_reason(run, state)}")

    def _elsewhere(self, run: PlannedRun) -> bool:
        """Whether a process of another launcher, here or on another machine, runs it already."""
        if not holder(run.path):
            return False
        if run.name not in self._held:
            self._held.add(run.name)
            self.say(f"{run.name}: it is already running in another process; it is looked at again when that has ended")
        return True

    def _begin(self, run: PlannedRun, place: str) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        self.say(f"{run.name}: begins ({place})")
        slot = next(number for number in range(self.jobs) if number not in self._working)
        process = self._context.Process(target=_work, args=(run.words(*self.more), str(log_of(run)), slot))
        record = _record(run)
        process.start()
        self._working[slot] = run, process, time.monotonic(), record
        if self.signal:  # which has come while the process was made
            _ask_to_end(process)

    def _stop(self, number: int, _frame: object) -> None:
        """Ask all runs to save and end; asked again, to end at once."""
        self.signal = number
        for _, process, *_ in self._working.values():
            _ask_to_end(process)


def _ask_to_end(process: ForkServerProcess) -> None:
    if process.pid and process.is_alive():
        with suppress(ProcessLookupError):  # it has ended since
            os.kill(process.pid, signal.SIGTERM)


def _record(run: PlannedRun) -> bytes:
    """What a run's record says now."""
    file = run.path / "run.json"
    return file.read_bytes() if file.is_file() else b""


def log_of(run: PlannedRun) -> Path:
    """What a run has said."""
    return run.folder / f"{run.name}.log"


def _work(words: list[str], log: str, slot: int) -> None:
    """One run, in a process of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgrp()  # the keyboard's interrupt goes to the launcher, which passes it on
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Path(log).open("a", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with redirect_stdout(file), redirect_stderr(file):
            import torch

            from stratoscope.fit.command import run_command

            if (count := torch.cuda.device_count()) > 1:  # which does not initialise CUDA
                visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
                os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[slot % count]
            sys.argv = ["stratoscope", *words]
            quieten()
            with exit_codes():
                run_command(words)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _state(code: int | None) -> str:
    return FINISHED if code == 0 else INTERRUPTED if code in {128 + signal.SIGTERM, -signal.SIGTERM} else FAILED


def _reason(run: PlannedRun, state: str) -> str:
    """What a run that failed has said last."""
    if state != FAILED:
        return ""
    lines = [line for line in log_of(run).read_text(errors="replace").splitlines() if line.strip()]
    said = lines[-1].removeprefix("stratoscope: ")[:300] if lines else "it has said nothing"
    return f": {said} (all in {log_of(run)})"
