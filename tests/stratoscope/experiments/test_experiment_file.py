"""Tests of stratoscope/experiments/experiment_file.py: what is read, and what is refused."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.errors import Refused
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from tests.small_experiments import TINY, changed, read, written

WRONG = {
    "misspelt key": (("clams",), [], "no key clams; did you mean claims?"),
    "misspelt key of a quantity": (
        ("quantities", "test error", "percnt"),
        True,
        "test error: no key percnt; did you mean",
    ),
    "misspelt key of a claim": (("claims", 0, "at_lest"), 1, "claims, entry 1: no key at_lest; did you mean at_least?"),
    "misspelt key of a figure": (
        ("figures", "curves", "lnes"),
        "x",
        "figures: curves: no key lnes; did you mean lines?",
    ),
    "misspelt key of a scale": (("scales", "half", "notes"), "x", "scales: half: no key notes; did you mean note?"),
    "name in the file": (("name",), "tiny", "no key name"),
    "nothing left": (("scales", "half", "only", "depth"), [], "there are no runs at scale half"),
    "no title": (("title",), None, "title is missing"),
    "no axes": (("axes",), None, "axes is missing"),
    "no runs": (("runs",), None, "runs is missing"),
    "claim without text": (("claims", 0, "text"), None, "claims, entry 1: text is missing"),
    "scale without note": (("scales", "half", "note"), None, "scales: half: note is missing"),
    "text for a number": (("claims", 0, "at_least"), "20", "at_least must be a number, got '20'"),
    "text for a list": (("runs",), "all", "runs must be a list"),
    "a list for keys": (("quantities",), [], "quantities must be keys and values"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    """The line has the file, the place in it, and what would be right."""
    path, value, said = WRONG[case]
    with pytest.raises(Refused) as refusal:
        read(tmp_path / "mine", changed(*path, to=value))
    line = str(refusal.value)
    assert "\n" not in line
    assert "small" in line
    assert said in line


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would take the last without a word."""
    file = tmp_path / "twice.yaml"
    file.write_text(TINY.read_text() + "title: Another\n")
    with pytest.raises(Refused, match=r"twice.yaml: duplicate key title, in lines 2 and \d+"):
        read_experiment(str(file))


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "title: [", "a: b: c", "\0"])
def test_what_is_no_experiment_is_refused(text: str, tmp_path: Path) -> None:
    """Empty files, other YAML and no YAML."""
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(Refused, match=r"odd\.yaml"):
        read_experiment(str(file))


def nodes(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all values in nested dictionaries and lists."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from nodes(value, (*path, key))


RARE: list[Any] = [3, [], {}, ["x"], True, None]
ODD = ["x", {"x": 1}, *(pytest.param(one, marks=pytest.mark.slow) for one in RARE)]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_any_value_in_any_place_is_taken_or_refused(odd: object, tmp_path: Path) -> None:
    """Never a traceback, whatever stands where something else is meant."""
    whole = yaml.safe_load(TINY.read_text())
    for path in nodes({key: value for key, value in whole.items() if key != "options"}):
        other = copy.deepcopy(whole)
        place = other
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = odd
        file = tmp_path / "odd.yaml"
        file.write_text(yaml.dump(other, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
        with contextlib.suppress(Refused):
            experiment = read_experiment(str(file))
            for scale in ("full", *experiment.scales):
                planned_runs(experiment, scale, "runs")


def test_a_series_of_published_numbers_is_one_entry(tmp_path: Path) -> None:
    """It is one number for each label of its axis."""
    series = {"quantity": "error", "of": {"seed": 0}, "along": "width", "values": {"narrow": 0.5, "wide": 0.25}}
    experiment = read_experiment(str(written(tmp_path, published=[{**series, "tolerance": 0.1}])))
    found = [(one.of, one.value, one.tolerance) for one in experiment.published]
    assert found == [({"seed": 0, "width": "narrow"}, 0.5, 0.1), ({"seed": 0, "width": "wide"}, 0.25, 0.1)]
    with pytest.raises(Refused, match="no label of width 'broad'"):
        read_experiment(str(written(tmp_path, published=[{**series, "values": {"broad": 1.0}, "tolerance": 0.1}])))


def test_the_documented_experiments_are_understood(tmp_path: Path) -> None:
    """Both examples of the page have a plan."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "experiments.md"
    examples = page.read_text().split("```yaml\n")[1:]
    assert len(examples) == 2
    for example, runs in zip(examples, (6, 9), strict=True):
        file = tmp_path / "mine" / "example.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(example.partition("```")[0])
        assert len(planned_runs(read_experiment(str(file)), "full", "runs")) == runs
