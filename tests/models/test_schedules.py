"""Tests of models/schedules.py."""

import pytest
import torch
from torch.optim import SGD

from stratoscope.models.schedules import DividedAt


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
