"""Tests of what happens to interrupted runs: they go on, and end as if nothing had happened.

Runs are forked from this process, which has imported everything already. Random moments are in test_kills.py.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import LinearProbes
from stratoscope.commands.table import main
from stratoscope.results.record import load_run
from stratoscope.run.interruption import SIGNALS, requeue
from tests.forked_runs import command, finish, forked, said
from tests.interrupted_runs import (
    FIT,
    OPTIONS,
    PLAIN,
    PROBES,
    STEPS,
    At,
    assert_same_runs,
    differences,
    run,
    saved,
)

WIDE = f"fit --model WideResNet --model.depth 10 --model.width 1 --model.dropout 0.3 {OPTIONS} --trainer.max_epochs 3"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


MOMENTS = [
    [("on_train_batch_start", 1, 2), ("on_train_epoch_end", 1, 0), ("on_save_checkpoint", 1, 0)],
    [("on_train_batch_end", 1, 4)],  # the last of an epoch
    [("on_validation_batch_end", 1, 0)],
    [("on_train_start", 0, 0)],
    [("on_train_batch_start", 0, 0)],
    [("on_validation_start", 1, 0)],
    [("on_train_epoch_start", 2, 0)],
    [("on_train_end", 3, 0)],
]


@pytest.mark.usefixtures("beside_whole")
@pytest.mark.parametrize("moments", [MOMENTS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in MOMENTS[1:])])
def test_a_killed_run_goes_on(moments: list[tuple[str, int, int]]) -> None:
    """`kill -9` at every kind of moment, each time the same command: it ends like an uninterrupted run."""
    line = f"{FIT} --run killed"
    for moment, epoch, batch in moments:
        assert run(line, At(moment, epoch, batch)) == -signal.SIGKILL, said()
    assert run(line) == 0, said()
    assert_same_runs("whole", "killed")


SIGNALLED = [  # signal, moment, epoch, batch, steps in the checkpoint
    [
        (signal.SIGINT, "on_train_batch_start", 1, 2, STEPS + 3),
        (signal.SIGUSR1, "on_train_batch_end", 1, 4, 2 * STEPS),
        (signal.SIGTERM, "on_validation_start", 1, 0, 2 * STEPS),
    ],
    [(signal.SIGTERM, "on_train_batch_start", 0, 0, 1)],
    [(signal.SIGINT, "on_train_epoch_end", 0, 0, STEPS)],
]


@pytest.mark.usefixtures("beside_whole")
@pytest.mark.parametrize(
    "signals", [SIGNALLED[0], *(pytest.param(one, marks=pytest.mark.slow) for one in SIGNALLED[1:])]
)
def test_a_signal_saves_after_the_step(signals: list[tuple[int, str, int, int, int]]) -> None:
    """Each time it ends with the signal's code behind that very step, and goes on like an uninterrupted run."""
    line = f"{FIT} --run stopped"
    for count, (number, moment, epoch, batch, step) in enumerate(signals, 1):
        assert run(line, At(moment, epoch, batch, number)) == 128 + number, said()
        assert saved("stopped")["global_step"] == step
        assert load_run("runs/stopped").status == "interrupted"
        assert said().count("the run is saved; the same command with --run goes on") == count
    assert run(line) == 0, said()
    assert_same_runs("whole", "stopped")


def test_a_second_signal_ends_at_once() -> None:
    """Without waiting for anything; the run goes on from the checkpoint before."""
    twice = [At("on_train_batch_start", 1, 2, number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert run(f"{PLAIN} --run twice", *twice) == 128 + signal.SIGINT
    assert saved("twice")["global_step"] == STEPS


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
    line = f"{WIDE} {PROBES.replace('network.3', 'network.pool')} {VARIANTS[variant]}"
    assert run(f"{line} --run whole") == 0, said()
    stop = At("on_train_batch_start", 1, 1, signal.SIGTERM)
    assert run(f"{line} --run stopped", stop) == 128 + signal.SIGTERM, said()
    assert saved("stopped")["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"taken": 2}]
    assert run(f"{line} --run stopped") == 0, said()
    assert_same_runs("whole", "stopped")


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


@pytest.mark.usefixtures("beside_whole")
def test_a_job_is_queued_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it was asked to make room, and not by its end; and it ends like an uninterrupted one."""
    fake_scontrol(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    for name, value in {"JOB_ID": "19", "ARRAY_JOB_ID": "18", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    line = f"{FIT} --run queued"
    assert run(line, At("on_train_batch_start", 1, 2, signal.SIGUSR1)) == 128 + signal.SIGUSR1
    assert run(line) == 0, said()
    assert (tmp_path / "asked").read_text() == "requeue 18_3\n"
    assert_same_runs("whole", "queued")


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
        assert run(f"{FIT} {extra} --run {name}", *callbacks) == 0, said()
        ends.append(saved(name)["state_dict"])
    assert not list(differences(ends[0], ends[1]))


def test_steps_have_numbers_of_their_own() -> None:
    """Dropout differs between steps, epochs and seeds: the same images, and zero learning rate, give other losses."""
    line = f"{PLAIN} --model.rate 0 --run".replace("RandomFlip", "[]")
    losses = {}
    for seed, epochs in ((0, 3), (1, 1)):
        assert run(f"{line} {seed} --seed_everything {seed} --trainer.max_epochs {epochs}") == 0, said()
        losses[seed] = [loss for _, loss in load_run(f"runs/{seed}").values("train/loss")]
    assert len(set(losses[0])) == 3
    assert losses[0][0] != losses[1][0]


@pytest.mark.usefixtures("beside_whole")
def test_a_run_is_resumed_by_its_directory() -> None:
    """`resume` needs nothing else, but for a class that is not ours; the run ends like an uninterrupted one."""
    stop = At("on_train_batch_start", 1, 1, signal.SIGTERM)
    assert run(f"{FIT} --run stopped", stop) == 128 + signal.SIGTERM
    assert finish(forked(lambda: main(["resume", "runs/stopped", "--trust"]))) == 0, said()
    assert_same_runs("whole", "stopped")


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
    line = said().splitlines()[-1]
    assert "the loss is nan at step 8 (epoch 2, batch 3); it has changed no weight" in line
    assert "last good checkpoint is" in line
    assert "runs/nan/checkpoints/last.ckpt" in line
    checkpoint = saved("nan")
    assert checkpoint["global_step"] == STEPS
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint["state_dict"].values())
    assert load_run("runs/nan").status == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_go_on(number: int) -> None:
    """Killed together, or one of them asked to end: weights, metrics and probes end as on two that were not."""
    line = f"{WIDE} --trainer.max_epochs 4 --trainer.devices 2 --trainer.strategy ddp --threads 1"
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
    assert_same_runs("whole", "stopped")


@pytest.mark.slow
def test_an_epoch_that_ends_before_the_data_goes_on_with_its_first_batch() -> None:
    """With limit_train_batches a checkpoint from the end of an epoch is not one from the middle of the data."""
    line = f"{FIT} --trainer.limit_train_batches 3"
    assert run(f"{line} --run whole") == 0, said()
    assert run(f"{line} --run cut", At("on_train_batch_start", 1, 1)) == -signal.SIGKILL
    assert run(f"{line} --run cut") == 0, said()
    assert_same_runs("whole", "cut")


@pytest.mark.usefixtures("no_pictures")
def test_a_run_in_another_thread_leaves_signals_to_the_main_one_and_ends_alike() -> None:
    """Python lets only the main thread set handlers."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    seen: list[object] = []

    class Look(Callback):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            seen.append({number: signal.getsignal(number) for number in SIGNALS} == handlers)

    thread = threading.Thread(target=command(f"{FIT} --trainer.max_epochs 1 --run beside".split(), Look()))
    thread.start()
    thread.join(120)
    main(f"{FIT} --trainer.max_epochs 1 --run alone".split())
    assert seen == [True] * STEPS
    assert load_run("runs/beside").status == "finished"
    assert Path("runs/beside/probes.csv").read_bytes() == Path("runs/alone/probes.csv").read_bytes()
