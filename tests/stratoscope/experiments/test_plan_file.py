"""Tests of stratoscope/experiments/plan_file.py."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Experiment
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.plan_file import PLAN, as_begun, bounds_stand, read_plan, write_plan
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


@pytest.mark.parametrize("typed", ["tiny.yaml", "../my/tiny.yaml", "./tiny.yaml", "{}/my/tiny.yaml", "link/tiny.yaml"])
def test_an_experiment_is_one_however_it_is_typed(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is that of the file's true place."""
    experiment = begun(tmp_path, FIRST)
    assert experiment.name == "my/tiny"
    (tmp_path / "my" / "link").symlink_to(tmp_path / "my")
    monkeypatch.chdir(tmp_path / "my")
    name = typed.format(tmp_path)
    again = as_begun(read_experiment(name), name, "half", "../runs")
    assert again.name == "my/tiny"
    runs = planned_runs(again, "half", "../runs")
    write_plan(again, name, "half", runs)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["my_tiny"]


@pytest.mark.parametrize(
    ("folder", "name"), [(".hidden", "hidden/tiny"), ("a b, c", "a-b-c/tiny"), ("läufe", "läufe/tiny")]
)
def test_names_are_those_of_folders_that_are_listed(folder: str, name: str, tmp_path: Path) -> None:
    """Neither hidden, nor with what names of runs may not have."""
    file = tmp_path / folder / "tiny.yaml"
    file.parent.mkdir()
    file.write_text(TINY.read_text())
    assert read_experiment(str(file)).name == name


def test_runs_that_were_begun_under_another_name_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names were once made of the words as they were typed: `tiny.yaml`, `../tiny.yaml` and so on."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY.read_text())
    experiment = read_experiment("tiny.yaml")
    assert as_begun(experiment, "tiny.yaml", "half", "runs") == experiment
    folder = Path("runs/tiny/half")
    folder.mkdir(parents=True)
    plan = {"experiment": str(Path("tiny.yaml").resolve()), "scale": "half"}
    (folder / PLAN).write_text(json.dumps(plan))
    assert as_begun(experiment, "tiny.yaml", "half", "runs").name == "tiny"
    (folder / PLAN).write_text(json.dumps({**plan, "experiment": "/another/tiny.yaml"}))
    assert as_begun(experiment, "tiny.yaml", "half", "runs") == experiment


def test_two_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    """The second is refused in the folder of the first; a file that has been moved is not."""
    begun(tmp_path, FIRST)
    other = tmp_path / "elsewhere" / "my" / "tiny.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(TINY.read_text())
    experiment = read_experiment(str(other))
    runs = planned_runs(experiment, "half", str(tmp_path / "runs"))
    with pytest.raises(Refused, match=r"my_tiny/half has the runs of .*my/tiny\.yaml: give another --runs"):
        write_plan(experiment, str(other), "half", runs)
    (tmp_path / "my" / "tiny.yaml").unlink()
    write_plan(experiment, str(other), "half", runs)


def test_keys_for_anchors_are_passed_over(tmp_path: Path) -> None:
    """At the top of the file; an unknown key beside them is refused."""
    file = tmp_path / "my" / "tiny.yaml"
    file.parent.mkdir()
    file.write_text(f"x-note: &note a sentence\n{TINY.read_text()}\nnote: *note\n")
    assert read_experiment(str(file)).note == "a sentence"
    file.write_text(f"y-note: 3\n{TINY.read_text()}")
    with pytest.raises(Refused, match="no key y-note"):
        read_experiment(str(file))


@pytest.mark.parametrize(
    ("part", "key", "value", "stand"),
    [
        ("claims", "at_least", 19, False),
        ("claims", "at_most", 90, False),
        ("claims", "full_scale", True, False),
        ("claims", "at_least", 20.0, True),
        ("published", "tolerance", 71, False),
        ("published", "value", 0, False),
        ("claims", "text", "Something else is learnt", False),
        ("claims", "basis", "as it is always done", True),
        ("claims", "paper", [33.0], True),
        ("claims", "source", "somewhere", True),
        ("published", "source", "elsewhere", True),
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
