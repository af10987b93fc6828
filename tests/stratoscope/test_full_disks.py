"""A disk that is full, and folders that cannot be written: the run ends with a message, loses nothing, and goes on.

The disk is full by the system's own limit on the size of files (RLIMIT_FSIZE): Python gets EFBIG from the write itself.
"""

import contextlib
import ctypes
import logging
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from stratoscope.commands.table import main
from stratoscope.fit.command import build
from stratoscope.run.checkpoint import load_checkpoint
from tests.forked_runs import finish, forked, said
from tests.interrupted_runs import assert_same_runs

PLAIN = (
    "fit --model MLP --model.width 64 --data Digits --data.batch_size 200 --data.corruption RandomLabels "
    "--trainer.accelerator cpu --trainer.max_epochs 2"
)
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.1"
FIT = f"{PLAIN} {PROBES}"
STEPS = 8  # of an epoch


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


class From(Callback):
    """Does something at a moment of the second epoch.

    Args:
        moment: The hook.
        act: What is done.
    """

    def __init__(self, moment: str, act: Callable[[], object]) -> None:
        def hook(trainer: Trainer, module: LightningModule, *rest: Any) -> None:
            if trainer.current_epoch == 1:
                act()

        setattr(self, moment, hook)


class Behind(From, Checkpoint):
    """The same, but after the checkpoint is saved: these come last, in their order."""


def fill(size: int) -> None:
    """Keep what the run has left so far, then let no file become larger than so many bytes."""
    if not Path("before").exists():
        shutil.copytree("runs/full", "before", ignore=shutil.ignore_patterns("lock", "run.json"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def through_a_pipe(run: Callable[[], object]) -> tuple[int, str]:
    """The exit code of a process, and what it said, which is in no file that could be full."""
    read, write = os.pipe()

    def child() -> None:
        logging.raiseExceptions = False  # handlers that were made before write into a file of pytest's, full as well
        with (
            os.fdopen(write, "w", buffering=1, closefd=False) as pipe,
            contextlib.redirect_stdout(pipe),
            contextlib.redirect_stderr(pipe),
        ):
            os.dup2(write, 2)
            run()

    code = finish(forked(child))
    os.close(write)
    with os.fdopen(read) as pipe:
        return code, pipe.read()


def fit(line: str, first: Callback | None = None, last: Callback | None = None) -> None:
    """Run a command line as `main` does, with callbacks around the others."""

    def with_callbacks(*words: Any) -> Any:
        built = build(*words)
        callbacks = built.trainer.callbacks  # type: ignore[attr-defined]
        callbacks[:] = [*filter(None, [first]), *callbacks, *filter(None, [last])]
        return built

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("stratoscope.fit.command.build", with_callbacks)
        main(line.split())


def assert_said_in_one_line(text: str, cause: str) -> None:
    """The last line says what is wrong, and there is no traceback."""
    assert "Traceback" not in text, text
    assert text.splitlines()[-1].startswith("stratoscope: cannot write"), text
    assert f"{cause}; what was saved before is as it was" in text.splitlines()[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that always had room."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        assert finish(forked(lambda: main(f"{FIT} --run whole".split()))) == 0, said()
    return folder / "runs" / "whole"


FULL = {  # moment, room in bytes, files that have to be as they were
    "checkpoint": ("on_save_checkpoint", 100_000, "checkpoints/*"),
    "probes": ("on_train_epoch_end", 500, "*"),
    "features": ("on_train_epoch_end", 50_000, "*"),
    "metrics": ("on_train_epoch_end", 50, "*"),  # behind the checkpoint
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[] if what in {"checkpoint", "metrics"} else [pytest.mark.slow]) for what in FULL]
)
def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(what: str, whole: Path) -> None:
    """Exit code 74, one line, nothing half written; then the same command ends like a run that always had room."""
    moment, size, kept = FULL[what]
    line = f"{FIT} --run full" + (" --trainer.callbacks.memory 0.0026" if what == "features" else "")
    full = (Behind if what == "metrics" else From)(moment, lambda: fill(size))
    around = (None, full) if what == "metrics" else (full, None)
    code, text = through_a_pipe(lambda: fit(line, *around))
    assert code == 74, text
    assert_said_in_one_line(text, "File too large")
    files = [file for pattern in (kept, f"{kept}/*") for file in Path("before").glob(pattern) if file.is_file()]
    assert files
    for file in files:
        assert file.read_bytes() == Path("runs/full", file.relative_to("before")).read_bytes(), file
    assert not [file for file in Path("runs/full").rglob("*") if file.name.endswith(".part") or file.name[0] == "."]
    steps = 2 * STEPS if what == "metrics" else STEPS
    assert load_checkpoint("runs/full/checkpoints/last.ckpt")["global_step"] == steps
    assert finish(forked(lambda: main(line.split()))) == 0, said()
    Path("runs/whole").symlink_to(whole)
    assert_same_runs("whole", "full")


def test_a_disk_that_is_full_from_the_start_is_refused() -> None:
    """Exit code 2 with the folder; when there is room the same command begins."""
    line = f"{PLAIN} --run full --trainer.max_epochs 1"

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        main(line.split())

    code, text = through_a_pipe(child)
    assert code == 2, text
    assert text.splitlines()[-1] == "stratoscope: cannot write the run directory runs/full: File too large"
    assert finish(forked(lambda: main(line.split()))) == 0, said()


@pytest.mark.slow
def test_a_file_in_place_of_the_checkpoints_is_said() -> None:
    """Exit code 74 with one line; it is left as it is, and with a folder there the run goes on."""
    line, place = f"{FIT} --run full --trainer.max_epochs 2", Path("runs/full/checkpoints")

    class Blocked(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            place.write_text("mine")

    assert finish(forked(lambda: fit(line, Blocked()))) == 74, said()
    assert "Traceback" not in said()
    assert "stratoscope: cannot write" in said().splitlines()[-1]
    assert str(place) in said().splitlines()[-1]
    assert place.read_text() == "mine"
    place.unlink()
    assert finish(forked(lambda: main(line.split()))) == 0, said()


def without_override(run: Callable[[], object]) -> None:
    """Do something without root's right to write everywhere (capabilities 1 and 2), which other users do not have."""
    libc, header, capabilities = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, capabilities) == 0
    capabilities[0] &= ~0b110
    assert libc.capset(header, capabilities) == 0
    run()


def test_a_read_only_folder_of_checkpoints_ends_the_run_with_a_message(whole: Path) -> None:
    """Exit code 74; the checkpoint is the one before; when it can be written the run goes on to the same end."""
    line, place = f"{FIT} --run full", Path("runs/full/checkpoints")
    locked = From("on_save_checkpoint", lambda: place.chmod(0o555))
    assert finish(forked(lambda: without_override(lambda: fit(line, locked)))) == 74, said()
    assert_said_in_one_line(said(), "Permission denied")
    assert load_checkpoint(str(place / "last.ckpt"))["global_step"] == STEPS
    place.chmod(0o755)
    assert finish(forked(lambda: main(line.split()))) == 0, said()
    Path("runs/whole").symlink_to(whole)
    assert_same_runs("whole", "full")


def test_a_read_only_folder_of_runs_is_refused() -> None:
    """Exit code 2 with the folder, before anything is trained."""
    Path("runs").mkdir(mode=0o555)
    assert finish(forked(lambda: without_override(lambda: main(f"{PLAIN} --run full".split())))) == 2, said()
    assert said().splitlines()[-1] == "stratoscope: cannot write the run directory runs/full: Permission denied"
    assert not list(Path("runs").iterdir())
