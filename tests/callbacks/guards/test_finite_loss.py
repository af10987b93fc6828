"""Tests of callbacks/guards/finite_loss.py without an interruption; NaN is in tests/stratoscope."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.commands.table import main
from stratoscope.run.checkpoint import load_checkpoint

STEPS = 8  # of an epoch


class Overflow(Callback):
    """Makes the logits so far apart in the second epoch that their difference is no float32."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the biases of the last layer."""
        if trainer.global_step == STEPS + 4:
            with torch.no_grad():
                list(pl_module.parameters())[-1].copy_(torch.tensor([3e38] + 9 * [-3e38]))


def test_an_infinite_loss_stops_the_run_before_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the step, exit code 1; what is saved is finite."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    monkeypatch.setattr(LightningModule, "configure_callbacks", lambda self: [Overflow()])
    line = "fit --model MLP --model.width 8 --data Digits --data.batch_size 200 --trainer.max_epochs 3 --run r"
    with pytest.raises(SystemExit) as ended:
        main(f"{line} --trainer.accelerator cpu --trainer.enable_progress_bar false".split())
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"the loss is inf at step {STEPS + 5} (epoch 2, batch 5); it has changed no weight" in said
    checkpoint = load_checkpoint("runs/r/checkpoints/last.ckpt")
    assert checkpoint["global_step"] == STEPS
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint["state_dict"].values())
    assert json.loads(Path("runs/r/run.json").read_text())["status"] == "failed"
