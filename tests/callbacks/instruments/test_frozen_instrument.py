"""Tests of callbacks/instruments/frozen_instrument.py: what every instrument that freezes the network has from it."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from stratoscope.callbacks.instruments.frozen_instrument import FrozenInstrument, shard_of
from stratoscope.callbacks.instruments.instrument import Planned
from tests.callbacks.small_layers import Module, fit, loader


class Somebodys(FrozenInstrument):
    """Notes what it is asked for; may fail, or change the network."""

    TABLE = "sums"

    def __init__(self, fails: Exception | None = None) -> None:
        super().__init__(None)
        self.fails, self.seen = fails, list[Any]()

    def metric_names(self, planned: Planned) -> Iterator[str]:
        """None."""
        yield from ()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure."""
        self.measure(trainer, pl_module, trainer.current_epoch + 1, fails=False)

    def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
        assert not any(part.training for part in module.modules())
        assert not torch.is_grad_enabled()
        torch.rand(3)
        for one in module.parameters():
            one.fill_(7.0)
        self.seen.append(("measured", epoch))
        if self.fails and epoch == 1:
            raise self.fails

    def _file_failure(self, epoch: int, reason: str) -> None:
        self.seen.append(("failed", epoch, reason))

    def _publish(self, trainer: Trainer, epoch: int) -> None:
        self.seen.append(("published", epoch))

    def _begin_stored(self, trainer: Trainer, module: LightningModule) -> None:
        self.seen.append("begun")

    def _print(self, trainer: Trainer) -> None:
        self.seen.append("printed")


def weights(folder: Path, *callbacks: Any) -> dict[str, Any]:
    """Of a network that was trained beside these."""
    torch.manual_seed(0)
    return fit(folder, nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5), nn.Linear(4, 3)), *callbacks)


def test_training_is_what_it_is_without(tmp_path: Path) -> None:
    """Whatever is done to the frozen network, and to the generators."""
    instrument = Somebodys()
    beside, alone = weights(tmp_path, instrument), weights(tmp_path)
    assert all(torch.equal(one, alone[name]) for name, one in beside.items())
    assert instrument.seen == [("measured", 1), ("published", 1), ("measured", 2), ("published", 2)]


def test_a_failure_costs_an_epoch(tmp_path: Path) -> None:
    """It is filed and said, and training goes on as without it."""
    instrument = Somebodys(RuntimeError("too  little\nmemory"))
    with pytest.warns(
        UserWarning, match="sums of epoch 1 failed, and training goes on: RuntimeError: too little memory"
    ):
        beside = weights(tmp_path, instrument)
    assert instrument.seen[1] == ("failed", 1, "RuntimeError: too little memory")
    assert instrument.seen[-1] == ("published", 2)
    alone = weights(tmp_path)
    assert all(torch.equal(one, alone[name]) for name, one in beside.items())


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    """As nothing else could be written either."""
    with pytest.raises(OSError, match="full"):
        weights(tmp_path, Somebodys(OSError(errno.ENOSPC, "full")))


def test_a_stored_network_is_measured_once(tmp_path: Path) -> None:
    """By `validate`; an error is one there."""
    instrument, module = Somebodys(), Module(nn.Linear(8, 3))
    trainer = Trainer(
        accelerator="cpu", default_root_dir=tmp_path, logger=False, callbacks=[instrument], enable_progress_bar=False
    )
    trainer.validate(module, loader(20), verbose=False)
    assert instrument.seen == ["begun", ("measured", 0), ("published", 0), "printed"]
    assert (shard_of(trainer).rank, shard_of(trainer).ranks) == (0, 1)


def test_what_cannot_be_put_back_is_measured_no_more(tmp_path: Path) -> None:
    """Once it has been seen."""

    class Counting(nn.Linear):
        """Reads on in an iterator with every pass."""

        def __init__(self) -> None:
            super().__init__(8, 3)
            self.numbers = iter(range(10_000))

    class Reading(Somebodys):
        def _measure(self, trainer: Trainer, module: LightningModule, epoch: int) -> None:
            next(module.network.numbers)  # type: ignore[arg-type, union-attr]
            super()._measure(trainer, module, epoch)

    instrument = Reading()
    with pytest.warns(UserWarning, match=r"Reading changes Module in network\.numbers, which cannot be put back"):
        fit(tmp_path, Counting(), instrument)
    assert [one for one in instrument.seen if one[0] == "measured"] == [("measured", 1)]
