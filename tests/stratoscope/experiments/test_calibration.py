"""Tests of stratoscope/experiments/calibration.py; no time is asserted."""

from pathlib import Path
from typing import Any

import pytest

from stratoscope.experiments import calibration
from stratoscope.experiments.calibration import expected_seconds
from stratoscope.experiments.grid import PlannedRun
from tests.small_experiments import OPTIONS


def planned(name: str, **options: Any) -> PlannedRun:
    """A run on 200 digits for 2 epochs."""
    return PlannedRun({}, {**OPTIONS, **options}, Path("runs"), name)


def probed(name: str, ridges: list[float], *corruptions: str, **settings: Any) -> PlannedRun:
    """The same with linear probes, and other corruptions besides."""
    probes = {"class_path": "LinearProbes", "init_args": {"taps": "*relu*", "ridge": ridges, **settings}}
    mixed = {"trainer.callbacks": [probes], "data.corruption": [*OPTIONS["data.corruption"], *corruptions]}
    return planned(name, **mixed)


def test_probes_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As often as they are due, on as many samples as they are fitted on, for every ridge and label kind."""
    monkeypatch.chdir(tmp_path)
    asked: list[int] = []

    def a_second_a_sample(rows: dict[str, Any], columns: int) -> dict[str, float]:
        asked.append(columns)
        return dict.fromkeys(rows, 1.0)

    monkeypatch.setattr("stratoscope.callbacks.instruments.linear_probes.fitting_seconds", a_second_a_sample)
    runs = [
        planned("none"),
        probed("once", [1.0], epochs=[0]),
        probed("every epoch", [1.0, 2.0], "RandomLabels"),
        probed("a part", [1.0], epochs=[0, 2], train_samples=50),
    ]
    found = dict(expected_seconds(runs, ["--threads", "1"]))
    assert list(found) == ["none", "once", "every epoch", "a part"]
    assert [round(seconds / 50) for seconds in found.values()] == [0, 4, 12, 2]  # 200, 3 x 200, 2 x 50
    assert asked == [10, 10 * 2 * 2, 10]


def test_nothing_is_trained_to_know_how_long_validation_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Probes are fitted once."""
    monkeypatch.chdir(tmp_path)
    fitting = "stratoscope.callbacks.instruments.linear_probes.fitting_seconds"
    monkeypatch.setattr(fitting, lambda rows, columns: dict.fromkeys(rows, 1.0))
    monkeypatch.setattr(calibration, "_step", None)
    options = {name: value for name, value in OPTIONS.items() if name != "trainer.max_epochs"}
    probes = [{"class_path": "LinearProbes", "init_args": {"taps": "*relu*"}}]
    run = PlannedRun({}, {**options, "trainer.callbacks": probes}, Path("runs"), "v", command="validate")
    assert round(dict(expected_seconds([run], []))["v"] / 50) == 4


def test_runs_that_take_equally_long_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other labels and seeds make no difference, but with probes, which may have two label kinds to fit; sizes do."""
    tried: list[list[str]] = []

    def seconds(words: list[str]) -> float:
        tried.append(words)
        return float(len(tried))

    monkeypatch.setattr(calibration, "_seconds", seconds)
    subset = OPTIONS["data.corruption"]
    plain = [
        planned("a"),
        planned("b", seed_everything=1),
        planned("c", **{"data.corruption": [*subset, "RandomLabels"]}),
        planned("d", **{"model.width": 5}),
        planned("e", **{"data.corruption": []}),
        planned("f", **{"data.corruption": [{"class_path": "RandomSubset", "init_args": {"n": 200, "seed": 1}}]}),
    ]
    with_probes = [probed("g", [1.0]), probed("h", [1.0], "RandomLabels"), probed("i", [1.0, 2.0])]
    assert list(dict(expected_seconds([*plain, *with_probes], [])).values()) == [1, 1, 1, 2, 3, 1, 4, 5, 6]
    assert "null" in tried[0]
    assert any("LinearProbes" in word for word in tried[3])


def test_a_time_is_there_as_soon_as_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried of the runs behind it."""
    tried: list[list[str]] = []

    def seconds(words: list[str]) -> float:
        tried.append(words)
        return float(len(tried))

    monkeypatch.setattr(calibration, "_seconds", seconds)
    found = expected_seconds([planned("a"), planned("b", **{"model.width": 5})], [])
    assert next(found) == ("a", 1.0)
    assert len(tried) == 1
    assert next(found) == ("b", 2.0)
