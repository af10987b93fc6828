"""Tests of callbacks/guards/logged_results.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from stratoscope.callbacks.guards.logged_results import of_all_processes, put_back_results, results_so_far
from tests.callbacks.guards.plain_trainer import STEPS, Logging, data, trainer


class Looking(Callback):
    """Keeps what was logged behind every step."""

    def __init__(self) -> None:
        self.found: list[dict[str, dict[str, Any]]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Look."""
        self.found.append(results_so_far(trainer.fit_loop.epoch_loop._results))


class Taking(Callback):
    """Puts what another process has logged in the first half of an epoch into one that has not had it."""

    def __init__(self, found: dict[str, dict[str, Any]]) -> None:
        self.found = found

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step of the second half."""
        put_back_results(trainer, self.found)


def test_results_so_far_are_plain_and_say_how_they_were_logged(tmp_path: Path) -> None:
    """Weighted sums and sizes of means, the largest of a maximum, and the name of a metric, which has its own state."""
    looking = Looking()
    trainer([looking], max_epochs=1).fit(Logging(), datamodule=data())
    assert len(looking.found) == STEPS
    third = {part["meta"]["name"]: part for part in looking.found[2].values()}
    assert set(third) == {"mean", "most", "accuracy"}
    assert [third[name]["reduce"] for name in third] == ["mean", "max", "mean"]
    assert third["mean"]["so_far"]["cumulated_batch_size"] == 3 * 50
    assert third["accuracy"]["meta"]["metric_attribute"] == "accuracy"
    assert not third["accuracy"]["so_far"].keys() & {"value"}
    torch.save(looking.found, tmp_path / "file")
    again = torch.load(tmp_path / "file", weights_only=True)  # nothing in it needs code to be read
    assert again[2].keys() == looking.found[2].keys()


def test_an_epoch_goes_on_as_if_all_had_been_logged_in_it() -> None:
    """Two steps that are put back count in the means and maxima like those that follow."""
    alone, looking, metrics = Logging(), Looking(), []
    trainer([looking], max_epochs=1, limit_train_batches=2).fit(alone, datamodule=data())
    for callbacks in ([], [Taking(looking.found[1])]):
        torch.manual_seed(1)
        run = trainer(callbacks, max_epochs=1, limit_train_batches=2)
        run.fit(Logging(), datamodule=data())
        metrics.append({name: float(value) for name, value in run.callback_metrics.items()})
    own, both = metrics
    before = {part["meta"]["name"]: part["so_far"] for part in looking.found[1].values()}
    assert both["mean"] == pytest.approx((own["mean"] + float(before["mean"]["value"]) / 100) / 2)
    assert both["most"] == pytest.approx(max(own["most"], float(before["most"]["value"])))
    assert both["most"] != pytest.approx(min(own["most"], float(before["most"]["value"])))


def test_of_one_process_there_is_one_value() -> None:
    """Without a group, as it is."""
    assert not dist.is_initialized()
    assert of_all_processes({"a": 1}) == [{"a": 1}]
