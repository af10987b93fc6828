"""A long small run: memory, threads and open files stay what they were."""

import os
import threading
from pathlib import Path

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.fit.command import build

EPOCHS = int(os.environ.get("STRATOSCOPE_TEST_SOAK_EPOCHS", "200"))


class Gauge(Callback):
    """Notes memory in MiB, threads and open files after every epoch."""

    def __init__(self) -> None:
        self.read: list[tuple[float, int, int]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the gauges."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        self.read.append((memory, threading.active_count(), len(os.listdir("/proc/self/fd"))))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads /proc")
def test_a_long_run_takes_no_more_than_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a quarter of the epochs on memory grows by less than 20 MiB, threads and open files not at all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    line = "fit --model MLP --model.width 16 --data Digits --data.batch_size 500 --trainer.accelerator cpu "
    line += f"--trainer.max_epochs {EPOCHS} --trainer.callbacks+ LinearProbes --trainer.callbacks.taps *relu* "
    line += "--trainer.callbacks.every_n_epochs 5 --trainer.callbacks.measures [rank,similarity] "
    command, gauge = build([*line.split(), "--trainer.callbacks+", "OnlineProbes"]), Gauge()
    command.trainer.callbacks.insert(0, gauge)  # type: ignore[attr-defined]
    command.start()
    assert len(gauge.read) == EPOCHS
    memory, threads, files = zip(*gauge.read[EPOCHS // 4 :], strict=True)
    assert max(memory) - memory[0] < 20, memory
    assert max(threads) <= threads[0], threads
    assert max(files) <= files[0], files
