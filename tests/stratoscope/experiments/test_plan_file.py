"""Tests of stratoscope/experiments/plan_file.py."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.plan_file import PLAN, bounds_stand, read_plan, write_plan
from stratoscope.experiments.specification import Experiment, read_experiment
from stratoscope.refusal import Refused
from tests.small_experiments import TINY

FIRST: dict[str, Any] = yaml.safe_load(TINY.read_text())


def begun(folder: Path, content: dict[str, Any]) -> Experiment:
    """Write an experiment's file and, as if it were begun, or gone on with, its plan."""
    file = folder / "my" / "tiny.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    experiment = read_experiment(str(file))
    runs = planned_runs(experiment, "half", str(folder / "runs"))
    runs[0].folder.mkdir(parents=True, exist_ok=True)
    write_plan(experiment, str(file), "half", runs)
    return experiment


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Experiment, scale and runs; also after the folder has been moved."""
    experiment = begun(tmp_path, FIRST)
    folder = tmp_path / "runs" / "my_tiny" / "half"
    wanted = planned_runs(experiment, "half", str(tmp_path / "runs"))
    assert read_plan(folder) == (experiment, "half", wanted)
    moved = folder.rename(tmp_path / "moved")
    assert [run.path for run in read_plan(moved)[2]] == [moved / run.name for run in wanted]
    for wrong in ("", "[]", "{}", '{"experiment": 3, "scale": "half"'):
        (moved / PLAN).write_text(wrong)
        with pytest.raises(Refused, match=r"has no runs of an experiment \(no experiment.json\)"):
            read_plan(moved)


@pytest.mark.parametrize(
    ("part", "key", "value", "stand"),
    [
        ("claims", "at_least", 19, False),
        ("claims", "at_most", 90, False),
        ("claims", "full_scale", True, False),
        ("claims", "at_least", 20.0, True),
        ("published", "tolerance", 71, False),
        ("published", "value", 0, False),
    ],
)
def test_bounds_that_changed_are_known(part: str, key: str, value: object, stand: bool, tmp_path: Path) -> None:
    """However often the experiment is gone on with: those of the first time count."""
    folder = tmp_path / "runs" / "my_tiny" / "half"
    assert bounds_stand(folder, begun(tmp_path, FIRST))
    changed = copy.deepcopy(FIRST)
    changed[part][0][key] = value
    for _ in range(2):
        assert bounds_stand(folder, begun(tmp_path, changed)) == stand
    assert bounds_stand(folder, begun(tmp_path, FIRST))


def test_what_a_later_release_knows_besides_changes_nothing(tmp_path: Path) -> None:
    """Only what differs from the defaults is kept."""
    experiment = begun(tmp_path, FIRST)
    bounds = json.loads((tmp_path / "runs" / "my_tiny" / "half" / PLAN).read_text())["bounds"]
    assert bounds[0][0] == FIRST["claims"][0]
    assert bounds[2]["test error"] == FIRST["quantities"]["test error"]
    assert bounds_stand(tmp_path / "runs" / "my_tiny" / "half", experiment)
