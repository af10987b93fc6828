"""Tests of what happens to interrupted runs: they go on, and end as if nothing had happened.

Runs are forked from this process, which has imported everything already. Random moments are in test_kills.py.
"""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import LinearProbes
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.fit.command import build
from stratoscope.run.checkpoint import LastCheckpoint, WholeFiles, load_checkpoint, newest_good
from stratoscope.run.interruption import SIGNALS, requeue
from stratoscope.run.lock import RunLock
from tests.forked_runs import finish, forked

# dropout, batch normalisation, momentum, a schedule that asks for the number of steps, probes
NETWORK = "--model WideResNet --model.depth 10 --model.width 1 --model.dropout 0.3"
SHAPES = "--data Shapes --data.size 8 --data.train_size 50 --data.test_size 20"
DATA = f"{SHAPES} --data.batch_size 10 --data.corruption RandomLabels"
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps network.pool --trainer.callbacks.tolerance 0.1"
PLAIN = f"fit {NETWORK} {DATA} --trainer.accelerator cpu --trainer.max_epochs 3 --data.augmentation RandomFlip"
FIT = f"{PLAIN} {PROBES}"
STEPS = 5  # of an epoch


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def command(line: str, *callbacks: Callback) -> Callable[[], None]:
    """What runs a command line, with further callbacks in front."""

    def start() -> None:
        built = build(line.split())
        built.trainer.callbacks[:0] = callbacks  # type: ignore[attr-defined]
        built.start()

    return start


def same(one: Any, other: Any) -> bool:
    """Whether two nested values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_run(one: str, other: str) -> None:
    """Weights, optimiser, schedule, metrics and probes of two runs are equal to the bit, and both are finished."""
    ends = [load_checkpoint(f"runs/{name}/checkpoints/last.ckpt") for name in (one, other)]
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert same(ends[0][part], ends[1][part]), part
    for file in ("metrics.csv", "probes.csv"):
        assert Path(f"runs/{one}/{file}").read_text() == Path(f"runs/{other}/{file}").read_text()
    for name in (one, other):
        assert json.loads(Path(f"runs/{name}/run.json").read_text())["status"] == "finished"


class At(Callback):
    """Sends this process a signal at a moment of its training.

    Args:
        moment: The hook.
        epoch: In which epoch.
        batch: At which batch, for hooks of batches.
        number: The signal.
    """

    def __init__(self, moment: str, epoch: int, batch: int = 0, number: int = signal.SIGKILL) -> None:
        def hook(trainer: Trainer, module: LightningModule, *rest: Any) -> None:
            if trainer.current_epoch == epoch and (not rest or rest[-1] == batch or moment.endswith("checkpoint")):
                os.kill(os.getpid(), number)

        setattr(self, moment, hook)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run called whole."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        assert finish(forked(command(f"{FIT} --run whole"))) == 0, Path("run.log").read_text()
    return folder / "runs" / "whole"


@pytest.fixture
def _beside_whole(whole: Path) -> None:
    Path("runs").mkdir()
    Path("runs/whole").symlink_to(whole)


MOMENTS = [
    ("on_train_batch_start", 1, 2),
    pytest.param("on_train_batch_end", 1, 4, marks=pytest.mark.slow),  # the last of an epoch
    pytest.param("on_validation_batch_end", 1, 0, marks=pytest.mark.slow),
    ("on_train_epoch_end", 1, 0),  # before the probes
    ("on_save_checkpoint", 1, 0),
    pytest.param("on_train_start", 0, 0, marks=pytest.mark.slow),
    pytest.param("on_train_batch_start", 0, 0, marks=pytest.mark.slow),
    pytest.param("on_validation_start", 1, 0, marks=pytest.mark.slow),
    pytest.param("on_train_epoch_start", 2, 0, marks=pytest.mark.slow),
    pytest.param("on_train_end", 3, 0, marks=pytest.mark.slow),
]


@pytest.mark.usefixtures("_beside_whole")
@pytest.mark.parametrize(("moment", "epoch", "batch"), MOMENTS)
def test_a_killed_run_goes_on(moment: str, epoch: int, batch: int) -> None:
    """`kill -9` at every kind of moment, then the same command: it ends like an uninterrupted run."""
    line = f"{FIT} --run killed"
    assert finish(forked(command(line, At(moment, epoch, batch)))) == -signal.SIGKILL, Path("run.log").read_text()
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    assert_same_run("whole", "killed")


@pytest.mark.usefixtures("_beside_whole")
@pytest.mark.parametrize(
    ("number", "moment", "epoch", "batch", "step"),
    [
        pytest.param(signal.SIGTERM, "on_train_batch_start", 0, 0, 1, marks=pytest.mark.slow),
        (signal.SIGINT, "on_train_batch_start", 1, 2, STEPS + 3),
        (signal.SIGUSR1, "on_train_batch_end", 1, 4, 2 * STEPS),
        (signal.SIGTERM, "on_validation_start", 1, 0, 2 * STEPS),
        pytest.param(signal.SIGINT, "on_train_epoch_end", 0, 0, STEPS, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_after_the_step(number: int, moment: str, epoch: int, batch: int, step: int) -> None:
    """It ends with the signal's code behind that very step, and goes on like an uninterrupted run."""
    line = f"{FIT} --run stopped"
    assert finish(forked(command(line, At(moment, epoch, batch, number)))) == 128 + number
    assert load_checkpoint("runs/stopped/checkpoints/last.ckpt")["global_step"] == step
    assert json.loads(Path("runs/stopped/run.json").read_text())["status"] == "interrupted"
    assert "the run is saved; the same command with --run goes on" in Path("run.log").read_text()
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    assert_same_run("whole", "stopped")


def test_a_second_signal_ends_at_once() -> None:
    """Without waiting for anything; the run goes on from the checkpoint before."""
    twice = [At("on_train_batch_start", 1, 2, number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert finish(forked(command(f"{PLAIN} --run twice", *twice))) == 128 + signal.SIGINT
    assert load_checkpoint("runs/twice/checkpoints/last.ckpt")["global_step"] == STEPS


def loaders(name: str) -> list[dict[str, int]]:
    """The places of the loaders in the last checkpoint of a run."""
    saved = load_checkpoint(f"runs/{name}/checkpoints/last.ckpt")
    found: list[dict[str, int]] = saved["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    return found


VARIANTS = {
    "bf16": "--trainer.precision bf16-mixed",
    "accumulation": "--trainer.accumulate_grad_batches 2",
    "no validation": "--trainer.limit_val_batches 0",
    "rare validation": "--trainer.check_val_every_n_epoch 2",
    "Adam and OneCycleLR": "--model.optimizer Adam --model.optimizer.lr 1e-3 "
    "--model.scheduler OneCycleLR --model.scheduler.max_lr 0.01 --model.scheduler.total_steps 20",
}


SLOW = ("no validation", "rare validation", "accumulation")


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in VARIANTS]
)
def test_variants_go_on_from_the_middle_of_an_epoch(variant: str) -> None:
    """With mixed precision, accumulated gradients, other optimisers and schedules, and without validation."""
    line = f"{FIT} {VARIANTS[variant]}"
    assert finish(forked(command(f"{line} --run whole"))) == 0, Path("run.log").read_text()
    stop = At("on_train_batch_start", 1, 1, signal.SIGTERM)
    assert finish(forked(command(f"{line} --run stopped", stop))) == 128 + signal.SIGTERM, Path("run.log").read_text()
    assert loaders("stopped") == [{"taken": 2}]
    assert finish(forked(command(f"{line} --run stopped"))) == 0, Path("run.log").read_text()
    assert_same_run("whole", "stopped")


def damaged(file: Path, how: str) -> None:
    """Damage a file."""
    content = bytearray(file.read_bytes())
    if how == "a flipped bit":
        content[len(content) // 2] ^= 1
    file.write_bytes({"truncated": bytes(content[:1000]), "empty": b"", "junk": b"junk" * 999}.get(how, bytes(content)))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run called damaged that was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("killed")
    with contextlib.chdir(folder):
        line = f"{FIT} --run damaged"
        assert finish(forked(command(line, At("on_train_batch_start", 2, 3)))) == -signal.SIGKILL
    return folder / "runs" / "damaged"


@pytest.mark.usefixtures("_beside_whole")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("truncated", marks=pytest.mark.slow),
        "empty",
        pytest.param("junk", marks=pytest.mark.slow),
        "a flipped bit",
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(how: str, killed: Path) -> None:
    """The run ends like an uninterrupted one all the same."""
    line = f"{FIT} --run damaged"
    shutil.copytree(killed, "runs/damaged")
    damaged(Path("runs/damaged/checkpoints/last.ckpt"), how)
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    said = Path("run.log").read_text()
    assert "last.ckpt is damaged" in said
    assert "going on from runs/damaged/checkpoints/previous.ckpt" in said
    assert_same_run("whole", "damaged")


def test_without_a_good_checkpoint_the_run_is_refused(killed: Path) -> None:
    """Beginning anew in its place would lose it without a word."""
    line = f"{FIT} --run damaged"
    shutil.copytree(killed, "runs/damaged")
    for name in ("last.ckpt", "previous.ckpt"):
        damaged(Path(f"runs/damaged/checkpoints/{name}"), "truncated")
    with pytest.raises(Refused, match=r"no checkpoint that could be used: .*last.ckpt.*previous.ckpt"):
        build(line.split())


def test_checkpoints_are_plain_torch_files(whole: Path) -> None:
    """They load with weights_only, and the weights into a network without this package's loaders."""
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    found, reasons = newest_good(whole / "checkpoints")
    assert found == whole / "checkpoints" / "last.ckpt"
    assert reasons == []


@pytest.mark.parametrize("what", ["full disk", "no permission"])
def test_a_checkpoint_that_cannot_be_written_ends_the_run_with_a_message(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 74; the checkpoint before is untouched, and the run goes on from it when there is room."""
    line = f"{PLAIN} --trainer.max_epochs 2 --run full"
    saved = LastCheckpoint._save_checkpoint

    def child() -> None:
        def fail(self: LastCheckpoint, trainer: Trainer, path: str) -> None:
            if trainer.current_epoch == 1:
                kind = OSError(28, "No space left on device") if what == "full disk" else PermissionError(13, "denied")
                monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(kind))
            saved(self, trainer, path)

        monkeypatch.setattr(LastCheckpoint, "_save_checkpoint", fail)
        main(line.split())

    assert finish(forked(child)) == 74
    assert ("No space left" if what == "full disk" else "denied") in Path("run.log").read_text()
    assert load_checkpoint("runs/full/checkpoints/last.ckpt")["global_step"] == STEPS
    assert not list(Path("runs/full/checkpoints").glob(".*"))
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()


def fake_scontrol(folder: Path, code: int = 0) -> None:
    """Put a `scontrol` on PATH that notes its words."""
    script = folder / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\nexit {code}\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "18", "SLURM_ARRAY_TASK_ID": "3"}, "18_3"),
        ({}, None),
        ({"SLURM_JOB_ID": "17; rm -r /"}, None),
    ],
)
def test_slurm_runs_the_job_again(
    variables: dict[str, str], job: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`scontrol requeue` is asked once, with the array's task, and only under SLURM."""
    fake_scontrol(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (job or "") in requeue()
    asked = tmp_path / "asked"
    assert asked.read_text() == f"requeue {job}\n" if job else not asked.exists()


@pytest.mark.usefixtures("_beside_whole")
def test_a_job_is_queued_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it was asked to make room, and not by its end; and it ends like an uninterrupted one."""
    fake_scontrol(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    for name, value in {"JOB_ID": "19", "ARRAY_JOB_ID": "18", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    line = f"{FIT} --run queued"
    assert finish(forked(command(line, At("on_train_batch_start", 1, 2, signal.SIGUSR1)))) == 128 + signal.SIGUSR1
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    assert (tmp_path / "asked").read_text() == "requeue 18_3\n"
    assert_same_run("whole", "queued")


def test_a_failing_scontrol_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is saved all the same."""
    fake_scontrol(tmp_path, code=1)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert requeue() == ""
    assert "scontrol requeue 17 failed" in capsys.readouterr().err


class Sloppy(LinearProbes):
    """An instrument that draws random numbers and leaves the generators as they come."""

    def probe(self, trainer: Trainer, pl_module: LightningModule, epoch: int, fails: bool = True) -> None:
        """Draw."""
        torch.rand(epoch + 1)
        random.random()


@pytest.mark.slow
def test_what_happens_between_steps_does_not_change_training() -> None:
    """Every step is seeded: a callback that draws, and validation, leave weights as they are."""
    ends = []
    for name, extra, callbacks in (("plain", "", []), ("drawn", "--trainer.limit_val_batches 0", [Sloppy()])):
        assert finish(forked(command(f"{FIT} {extra} --run {name}", *callbacks))) == 0, Path("run.log").read_text()
        ends.append(load_checkpoint(f"runs/{name}/checkpoints/last.ckpt")["state_dict"])
    assert same(*ends)


def test_steps_have_numbers_of_their_own() -> None:
    """Dropout differs between steps, epochs and seeds: the same images, and zero learning rate, give other losses."""
    rows = {}
    for seed in (0, 1):
        line = f"{PLAIN} --seed_everything {seed} --model.optimizer.lr 0 --run {seed}".replace("RandomFlip", "[]")
        assert finish(forked(command(line))) == 0, Path("run.log").read_text()
        with Path(f"runs/{seed}/metrics.csv").open(newline="") as text:
            rows[seed] = [row["train/loss"] for row in csv.DictReader(text) if row["train/loss"]]
    assert len(set(rows[0])) == 3
    assert rows[0] != rows[1]


@pytest.mark.usefixtures("_beside_whole")
def test_a_run_is_resumed_by_its_directory() -> None:
    """`resume` needs nothing else; the run ends like an uninterrupted one."""
    stop = At("on_train_batch_start", 1, 1, signal.SIGTERM)
    assert finish(forked(command(f"{FIT} --run stopped", stop))) == 128 + signal.SIGTERM
    assert finish(forked(lambda: main(["resume", "runs/stopped"]))) == 0, Path("run.log").read_text()
    assert_same_run("whole", "stopped")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "resume: missing: RUN; usage: stratoscope resume"),
        (["runs/nothing"], "resume: there is no run runs/nothing"),
        (["a", "b"], "resume: too many words: b"),
    ],
)
def test_resume_of_no_run_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2, and nothing is made."""
    with pytest.raises(SystemExit) as ended:
        main(["resume", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_two_processes_cannot_share_a_run() -> None:
    """The second is refused with exit code 2, by name, while the first lives; a dead one's run is taken over."""
    line = f"{PLAIN} --trainer.max_epochs 2 --run shared"
    first = forked(command(line, At("on_train_batch_start", 1, 0, signal.SIGSTOP)))
    lock = Path("runs/shared/lock")
    for _ in range(600):
        if Path("runs/shared/checkpoints/last.ckpt").is_file():
            break
        time.sleep(0.1)
    assert json.loads(lock.read_text())["pid"] == first.pid
    assert finish(forked(lambda: main(line.split()))) == 2
    assert f"run shared is already running (process {first.pid} on" in Path("run.log").read_text()
    first.kill()
    finish(first)
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    assert not lock.exists()


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


class KilledWhileWriting(Callback):
    """Kills this process when the first file of the second epoch's checkpoint is to reach the disk."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The bytes are in a file by then, under another name than the checkpoint's."""
        finished = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        if finished == 2:  # not when the place before its end is kept
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]


@pytest.mark.usefixtures("_beside_whole")
def test_a_run_killed_while_it_writes_a_checkpoint_goes_on() -> None:
    """From the one before; what was half written is never read, and cleared away."""
    line = f"{FIT} --run torn"
    assert finish(forked(command(line, KilledWhileWriting()))) == -signal.SIGKILL
    assert list(Path("runs/torn/checkpoints").glob(".*.part"))
    assert load_checkpoint("runs/torn/checkpoints/last.ckpt")["global_step"] == STEPS
    assert finish(forked(command(line))) == 0, Path("run.log").read_text()
    assert not list(Path("runs/torn/checkpoints").glob(".*"))
    assert_same_run("whole", "torn")


class Spoilt(Callback):
    """Makes the weights so large in the second epoch that the loss is no number."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Spoil them."""
        if trainer.global_step == STEPS + 2:
            with torch.no_grad():
                next(iter(pl_module.parameters())).fill_(torch.nan)


def test_a_loss_that_is_no_number_stops_the_run_before_the_update() -> None:
    """One line with step and checkpoint, exit code 1, status failed; the checkpoint is the last good one."""
    line = f"{PLAIN} --run nan"

    def child() -> None:
        instantiate = LightningModule.configure_callbacks
        LightningModule.configure_callbacks = lambda self: [*instantiate(self), Spoilt()]  # type: ignore[method-assign,misc]
        main(line.split())

    assert finish(forked(child)) == 1
    said = Path("run.log").read_text().splitlines()[-1]
    assert "the loss is nan at step 8 (epoch 2, batch 3); it has changed no weight" in said
    assert "last good checkpoint is" in said
    assert "runs/nan/checkpoints/last.ckpt" in said
    checkpoint = load_checkpoint("runs/nan/checkpoints/last.ckpt")
    assert checkpoint["global_step"] == STEPS
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint["state_dict"].values())
    assert json.loads(Path("runs/nan/run.json").read_text())["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_go_on(number: int) -> None:
    """Killed together, or one of them asked to end: weights, metrics and probes end as on two that were not."""
    line = f"{FIT} --trainer.max_epochs 4 --trainer.devices 2 --trainer.strategy ddp --threads 1"
    words = [sys.executable, "-m", "stratoscope", *line.split(), "--run"]

    def started(name: str) -> subprocess.Popen[bytes]:
        with Path(f"{name}.log").open("a") as log:
            return subprocess.Popen([*words, name], start_new_session=True, stdout=log, stderr=log)

    assert started("whole").wait(200) == 0, Path("whole.log").read_text()
    stopped, table = started("stopped"), Path("runs/stopped/metrics.csv")
    for _ in range(2000):
        if table.is_file() and len(table.read_text().splitlines()) > 2:
            break
        time.sleep(0.05)
    if number == signal.SIGKILL:
        os.killpg(stopped.pid, number)
    else:
        os.kill(stopped.pid, number)
    assert stopped.wait(100) == (-number if number == signal.SIGKILL else 128 + number)
    assert started("stopped").wait(200) == 0, Path("stopped.log").read_text()
    assert_same_run("whole", "stopped")


@pytest.mark.slow
def test_an_epoch_that_ends_before_the_data_goes_on_with_its_first_batch() -> None:
    """With limit_train_batches a checkpoint from the end of an epoch is not one from the middle of the data."""
    line = f"{FIT} --trainer.limit_train_batches 3"
    assert finish(forked(command(f"{line} --run whole"))) == 0, Path("run.log").read_text()
    assert finish(forked(command(f"{line} --run cut", At("on_train_batch_start", 1, 1)))) == -signal.SIGKILL
    assert finish(forked(command(f"{line} --run cut"))) == 0, Path("run.log").read_text()
    assert_same_run("whole", "cut")


def test_saves_that_are_killed_leave_good_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a save is cut off before the file is replaced, the last two good ones are known as such."""
    file, writer = tmp_path / "last.ckpt", WholeFiles()

    def save(number: int) -> None:
        writer.save_checkpoint({"state_dict": {}, "number": number}, file)

    save(1)
    save(2)
    replace = os.replace

    def killed(part: Path, target: Path) -> None:
        if Path(target) == file:
            raise KeyboardInterrupt
        replace(part, target)

    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                save(3)
        assert load_checkpoint(str(file))["number"] == 2
        assert load_checkpoint(str(tmp_path / "previous.ckpt"))["state_dict"] == {}
    save(4)
    found = [load_checkpoint(str(tmp_path / name)) for name in ("last.ckpt", "previous.ckpt")]
    assert [checkpoint["number"] for checkpoint in found] == [4, 2]
    damaged(file, "a flipped bit")
    save(5)  # does not keep the damaged one in place of the good one before it
    assert load_checkpoint(str(tmp_path / "previous.ckpt"))["number"] == 2


def test_a_run_that_changed_while_a_command_started_is_refused() -> None:
    """The second command has seen an older state; nothing of the first one's is overwritten."""
    first, second = (build(f"{FIT} --run one".split()) for _ in range(2))
    first.directory.claim(first.record, first.asked)
    first.directory.end("finished")
    before = Path("runs/one/run.json").read_text()
    with pytest.raises(Refused, match="run one has changed while this command started; give it again"):
        second.directory.claim(second.record, second.asked)
    assert Path("runs/one/run.json").read_text() == before
    assert not Path("runs/one/lock").exists()


def test_a_run_killed_before_its_record_begins_anew() -> None:
    """Its folder holds no more than a lock and a config."""
    folder = Path("runs/early")
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "config.yaml").write_text("half: ")
    assert finish(forked(command(f"{PLAIN} --trainer.max_epochs 1 --run early"))) == 0, Path("run.log").read_text()


def test_a_run_in_another_thread_leaves_signals_to_the_main_one_and_ends_alike() -> None:
    """Python lets only the main thread set handlers."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    seen: list[object] = []

    class Look(Callback):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            seen.append({number: signal.getsignal(number) for number in SIGNALS} == handlers)

    thread = threading.Thread(target=command(f"{FIT} --trainer.max_epochs 1 --run beside", Look()))
    thread.start()
    thread.join(120)
    main(f"{FIT} --trainer.max_epochs 1 --run alone".split())
    assert seen == [True] * STEPS
    assert json.loads(Path("runs/beside/run.json").read_text())["status"] == "finished"
    assert Path("runs/beside/probes.csv").read_bytes() == Path("runs/alone/probes.csv").read_bytes()
