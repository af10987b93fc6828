"""Tests of callbacks/progress/run_progress_bar.py: runs in a terminal, and what is to be seen there."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from rich.console import Console
from torch import Tensor

from stratoscope.callbacks import LinearProbes, RunProgressBar
from stratoscope.callbacks.progress.run_progress_bar import epochs_of
from stratoscope.callbacks.progress.tracked import tracked
from stratoscope.commands.table import main
from stratoscope.datamodules import Shapes
from stratoscope.models import MLP
from tests.forked_runs import command as with_callbacks
from tests.terminals import Seen, in_terminal

FIT = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --threads 1 --run one"
PROBED = f"{FIT} --trainer.max_epochs 2 --trainer.callbacks LinearProbes --trainer.callbacks.tolerance 0.01"
INTERRUPT = b"\x03"
BARS = "━╸╺█"
LONG = "a message that is longer than a terminal is wide, " * 4 + "and ends here"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(line: str) -> Callable[[], None]:
    """What runs a command line."""
    return lambda: main(line.split())


def drawn(lines: list[str]) -> list[str]:
    """Lines with a bar in them."""
    return [line for line in lines if re.search(f"[{BARS}]{{4}}", line) and not line.startswith(("┏", "┡"))]


@pytest.fixture(scope="module", params=[80, 120])
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A probed run in a terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("probed"))
        return in_terminal(command(PROBED), request.param)


def test_all_that_a_run_does_is_in_one_display(probed: Seen) -> None:
    """Two lines at most: the epoch, counted as in the messages, and what is done in or behind it."""
    assert probed.code == 0
    for words in ("epoch 1/2 ", "epoch 2/2 ", "epoch 0: fitting probes ", "epoch 2: fitting probes "):
        assert drawn(probed.lines(words)), words
    assert not probed.lines("epoch 3/2")
    assert max(len(drawn(screen)) for screen in probed.screens) == 2
    assert any("left" in line for line in drawn(probed.lines("epoch 2/2 ")))


def test_messages_are_whole_and_the_display_is_gone(probed: Seen) -> None:
    """Every one stands above the bar with all its letters; then come tables, and nothing is left of a bar."""
    assert len(probed.told) > 5
    assert [message for message in probed.told if not probed.has(message)] == []
    text = "\n".join(probed.last)
    assert drawn(probed.last) == []
    assert text.index("probes, epoch 2:") < text.index("Linear probe accuracy") < text.index("done: runs/one")
    row, column, shown = probed.cursor
    assert (column, shown) == (0, True)
    assert "picture" in probed.last[row - 1] or "done" in probed.last[row - 1]


def test_there_is_no_bar_in_a_pipe() -> None:
    """Plain lines, and nothing that steers a terminal."""
    seen = in_terminal(command(PROBED), pipe=True)
    said = Path("pipe").read_text(encoding="utf-8")
    assert seen.code == 0
    assert seen.lines("") == [""] or not any(seen.last)
    assert "\x1b" not in said
    assert "\r" not in said
    assert "left" not in said
    assert all(message in said for message in seen.told)


class Slow(Callback):
    """Takes its time in a hook."""

    def __init__(self, hook: str, seconds: float) -> None:
        setattr(self, hook, lambda *_: time.sleep(seconds))


@pytest.mark.parametrize("words", ["epoch 2/9 ", "epoch 1: fitting probes ", "validating "])
def test_an_interrupt_leaves_a_clean_screen(words: str) -> None:
    """In training, in probes and in validation: the run says that it is saved, and there is no bar and a cursor."""
    line = PROBED.replace("max_epochs 2", "max_epochs 9 --data.batch_size 8")
    slow = Slow("on_validation_batch_end", 0.6)
    seen = in_terminal(with_callbacks(line.split(), slow), keys=((words, INTERRUPT),))
    assert seen.code == 130
    assert drawn(seen.last) == []
    assert seen.cursor[1:] == (0, True)
    assert seen.has("stratoscope: SIGINT: saving after this step, or now; again to stop at once")
    assert seen.last[seen.cursor[0] - 1].startswith("stratoscope: SIGINT: the run is saved; the same command")
    assert [message for message in seen.told if not seen.has(message)] == []


def test_a_second_interrupt_leaves_a_clean_screen_too() -> None:
    """The process ends at once; the bar is taken off the screen all the same."""
    run = with_callbacks(f"{FIT} --trainer.max_epochs 2".split(), Slow("on_train_batch_start", 60))
    seen = in_terminal(run, keys=(("epoch 1/2 ", INTERRUPT), ("saving after this step", INTERRUPT)))
    assert seen.code == 130
    assert drawn(seen.last) == []
    assert seen.cursor[1:] == (0, True)


def test_a_run_that_fails_leaves_a_clean_screen() -> None:
    """With the line that says why below the messages."""
    line = f"{FIT} --trainer.max_epochs 2 --model.optimizer SGD --model.optimizer.lr 1e30"
    seen = in_terminal(command(line))
    assert seen.code == 1
    assert drawn(seen.last) == []
    assert seen.cursor[1:] == (0, True)
    assert "loss is" in " ".join(seen.last[seen.cursor[0] - 3 : seen.cursor[0]])


def test_a_stored_network_is_validated_in_the_same_display(tmp_path: Path) -> None:
    """Its sets, then its probes; no epoch, and the table in one piece."""
    main(f"{FIT} --trainer.max_epochs 1".split())
    line = "validate --ckpt_path runs/one/checkpoints/last.ckpt --run two --threads 1 --trainer.accelerator cpu"
    probes = "--trainer.callbacks LinearProbes --trainer.callbacks.tolerance 0.01"
    seen = in_terminal(with_callbacks(f"{line} {probes}".split(), Slow("on_validation_batch_end", 0.6)))
    assert seen.code == 0
    assert drawn(seen.lines("validating "))
    assert drawn(seen.lines("epoch 1: fitting probes "))
    assert not drawn(seen.lines("epoch 1/"))
    assert drawn(seen.last) == []
    assert [message for message in seen.told if not seen.has(message)] == []
    assert [line[0] for line in seen.last if line.startswith(("┏", "┃", "┡", "└"))] == ["┏", "┃", "┡", "└"]


def fake_trainer(bar: Any) -> Any:
    """What is asked of a trainer."""
    return SimpleNamespace(progress_bar_callback=bar, state=SimpleNamespace(fn="validate"), callbacks=[])


@pytest.mark.parametrize("kind", [RichProgressBar, RunProgressBar])
def test_a_notebook_shows_probes_too(kind: type[RichProgressBar], monkeypatch: pytest.MonkeyPatch) -> None:
    """In Lightning's own display for notebooks."""
    shown: list[Any] = []

    class Output:
        """A part of a cell's output."""

        def __enter__(self) -> None:
            """Nothing."""

        def __exit__(self, *_: object) -> None:
            """Nothing."""

        def clear_output(self, wait: bool) -> None:
            """Nothing."""

    monkeypatch.setitem(sys.modules, "ipywidgets", SimpleNamespace(Output=Output))
    ipython = ModuleType("IPython")
    display = ModuleType("IPython.display")
    display.display = shown.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr("rich._console", Console(force_jupyter=True, width=100))
    bar = kind()
    monkeypatch.setattr(f"{RichProgressBar.__module__}.reconfigure", lambda: None)
    bar._trainer = trainer = fake_trainer(bar)
    for _ in tracked(trainer, "abc", "fitting probes"):
        time.sleep(0.05)
    bar._stop_progress()
    assert any("fitting probes" in getattr(one, "text", "") for one in shown)


class Talker(Callback):
    """Says something in every way there is, at every step."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say it."""
        step = trainer.global_step
        pl_module.log("a_metric_with_a_long_name", float(step), prog_bar=True)
        pl_module.log("another_metric_with_a_long_name", float(step), prog_bar=True)
        rank_zero_info(f"step {step}: {LONG}")
        rank_zero_warn(f"warning {step}: {LONG}")


class SlowToRead(MLP):
    """Takes its time to be read."""

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        time.sleep(0.0 if self.training else 0.3)
        return super().forward(image)


def own_trainer(*callbacks: Callback) -> Callable[[], None]:
    """What trains under a Trainer of one's own."""

    def run() -> None:
        seed_everything(0, verbose=False)
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=1,
            callbacks=[*callbacks, Talker(), LinearProbes("*relu*", tolerance=0.01, epochs=[0, 2])],
        )
        trainer.fit(SlowToRead(width=4, inputs=3 * 8 * 8), Shapes(train_size=60, test_size=30, size=8, batch_size=20))
        torch.save(trainer.model.state_dict(), "weights.pt")  # type: ignore[union-attr]

    return run


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("bar", [None, RichProgressBar, TQDMProgressBar, RunProgressBar])
def test_under_ones_own_trainer_probes_are_shown_and_no_letter_is_lost(
    bar: type[Callback] | None, columns: int
) -> None:
    """Lightning's default, both of its bars, and ours; tables are in one piece."""
    seen = in_terminal(own_trainer(*([] if bar is None else [bar()])), columns)
    assert seen.code == 0
    assert len(seen.told) > 10
    assert [message for message in seen.told if not seen.has(message)] == []
    for step in range(1, 7):
        assert seen.has(f"step {step}: {LONG}")
        assert seen.has(f"warning {step}: {LONG}")
    for words in ("reading train features", "reading test features"):
        assert any(re.search(f"[{BARS}]{{4}}|0%", line) for line in seen.lines(words)), words
    if bar is RunProgressBar:
        assert drawn(seen.lines("epoch 2/2 "))
        assert any("a_metric" in line for line in seen.lines("epoch 2/2 "))
    assert [line for line in seen.last if "reading test features" in line] == []
    assert seen.cursor[1:] == (0, True)
    table = [place for place, line in enumerate(seen.last) if line.startswith(("┏", "┃", "┡", "│", "└"))]
    assert table == list(range(table[0], table[0] + 5))
    assert seen.last[table[0] - 1] == "Linear probe accuracy on true labels, test set, in %, by epoch"


def test_no_message_is_taken_for_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the thread that draws it, while there come to be more or fewer lines of it."""
    monkeypatch.setattr("stratoscope.callbacks.progress.run_progress_bar.REFRESH", 500)

    def run() -> None:
        bar = RunProgressBar()
        bar._trainer = trainer = fake_trainer(bar)
        bar._init_progress(trainer)
        assert bar.progress is not None
        _, line = bar._add_task(9, "one"), bar._add_task(9, "two")
        for number in range(250):
            bar.progress.update(line, visible=bool(number % 2))
            print(f"message {number}.")
            time.sleep(0.001)
        bar._stop_progress()

    for _ in range(3):
        seen = in_terminal(run)
        assert seen.code == 0
        assert [line for line in seen.last if line] == [f"message {number}." for number in range(250)]


def test_training_is_the_same_with_and_without_a_bar() -> None:
    """To the bit."""
    in_terminal(own_trainer(RunProgressBar()))
    shown = Path("weights.pt").read_bytes()
    in_terminal(own_trainer(RunProgressBar()), pipe=True)
    assert Path("weights.pt").read_bytes() == shown


@pytest.mark.parametrize(
    ("bounds", "epochs"),
    [
        ({"max_epochs": 7}, 7),
        ({"max_epochs": -1, "max_steps": 30}, 6),  # of 10 batches, 2 a step
        ({"max_epochs": 4, "max_steps": 30}, 4),
        ({"max_epochs": -1}, float("inf")),
        ({"max_epochs": None, "max_steps": 5}, 1),
    ],
)
def test_a_run_has_as_many_epochs_as_its_bounds_say(bounds: dict[str, Any], epochs: float) -> None:
    """Whichever comes first."""
    trainer: Any = SimpleNamespace(**{"max_steps": -1, **bounds}, accumulate_grad_batches=2, num_training_batches=10)
    assert epochs_of(trainer) == epochs
