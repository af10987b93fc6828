"""What ends a run before its time: signals, and a limit on the time of a session. It is saved, and can go on."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from stratoscope.probes.giving_up import given_up_by

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(BaseException):
    """A run that was asked to end, and can go on; no Exception, so that nobody on the way takes it for an error.

    Args:
        number: Of the signal; 0 if the time of the session is over.
    """

    def __init__(self, number: int) -> None:
        self.number, self.code = number, 128 + number if number else 0
        super().__init__(f"{self.reason}: the run is saved; the same command with --run goes on")

    @property
    def reason(self) -> str:
        """Why it has ended."""
        return signal.Signals(self.number).name if self.number else "max_time is over"


class StopOnSignal(Callback):
    """Notes signals while training, a second of which ends the process at once, and when the time is over.

    Whoever saves the run asks `wanted` when it can be saved. Nothing is done in a signal handler but taking note: a
    checkpoint written there could hold half a step. Validation and probes can be done again, so they are given up. A
    run in another thread than the main one leaves signals to whoever started it.

    `max_time` (and the callback Timer) bounds a session: the run is saved after a step, or after an epoch if the Timer
    says so, and goes on with the same command, which has as much time again. Lightning would end the epoch where it
    is, and count the time of earlier sessions.

    Args:
        say: Says a line from within a signal handler.
        leave: Leaves the screen as it should be when the process ends at once, from there too.
    """

    def __init__(self, say: Callable[[str], None] | None = None, leave: Callable[[], None] | None = None) -> None:
        self.number = 0
        self._say, self._leave = say or _say, leave
        self._before: dict[int, Any] = {}
        self._limits: list[tuple[float, str]] = []  # seconds, and whether to end behind a step or an epoch
        self._began = time.monotonic()
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over from the timers."""
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and timer._duration is not None:
                self._limits.append((timer._duration, str(timer._interval)))
                timer._duration = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, in place of Lightning's own handlers."""
        self._before, self._began, self._trainer = handle(SIGNALS, self._note), time.monotonic(), trainer
        given_up_by(self.check)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Give up a validation."""
        if self._trainer is not None:
            self.check()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the handlers back."""
        given_up_by(None)
        self._trainer = None
        for number, handler in self._before.items():
            # one that was not set from Python cannot be set from there again
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave what this process may compute next alone."""
        given_up_by(None)
        self._trainer = None

    def check(self, together: bool = False) -> None:
        """Give up what can be done again, if there was a signal.

        Args:
            together: Whether all processes ask at this place. Where they do not, one of several cannot end: others
                would wait for it.

        Raises:
            Interrupted: If so.
        """
        trainer = self._trainer
        if trainer is not None and (together or trainer.world_size == 1) and (number := self._signalled(trainer)):
            raise Interrupted(number)

    def end_here(self, trainer: Trainer, behind: str) -> None:
        """End the run, if it was asked to or its time is over; all processes have to ask.

        Args:
            trainer: The trainer.
            behind: step or epoch.

        Raises:
            Interrupted: If so.
        """
        if number := self._signalled(trainer):
            raise Interrupted(number)
        used = time.monotonic() - self._began
        over = any(used >= seconds and (interval == "step" or behind == "epoch") for seconds, interval in self._limits)
        if self._limits and trainer.fit_loop._can_stop_early:  # min_epochs and min_steps come first
            if trainer.strategy.reduce_boolean_decision(over, all=False):
                raise Interrupted(0)

    def _signalled(self, trainer: Trainer) -> int:
        """The signal that any process has received, 0 if none has."""
        if trainer.world_size == 1:
            return self.number
        stop = trainer.strategy.reduce_boolean_decision(bool(self.number), all=False)
        return (self.number or signal.SIGTERM) if stop else 0

    def _note(self, number: int, _frame: Any) -> None:
        if self.number:
            if self._leave is not None:
                self._leave()
            os._exit(128 + number)
        self.number = number
        self._say(f"stratoscope: {signal.Signals(number).name}: saving after this step, or now; again to stop at once")


def _say(line: str) -> None:
    os.write(2, f"{line}\n".encode())


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
