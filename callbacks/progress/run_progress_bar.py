"""The progress bar of a run: training, validation, features and probes in one display, and how long it will take."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import (
    BatchesProcessedColumn,
    CustomBarColumn,
    CustomProgress,
    MetricsTextColumn,
)
from rich import get_console
from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.progress import Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from stratoscope.callbacks.instruments.instrument import Instrument
from stratoscope.callbacks.progress.above import messages_above, shown_by_rich
from stratoscope.callbacks.progress.time_left import seconds_left

REFRESH = 4  # times a second
ECHO = "^C^C"  # what the terminal writes behind the bar; in another line it would be in the way
WITHOUT_METRICS = 64  # columns that a line takes
SELDOM = 0.1  # seconds between two looks at a step, at least


class RunProgressBar(RichProgressBar):
    """One bar for all that a run does, in a terminal; there is none elsewhere, but for Lightning's in a notebook.

    Beside training and validation it shows what instruments do between epochs, and how long the whole run will still
    take, with that. Messages come to stand above it, whole, whoever writes them. Epochs are counted as everywhere else
    here: the first is 1. It is gone when the run has ended.

    It is drawn on standard error, a few times a second, from a thread of its own; training does not notice.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESH)
        self._above = ExitStack()
        self._told: deque[str] = deque()
        self._begun: tuple[float, float, float] | None = None  # when the first step was, in which epoch, and measured
        self._epoch = self._share = self._seen = 0.0

    @property
    def is_enabled(self) -> bool:
        """Whether there is a place to show it."""
        return super().is_enabled and (_terminal() or get_console().is_jupyter)

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """What stands in a line."""
        theme = self.theme
        bar = CustomBarColumn(
            bar_width=None,
            complete_style=theme.progress_bar,
            finished_style=theme.progress_bar_finished,
            pulse_style=theme.progress_bar_pulse,
            table_column=Column(min_width=6, max_width=40),
        )
        columns = [
            TextColumn("[progress.description]{task.description}"),
            bar,
            BatchesProcessedColumn(style=theme.batch_progress),
            _Speed(),
            _TimeLeft(self),
        ]
        for column in columns:
            if column is not bar:
                column._table_column = Column(no_wrap=True)
        return columns

    def _init_progress(self, trainer: Trainer) -> None:
        """Begin to show it, if that has not been done."""
        if not self.is_enabled or not (self.progress is None or self._progress_stopped):
            return
        self._begun = None
        if not _terminal():
            super()._init_progress(trainer)
            return
        self._reset_progress_bar_ids()
        theme = self.theme
        how = theme.metrics, theme.metrics_text_delimiter, theme.metrics_format
        self._metric_component = MetricsTextColumn(trainer, *how)
        self._console = Console(file=sys.stderr)
        room = max(8, self._console.width - WITHOUT_METRICS)  # or the bar would make room for them
        self._metric_component._table_column = Column(no_wrap=True, max_width=room)
        self.progress = _Display(
            self._console,
            self._told,
            *self.configure_columns(trainer),
            self._metric_component,
            refresh_per_second=REFRESH,
            transient=True,
            redirect_stdout=False,  # whose lines would be broken
            redirect_stderr=False,
        )
        self._above.enter_context(messages_above(self, all_streams=True))
        self.progress.start()
        self._console.show_cursor(True)  # as it is after a run that was killed
        self._progress_stopped = False
        if trainer.state.fn == "fit":
            self._initialize_train_progress_bar_id()  # the first line, whatever comes before training

    def _stop_progress(self) -> None:
        """Let it be gone, and give back what it has taken."""
        super()._stop_progress()
        self._above.close()
        while self._told:  # at the last moment
            self.say_soon(self._told.popleft())

    def say_soon(self, line: str) -> None:
        """Say a line above the bar, from within a signal handler: the thread that draws the bar does it.

        Args:
            line: Plain text.
        """
        if shown_by_rich(self) is not None:
            self._told.append(line)
        else:
            os.write(2, f"{line}\n".encode())

    def leave_at_once(self) -> None:
        """Take the bar off the screen of a process that ends without another step."""
        if (live := shown_by_rich(self)) is not None:
            height = live._live_render.last_render_height
            os.write(2, b"\r\x1b[2K" + b"\x1b[1A\x1b[2K" * (height - 1))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note when the first step was."""
        if self._begun is None:
            self._note(trainer, batch_idx)
            self._begun = time.monotonic(), self._epoch + self._share, _measured(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on, if it is time: metrics that are shown wait for the device."""
        last = batch_idx + 1 == trainer.num_training_batches
        if last or time.monotonic() >= self._seen + SELDOM:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self._note(trainer, batch_idx + 1)
            self._seen = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Be gone before tables are printed."""
        self._stop_progress()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Any:
        """What the module shows in the bar; a logger's version is in the first lines of a run."""
        found = super().get_metrics(trainer, pl_module)
        found.pop("v_num", None)
        return found

    def _get_train_description(self, current_epoch: int) -> str:
        whole = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + (f"/{whole}" if whole is not None and whole > 0 else "")

    @property
    def sanity_check_description(self) -> str:
        """What is done."""
        return "trying validation"

    @property
    def validation_description(self) -> str:
        """What is done."""
        return "validating"

    @property
    def test_description(self) -> str:
        """What is done."""
        return "testing"

    @property
    def predict_description(self) -> str:
        """What is done."""
        return "predicting"

    def _add_task(self, total_batches: int | float, description: str, visible: bool = True) -> TaskID:
        """A line, shown from its beginning; one that is over is used again, or every validation would add one."""
        if (progress := self.progress) is not None:
            for task in progress.tasks:
                if (task.description, task.total, task.visible) == (description, total_batches, False):
                    progress.reset(task.id, visible=True)
                    return task.id
        return super()._add_task(total_batches, description)

    def _note(self, trainer: Trainer, batches: int) -> None:
        """Note how far training is."""
        self._epoch, self._share = float(trainer.current_epoch), batches / trainer.num_training_batches

    def seconds_left(self, task: Task) -> float | None:
        """Seconds until the run has ended, as far as they are known; those of another line are not its concern.

        Args:
            task: A line of the display.
        """
        trainer = self.trainer
        if trainer.state.fn != "fit":
            return task.time_remaining
        if self._begun is None or task.id != self.train_progress_bar_id:
            return None
        began, first, measured = self._begun
        done, whole = self._epoch + self._share, epochs_of(trainer)
        to_come = range(int(self._epoch) + 1, int(min(whole, 1e6)) + 1)
        ahead = sum(one.seconds_ahead(to_come) for one in _instruments(trainer))
        return seconds_left(time.monotonic() - began, done - first, whole - done, _measured(trainer) - measured, ahead)

    def __getstate__(self) -> dict[str, Any]:
        """Without what cannot be copied."""
        return {**super().__getstate__(), "_above": ExitStack()}


class _Display(CustomProgress):
    """Rich's display, which refreshes itself, where Lightning's waits to be asked: a fit may take minutes."""

    start, stop = Progress.start, Progress.stop

    def __init__(self, terminal: Console, told: deque[str], *columns: ProgressColumn, **how: Any) -> None:
        self._terminal, self._told = terminal, told
        super().__init__(*columns, console=terminal, **how)

    def get_renderables(self) -> Iterator[RenderableType]:
        """The lines; what was told is printed before they are drawn."""
        while self._told:
            self._terminal.print(Text(self._told.popleft()), soft_wrap=True)
        yield Constrain(self.make_tasks_table(self.tasks), self._terminal.width - len(ECHO))


class _Speed(ProgressColumn):
    """How fast it goes, once that is known."""

    def render(self, task: Task) -> Text:
        """Such as 41.3/s."""
        return Text("" if task.speed is None else f"{task.speed:.1f}/s", style="dim")


class _TimeLeft(ProgressColumn):
    """How long the run will still take."""

    max_refresh = 0.5

    def __init__(self, bar: RunProgressBar) -> None:
        super().__init__()
        self._bar = bar

    def render(self, task: Task) -> Text:
        """Such as 0:03:12 left."""
        seconds = self._bar.seconds_left(task)
        return Text("" if seconds is None else f"{timedelta(seconds=int(seconds))} left", style="dim")


def _terminal() -> bool:
    return sys.stderr.isatty()


def _instruments(trainer: Trainer) -> list[Instrument]:
    return [one for one in trainer.callbacks if isinstance(one, Instrument)]  # type: ignore[attr-defined]


def _measured(trainer: Trainer) -> float:
    """Seconds that instruments have taken."""
    return sum(one.watch.seconds for one in _instruments(trainer))


def epochs_of(trainer: Trainer) -> float:
    """How many epochs a run has, by its bounds.

    Args:
        trainer: The trainer.
    """
    epochs = trainer.max_epochs
    bounds = [float("inf") if epochs is None or epochs == -1 else float(epochs)]
    if trainer.max_steps > 0 and trainer.num_training_batches != float("inf"):
        bounds.append(trainer.max_steps * trainer.accumulate_grad_batches / trainer.num_training_batches)
    return min(bounds)
