"""One of several processes raises, dies or hangs: all end in time, with a code, and the one is named."""

import contextlib
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import LinearProbes
from stratoscope.fit.command import build
from stratoscope.run.checkpoint import newest_good

FORK = multiprocessing.get_context("fork")
TIMEOUT = 5
RANKS = 2
RUN = (
    "fit --model MLP --data Digits --data.batch_size 200 --trainer.max_epochs 3 --threads 1 --run r "
    "--trainer.accelerator cpu --trainer.callbacks LinearProbes --trainer.callbacks.tolerance 0.01 "
    f"--trainer.devices {RANKS} --trainer.strategy DDPStrategy --trainer.strategy.timeout 0:00:0{TIMEOUT}"
)


def misbehave(how: str) -> None:
    """Raise, die or hang."""
    if how == "raises":
        raise ValueError("no more")
    if how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


class Misbehaving(Callback):
    """In the second epoch, one rank misbehaves in a step, in a probe or in a save."""

    def __init__(self, rank: int, how: str, where: str) -> None:
        self.rank, self.how, self.where = rank, how, where

    def _due(self, trainer: Trainer) -> bool:
        return trainer.global_rank == self.rank and trainer.current_epoch == 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """In a step."""
        if self.where == "step" and self._due(trainer) and batch_idx == 2:
            misbehave(self.how)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """In a probe: in the middle of its fits."""
        if self.where == "probe" and self._due(trainer):
            probes = next(one for one in trainer.callbacks if isinstance(one, LinearProbes))  # type: ignore[attr-defined]
            probes._fit = lambda *layer: misbehave(self.how)  # type: ignore[method-assign, assignment]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """In a save, which only the first process writes."""
        if self.where == "save" and self._due(trainer):
            misbehave(self.how)


def one_of_them(misbehaving: Callback) -> None:
    """A process of the run, as a launcher would have started it."""
    with (
        Path("run.log").open("a", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        os.dup2(log.fileno(), 2)
        command = build(RUN.split())
        command.trainer.callbacks.insert(0, misbehaving)  # type: ignore[attr-defined]
        command.start()


def _cases() -> list[Any]:
    often = {("hangs", "step", 0), ("raises", "step", 1)}
    return [
        pytest.param(*case, marks=[] if case in often else [pytest.mark.slow])
        for how in ("raises", "dies", "hangs")
        for where in ("step", "probe", "save")
        for rank in ((0, 1) if where != "save" else (0,))
        for case in [(how, where, rank)]
    ]


@pytest.mark.parametrize(("how", "where", "rank"), _cases())
def test_one_process_ends_all(how: str, where: str, rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time-out and ten seconds; the last checkpoint is good, and none is left behind."""
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"WORLD_SIZE": RANKS, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("STRATOSCOPE_RUN", "r")
    processes = []
    for local in range(RANKS):
        monkeypatch.setenv("LOCAL_RANK", str(local))
        processes.append(FORK.Process(target=one_of_them, args=(Misbehaving(rank, how, where),)))
        processes[-1].start()
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    said = Path("run.log").read_text()
    assert all(codes), said  # None for a process that is still there would be no better than 0
    verb = {"raises": f"rank {rank} of 2 raised ValueError", "hangs": f"rank {rank} of 2 hangs"}
    died = f"rank {rank} has died" if rank == 0 else f"rank {rank} of 2 has died"
    assert verb.get(how, died) in said, said
    assert newest_good(Path("runs/r/checkpoints"))[0]
