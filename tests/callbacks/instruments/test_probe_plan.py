"""Tests of callbacks/instruments/probe_plan.py: what is said before the first fit, and after it."""

import pytest
import torch

from stratoscope.callbacks.instruments.probe_plan import ITERATIONS, corrected, fitting_seconds


def test_every_layer_has_an_expected_time_however_few_samples_there_are() -> None:
    """Per sample, the same for layers of one width; layers without samples have none."""
    rows = {"a": torch.randn(3, 50), "b": torch.randn(3, 7), "c": torch.randn(12, 50), "none": torch.empty(0, 50)}
    found = fitting_seconds(rows, columns=20)
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == found["c"]
    assert all(seconds > 0 for seconds in found.values())


def test_what_is_timed_is_an_iteration_on_real_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that counts the entries read, one a second: each iteration reads every feature twice."""
    read = [0.0]

    def counting(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        x = one if one.shape[1] == 5 else other
        read[0] += x.numel()
        return torch.zeros(20, len(x) if one is x else 5)

    monkeypatch.setattr("stratoscope.callbacks.instruments.probe_plan.times", counting)
    monkeypatch.setattr("stratoscope.callbacks.instruments.probe_plan.moments", counting)
    monkeypatch.setattr("stratoscope.callbacks.instruments.probe_plan.time.perf_counter", lambda: read[0])
    assert fitting_seconds({"layer": torch.randn(4000, 5)}, columns=20) == {"layer": ITERATIONS * 2 * 5.0}


@pytest.mark.parametrize(
    ("expected", "took", "said"),
    [
        (17, 64, "17 s were expected"),
        (64, 17, "64 s were expected"),
        (17, 24, ""),
        (24, 17, ""),
        (0.1, 3, ""),  # who would wait for it to be corrected
    ],
)
def test_a_wrong_expectation_is_corrected(expected: float, took: float, said: str) -> None:
    """By more than a factor of 1.5, and where it is some seconds."""
    line = corrected(expected, took)
    assert said in line
    assert bool(line) == bool(said)
