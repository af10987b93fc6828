"""Whole runs on a GPU: they go on after an interruption as if nothing had happened, and are probed alike elsewhere."""

import csv
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from stratoscope.callbacks import OnlineProbes
from stratoscope.fit.command import build
from stratoscope.run.checkpoint import load_checkpoint
from tests.gpu.devices import RUNS

NETWORK = "--model WideResNet --model.depth 10 --model.width 1 --model.dropout 0.3"
DATA = "--data Shapes --data.train_size 100 --data.test_size 40 --data.batch_size 20 --data.corruption RandomLabels"
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.width 16"
FIT = (
    f"fit {NETWORK} {DATA} --data.augmentation RandomFlip --trainer.max_epochs 2 --trainer.deterministic true {PROBES}"
)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)
    yield
    torch.use_deterministic_algorithms(False)


class Ended(Callback):
    """Asks the run to end in the middle of its second epoch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Send the signal."""
        if (trainer.current_epoch, batch_idx) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)


def run(name: str, device: str, *callbacks: Callback) -> None:
    """Begin a run or go on with it."""
    where = ["--trainer.accelerator", {"cuda": "gpu"}.get(device, device)]
    command = build([*FIT.split(), *PROBES.split(), "--run", name, *where])
    command.trainer.callbacks[:0] = callbacks  # type: ignore[attr-defined]
    command.start()


def table(name: str, file: str) -> list[dict[str, str]]:
    """The rows of a run's table."""
    with Path("runs", name, file).open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("device", RUNS)
def test_a_run_that_was_ended_goes_on_to_the_same_end(device: str) -> None:
    """Weights, moments, metrics and probes are equal to the bit."""
    run("whole", device, OnlineProbes(width=16))
    with pytest.raises(SystemExit) as ended:
        run("ended", device, OnlineProbes(width=16), Ended())
    assert ended.value.code == 128 + signal.SIGTERM
    run("ended", device, OnlineProbes(width=16))
    one, other = (load_checkpoint(f"runs/{name}/checkpoints/last.ckpt") for name in ("whole", "ended"))
    assert one["global_step"] == other["global_step"] == 10
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, other["state_dict"][name]), name
    for file in ("metrics.csv", "probes.csv", "online_probes.csv"):
        assert table("whole", file) == table("ended", file)


@pytest.mark.parametrize("device", RUNS)
def test_a_checkpoint_is_probed_alike_on_the_cpu(device: str) -> None:
    """`validate` of a network from the device gives, on the CPU, the same rows to rounding."""
    run("there", device)
    words = "--trainer.accelerator cpu --ckpt_path runs/there/checkpoints/last.ckpt --run here"
    build(["validate", *words.split()]).start()
    there = [row for row in table("there", "probes.csv") if row["epoch"] == "2"]
    here = table("here", "probes.csv")
    assert [row["layer"] for row in there] == [row["layer"] for row in here]
    for one, other in zip(there, here, strict=True):
        assert not one["failed"] + other["failed"]
        assert abs(int(one["correct"]) - int(other["correct"])) <= 2, one
        assert abs(float(one["objective"]) - float(other["objective"])) <= 1e-2, one
