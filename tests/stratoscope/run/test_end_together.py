"""One of several processes raises, dies or hangs: all end in time, with a code, and the one is named."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks import LinearProbes
from stratoscope.run.checkpoint import newest_good
from tests.forked_runs import command, finish_pair, said

TIMEOUT = 5
RANKS = 2
RUN = (
    "fit --model MLP --model.width 4 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 64 "
    "--data.test_size 20 --data.batch_size 8 --trainer.max_epochs 3 --threads 1 --run r --trainer.accelerator cpu "
    "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu* --trainer.callbacks.tolerance 0.01 "
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
    codes = finish_pair(command(RUN.split(), Misbehaving(rank, how, where)), "r")
    assert all(codes), said()
    verb = {"raises": f"rank {rank} of 2 raised ValueError", "hangs": f"rank {rank} of 2 hangs"}
    died = f"rank {rank} has died" if rank == 0 else f"rank {rank} of 2 has died"
    assert verb.get(how, died) in said(), said()
    assert newest_good(Path("runs/r/checkpoints"))[0]
