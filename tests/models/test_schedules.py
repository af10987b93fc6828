"""Tests of models/schedules.py."""

from typing import Any

import pytest
import torch
from lightning.pytorch.cli import ReduceLROnPlateau as LightningsPlateau
from torch.optim import SGD
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from stratoscope.commands.catalogue import ours
from stratoscope.models import Classifier, MNISTConvNet
from stratoscope.models.schedules import DividedAt, Interval, when_stepped


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((2,), [1, 1, 0.1, 0.1, 0.1, 0.1]),
        ((1, 3), [1, 0.1, 0.1, 0.01, 0.01, 0.01]),
        ((1, 2, 4), [1, 0.1, 0.01, 0.01, 0.001, 0.001]),
    ],
)
def test_the_rate_is_divided_after_the_given_epochs(places: tuple[int, ...], expected: list[float]) -> None:
    """Up to three times, by ten."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = DividedAt(optimizer, *places)
    rates = []
    for _ in expected:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected)


def test_the_divisor_is_free() -> None:
    """By two, for instance."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = DividedAt(optimizer, 1, by=2)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


def schedules() -> dict[str, LRScheduler]:
    """One of each kind."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    return {
        "epoch": DividedAt(optimizer, 2),
        "one cycle": OneCycleLR(optimizer, 1.0, total_steps=10),
        "cyclic": CyclicLR(optimizer, 0.1, 1.0),
        "plateau": ReduceLROnPlateau(optimizer),
        "lightning's plateau": LightningsPlateau(optimizer, monitor="test/loss"),
    }


@pytest.mark.parametrize(
    ("name", "interval", "found"),
    [
        ("epoch", None, "epoch"),
        ("epoch", "step", "step"),
        ("one cycle", None, "step"),
        ("one cycle", "epoch", "epoch"),
        ("cyclic", None, "step"),
        ("plateau", None, "epoch"),
    ],
)
def test_a_schedule_is_stepped_as_it_is_made_for(name: str, interval: Interval | None, found: str) -> None:
    """Unless another interval is asked for."""
    assert when_stepped(schedules()[name], interval)["interval"] == found


@pytest.mark.parametrize(
    ("name", "monitor", "found"),
    [
        ("plateau", None, "train/loss"),
        ("plateau", "test/accuracy", "test/accuracy"),
        ("lightning's plateau", None, "test/loss"),
        ("lightning's plateau", "train/accuracy", "train/accuracy"),
    ],
)
def test_a_plateau_is_one_of_a_metric(name: str, monitor: str | None, found: str) -> None:
    """The one that is asked for, or the schedule's own, or the training loss."""
    assert when_stepped(schedules()[name], None, monitor)["monitor"] == found


def test_what_does_not_fit_a_schedule_is_refused() -> None:
    """A metric that nothing watches, and steps for the metric of an epoch."""
    with pytest.raises(ValueError, match=r"monitor test/loss is for .* ReduceLROnPlateau, not for DividedAt: leave it"):
        when_stepped(schedules()["epoch"], None, "test/loss")
    with pytest.raises(ValueError, match=r"interval step is not for ReduceLROnPlateau"):
        when_stepped(schedules()["plateau"], "step")


def test_every_network_has_its_schedule_stepped_as_asked() -> None:
    """None has a way of its own, which would leave interval and monitor out."""
    for network in ours(Classifier):
        assert network.configure_optimizers is Classifier.configure_optimizers, network.__name__
    made: Any = MNISTConvNet(interval="step").configure_optimizers()
    assert made["lr_scheduler"]["interval"] == "step"


def test_the_name_that_is_stored_stays() -> None:
    """Configs and checkpoints of most networks name this class: in another module, runs could not go on."""
    assert f"{DividedAt.__module__}.{DividedAt.__qualname__}" == "stratoscope.models.schedules.DividedAt"
