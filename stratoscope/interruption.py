"""Signals that ask a run to end: the step is finished and saved, then the process ends with the signal's code."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(Exception):
    """A run that was asked to end, and is saved.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"{signal.Signals(number).name}: the run is saved; the same command with --run goes on")
        self.code = 128 + number
        self.number = number


class StopOnSignal(Callback):
    """Notes SIGTERM, SIGINT and SIGUSR1 while training; a second one ends the process at once.

    Whoever saves the run asks `wanted` when it can be saved. Nothing is done in a signal handler but taking note: a
    checkpoint written there could hold half a step. A run in another thread than the main one leaves signals to
    whoever started it.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, in place of Lightning's own handlers."""
        self._before = handle(SIGNALS, self._note)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def wanted(self, trainer: Trainer) -> int:
        """The signal that any process has received, 0 if none has; all processes have to ask."""
        if trainer.world_size == 1:
            return self.number
        stop = trainer.strategy.reduce_boolean_decision(bool(self.number), all=False)
        return (self.number or signal.SIGTERM) if stop else 0

    def _note(self, number: int, _frame: Any) -> None:
        if self.number:
            os._exit(128 + number)
        self.number = number
        os.write(
            2, f"stratoscope: {signal.Signals(number).name}: saving after this step; again to stop at once\n".encode()
        )


def handle(numbers: Iterable[int], handler: Any) -> dict[int, Any]:
    """Set the handler of signals, where that is possible: Python lets only the main thread do so.

    Args:
        numbers: The signals.
        handler: What `signal.signal` takes.

    Returns:
        The handlers there were, by signal; nothing in another thread than the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def requeue() -> str:
    """Ask SLURM to run this job again, as another like it, and say how that went; nothing outside of SLURM."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    if not re.fullmatch(r"[0-9]+(_[0-9]+)?", job):
        return ""
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        print(f"stratoscope: scontrol requeue {job} failed: {' '.join(str(said).split())}", file=sys.stderr)
        return ""
    return f"SLURM will run job {job} again"
