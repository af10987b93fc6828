"""What a module has logged in the epoch under way, as plain values for a checkpoint, and put back from them."""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from lightning.pytorch.trainer.connectors.logger_connector.result import (
    _Metadata,
    _ResultCollection,
    _ResultMetric,
    _Sync,
)
from torch import Tensor

PLAIN = (
    "fx",
    "name",
    "prog_bar",
    "logger",
    "on_step",
    "on_epoch",
    "enable_graph",
    "add_dataloader_idx",
    "dataloader_idx",
    "metric_attribute",
)
SO_FAR = ("value", "cumulated_batch_size", "_forward_cache")


def results_so_far(results: _ResultCollection) -> dict[str, dict[str, Any]]:
    """What there is to go on from: by key, how it was logged and what it has come to.

    Args:
        results: Of the training loop.
    """
    return {
        key: {
            "meta": {name: getattr(one.meta, name) for name in PLAIN},
            "reduce": one.meta.reduce_fx.__name__,
            "sync": {"_should": one.meta.sync.should, "rank_zero_only": one.meta.sync.rank_zero_only},
            "is_tensor": one.is_tensor,
            "so_far": {
                name: value.detach().cpu().clone()
                for name in SO_FAR
                if isinstance(value := getattr(one, name, None), Tensor)
            },
        }
        for key, one in results.items()
        if not one.has_reset and one.meta.sync.group is None and (one.is_tensor or one.meta.metric_attribute)
    }


def put_back_results(trainer: Trainer, found: dict[str, dict[str, Any]]) -> None:
    """Let the epoch go on as if all that had been logged in this process.

    Args:
        trainer: At the beginning of its training, which goes on within an epoch.
        found: What `results_so_far` gave.
    """
    module, results = trainer.lightning_module, trainer.fit_loop.epoch_loop._results
    for key, one in found.items():
        meta = _Metadata(**one["meta"], reduce_fx=getattr(torch, one["reduce"]))
        meta.sync = _Sync(fn=trainer.strategy.reduce, **one["sync"])
        metric = _ResultMetric(meta, one["is_tensor"])
        if not one["is_tensor"]:
            metric.value = module.get_submodule(str(meta.metric_attribute))
        for name, value in one["so_far"].items():
            setattr(metric, name, value.to(module.device))
        metric._update_count = 1
        results[key] = metric
    trainer._logger_connector._first_loop_iter = False  # the next batch is not the first of the epoch


def of_all_processes(value: Any) -> list[Any]:
    """The values of all processes, by rank; every process has to ask."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found
