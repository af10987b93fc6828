"""Tests of stratoscope/fit/trainer_check.py; on the command line they are in callbacks/test_lightnings_own.py."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
)
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.datamodules import Digits, PartialLabels, RandomSubset
from stratoscope.errors import Refused
from stratoscope.fit.checks import planned_run
from stratoscope.fit.trainer_check import check_monitors, check_names, check_schedule, check_stepping, check_trainer
from stratoscope.models import MLP


def trainer(*callbacks: Callback, **options: Any) -> Trainer:
    """One that writes nothing, for three epochs."""
    usual: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    own = {"accelerator": "cpu", "max_epochs": 3, "callbacks": list(callbacks)}
    return Trainer(**{**usual, **own, "enable_progress_bar": False, **options})


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_strategies_for_notebooks_are_refused(strategy: str) -> None:
    """What their processes leave is nowhere in this one; with what to take instead."""
    with pytest.raises(Refused, match=r"use --trainer\.strategy ddp$"):
        check_trainer(trainer(strategy=strategy, devices=2))


@pytest.mark.parametrize(
    ("finder", "option"), [(BatchSizeFinder, "batch_size"), (LearningRateFinder, r"optimizer\.lr")]
)
def test_callbacks_that_change_the_config_are_refused(finder: type[Callback], option: str) -> None:
    """With the option that takes what they would find."""
    with pytest.raises(Refused, match=rf"{finder.__name__} changes what config\.yaml says .*{option}$"):
        check_trainer(trainer(finder()))
    check_trainer(trainer(GradientAccumulationScheduler({0: 1}), EarlyStopping("x")))


def test_instruments_of_a_kind_need_names() -> None:
    """Each its own; those of another kind may share it, as their files have other names."""
    check_names([LinearProbes(), OnlineProbes(), LinearProbes(name="a"), OnlineProbes(name="a"), EarlyStopping("x")])
    with pytest.raises(Refused, match=r"two LinearProbes without a name: give each a --trainer.callbacks.name"):
        check_names([LinearProbes(), OnlineProbes(), LinearProbes()])
    with pytest.raises(Refused, match="two OnlineProbes of the name a: "):
        check_names([OnlineProbes(name="a"), OnlineProbes(name="b"), OnlineProbes(name="a")])


def one_cycle(steps: int, interval: str = "step") -> dict[str, Any]:
    """What our Classifier configures with a OneCycleLR of this length."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = OneCycleLR(optimizer, 0.1, total_steps=steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}


@pytest.mark.parametrize(
    ("length", "interval", "options", "times"),
    [
        (12, "step", {}, 12),  # three epochs of four batches
        (6, "step", {"accumulate_grad_batches": 2}, 6),
        (6, "step", {"accumulate_grad_batches": 3}, 6),  # the last step of an epoch is of one batch
        (7, "step", {"max_steps": 7}, 7),
        (12, "step", {"max_steps": 70}, 12),
        (3, "epoch", {}, 3),
        (1, "epoch", {"max_steps": 7}, 1),  # the second epoch does not end
        (9, "step", {"max_epochs": -1, "max_steps": 9}, 9),
    ],
)
def test_a_schedule_lasts_as_long_as_the_run(length: int, interval: str, options: dict[str, Any], times: int) -> None:
    """A shorter one is refused, of a longer one it is said."""
    made = trainer(**options)
    assert check_schedule(made, one_cycle(length, interval), 4) == []
    (line,) = check_schedule(made, one_cycle(length + 1, interval), 4)
    assert line.startswith(f"OneCycleLR is made for {length + 1} {interval}s, the run has {times} {interval}s: ")
    if length > 1:
        wanted = f"ends after {length - 1} {interval}s, the run has {times} {interval}s: give .*total_steps {times}$"
        with pytest.raises(Refused, match=wanted):
            check_schedule(made, one_cycle(length - 1, interval), 4)


def test_a_run_without_end_outlasts_every_schedule() -> None:
    """What to give is its end."""
    with pytest.raises(Refused, match=r"the run has no end: give --trainer\.max_epochs$"):
        check_schedule(trainer(max_epochs=-1), one_cycle(10**6), 4)


def test_schedules_of_which_nothing_is_known_are_left_alone() -> None:
    """Other classes, other forms than our Classifier's, and where callbacks change how often it is stepped."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    step = {"optimizer": optimizer, "lr_scheduler": {"scheduler": StepLR(optimizer, 1), "interval": "step"}}
    others: list[Any] = [optimizer, [optimizer], ([optimizer], []), None, {"optimizer": optimizer}, step]
    others += [{"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, 1)}]
    for one in others:
        assert check_schedule(trainer(), one, 4) == []
    assert check_schedule(trainer(GradientAccumulationScheduler({0: 2})), one_cycle(1), 4) == []


def stored(model: str, scheduler: str, **settings: Any) -> dict[str, Any]:
    """The config of a run."""
    schedule = {"class_path": f"torch.optim.lr_scheduler.{scheduler}"}
    return {"model": {"class_path": model, "init_args": {"scheduler": schedule, **settings}}}


def test_a_run_of_the_time_when_schedules_were_stepped_by_mistake_does_not_go_on() -> None:
    """Only ours, and only if its schedule is made for steps."""
    with pytest.raises(Refused, match=r"when OneCycleLR was stepped once an epoch .* --model\.interval epoch$"):
        check_stepping(stored("stratoscope.models.MLP", "OneCycleLR"))
    for config in (
        stored("stratoscope.models.MLP", "OneCycleLR", interval=None),
        stored("stratoscope.models.MLP", "StepLR"),
        stored("theirs.MLP", "OneCycleLR"),
        {"model": None},
        {"model": {"class_path": "stratoscope.models.MLP"}},
        {},
    ):
        check_stepping(config)


def watched(
    *callbacks: Callback, model: LightningModule | None = None, corrupted: bool = False, **options: Any
) -> None:
    """Check the monitors of a run on digits, of which half of the labels may be random."""
    corruptions = [RandomSubset(40, seed=0), *([PartialLabels(0.5, seed=0)] if corrupted else [])]
    data = Digits(corruption=corruptions)
    data.setup()
    made = trainer(*callbacks, **options)
    batch = data.sets["test"].__getitems__(range(2))
    check_monitors(made, planned_run(made, model or MLP(width=2), data, batch, True))


def plateau(monitor: str) -> MLP:
    """A network whose schedule watches a metric."""

    def schedule(optimizer: Any) -> LRScheduler:
        return ReduceLROnPlateau(optimizer)

    return MLP(width=2, scheduler=schedule, monitor=monitor)


PROBED = "probe/true_label/test/network.relu1"


@pytest.mark.parametrize("metric", ["train/loss", "test/accuracy", "epoch", "step", PROBED])
def test_metrics_that_there_will_be_may_be_watched(metric: str) -> None:
    """Those of the network, of instruments, and the counters."""
    watched(
        LinearProbes(taps="*relu*"), EarlyStopping(metric), ModelCheckpoint(monitor=metric), enable_checkpointing=True
    )


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("val_loss", "EarlyStopping: no metric val_loss; there are train/loss, train/accuracy, test/loss, test/acc"),
        ("train/los", "no metric train/los; did you mean train/loss?"),
        ("train/accuracy_corrupted", "no metric train/accuracy_corrupted"),
        ("probe/true_label/test/relu1", f"did you mean {PROBED}?"),
    ],
)
def test_a_metric_that_there_will_not_be_is_refused(metric: str, said: str) -> None:
    """With the nearest, or those there are."""
    with pytest.raises(Refused) as refusal:
        watched(LinearProbes(taps="*relu*"), EarlyStopping(metric))
    assert said in str(refusal.value)


def test_metrics_of_corrupted_labels_are_there_if_labels_are_corrupted() -> None:
    """On the training set."""
    for name in ("accuracy_corrupted", "accuracy_untouched", "accuracy_true"):
        watched(EarlyStopping(f"train/{name}"), corrupted=True)
        with pytest.raises(Refused, match=f"no metric test/{name}"):
            watched(EarlyStopping(f"test/{name}"), corrupted=True)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"val_check_interval": 0.5}, "let it look at the end of the training epoch"),
        ({"metric": "test/loss", "limit_val_batches": 0}, "no metric test/loss"),
        ({"metric": PROBED, "epochs": [2]}, "add 0, the network at initialisation, to the epochs"),
    ],
)
def test_a_metric_that_comes_later_than_it_is_looked_at_is_refused(parts: dict[str, Any], said: str) -> None:
    """With what to change."""
    options = dict(parts)
    metric, epochs = options.pop("metric", "train/loss"), options.pop("epochs", None)
    with pytest.raises(Refused) as refusal:
        watched(LinearProbes(taps="*relu*", epochs=epochs), EarlyStopping(metric), **options)
    assert said in str(refusal.value)


def test_a_schedule_watches_metrics_too() -> None:
    """Every epoch: so its metric has to be there in each."""
    watched(model=plateau("test/loss"))
    watched(model=plateau("train/loss"), check_val_every_n_epoch=2)
    with pytest.raises(Refused, match="ReduceLROnPlateau: no metric test/los; did you mean test/loss"):
        watched(model=plateau("test/los"))
    with pytest.raises(Refused, match="validate every epoch, not every 2, or let it watch train/loss"):
        watched(model=plateau("test/loss"), check_val_every_n_epoch=2)


class Theirs(Callback):
    """Logs who knows what."""


def test_metrics_of_others_are_not_known() -> None:
    """Nor is one refused that is only waited for; names that begin like an instrument's are known all the same."""
    watched(EarlyStopping("their_loss"), Theirs())
    watched(EarlyStopping("lr-SGD"), LearningRateMonitor())
    watched(EarlyStopping("their_loss", strict=False))
    with pytest.raises(Refused, match="no metric probe/true_label/test/x"):
        watched(EarlyStopping("probe/true_label/test/x"), Theirs())
