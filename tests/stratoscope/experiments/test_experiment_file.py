"""Tests of stratoscope/experiments/experiment_file.py and experiment_check.py: what is read, and what is refused."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Experiment
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from tests.small_experiments import TINY, content, written


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """What is in tiny.yaml, with one value changed, added, or (None) taken away."""
    whole = content(yaml.safe_load(TINY.read_text()))
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return whole


def read(folder: Path, whole: Any) -> Experiment:
    """Write an experiment and read it, with its plans."""
    experiment = read_experiment(str(written(folder, {}, **whole)))
    for scale in ("full", *experiment.scales):
        planned_runs(experiment, scale, "runs")
    return experiment


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
    "misspelt axis": (("runs", 0, "dept"), 1, "runs: no axis 'dept'; did you mean 'depth'?"),
    "misspelt label": (("runs", 0, "labels"), "randon", "runs: no label of labels 'randon'; did you mean 'random'?"),
    "label without quotes": (("claims", 0, "of", "labels"), True, "no label of labels True"),
    "axis left out": (("runs", 0, "seed"), None, "runs: no labels for axis 'seed'; there are depth, labels"),
    "misspelt axis of a claim": (("claims", 1, "of"), {"label": "random"}, "did you mean 'labels'?"),
    "misspelt label of a claim": (("claims", 1, "minus", "labels"), "treu", "did you mean 'true'?"),
    "misspelt quantity": (("claims", 0, "quantity"), "trainin loss", "did you mean 'training loss'?"),
    "misspelt quantity of the paper": (("published", 0, "quantity"), "test eror", "published: no quantity 'test eror'"),
    "misspelt axis of the paper": (
        ("published", 0, "of", "dpth"),
        1,
        "published: no axis 'dpth'; did you mean 'depth'?",
    ),
    "misspelt quantity of a figure": (("figures", "points", "quantity"), "test eror", "figures: points: no quantity"),
    "misspelt axis of a figure": (("figures", "curves", "lines"), "label", "did you mean 'labels'?"),
    "misspelt kind of a figure": (("figures", "curves", "kind"), "curve", "no kind 'curve'; did you mean 'curves'?"),
    "misspelt quantity of the table": (("table",), ["test eror"], "table: no quantity 'test eror'"),
    "misspelt way to take": (("quantities", "best layer", "take"), "best", "quantities: best layer: no way to take"),
    "misspelt axis of a scale": (("scales", "half", "only", "sed"), [0], "scales: half: no axis 'sed'"),
    "misspelt label of a scale": (("scales", "half", "only", "seed"), [7], "scales: half: no label of seed 7"),
    "nothing left": (("scales", "half", "only", "depth"), [], "there are no runs at scale half"),
    "claim without bounds": (("claims", 0, "at_least"), None, "True labels are learnt: needs at_least or at_most"),
    "claim about a name": (("claims", 0, "quantity"), "best layer", "best layer is the name of a layer"),
    "no title": (("title",), None, "title is missing"),
    "no axes": (("axes",), None, "axes is missing"),
    "no runs": (("runs",), None, "runs is missing"),
    "claim without text": (("claims", 0, "text"), None, "claims, entry 1: text is missing"),
    "number without tolerance": (("published", 1, "tolerance"), None, "test error: needs tolerance or chance, one of"),
    "number with both": (("published", 1, "chance"), 90, "test error: needs tolerance or chance, one of them"),
    "chance and bounds": (("claims", 0, "chance"), 10, "needs chance and within, or bounds, not both"),
    "chance of a loss": (
        ("claims", 0),
        {"text": "So", "quantity": "training loss", "chance": 1, "within": 0.1},
        "So: chance needs an accuracy, or error, at one epoch",
    ),
    "chance above all": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 120, "within": 3},
        "So: chance must be between 0 and 100, got 120",
    ),
    "exact accuracy": (("quantities", "test error", "exact"), True, "exact is for metrics other than accuracies"),
    "exact loss": (("quantities", "training loss", "exact"), True, "exact is for metrics other than accuracies"),
    "exact probe": (("quantities", "separability", "exact"), True, "exact is for metrics other than accuracies"),
    "chance of the best layer": (
        ("claims", 0),
        {"text": "So", "quantity": "separability", "chance": 10, "within": 3},
        "So: chance needs the probe of one layer, true_label test conv2",
    ),
    "chance on the training set": (
        ("claims", 0),
        {"text": "So", "quantity": "training accuracy", "chance": 10, "within": 3},
        "So: chance needs a test set: what was trained on is no sample",
    ),
    "chance of the published on the training set": (
        ("published", 0),
        {"quantity": "training accuracy", "of": {"depth": 1, "labels": "true"}, "value": 9, "chance": 10},
        "chance needs a test set",
    ),
    "chance from which nothing is so far away": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 90, "within": 91},
        "So: within 91 of chance, 90, there is all from 0 to 100",
    ),
    "chance of a difference": (
        ("claims", 0),
        {"text": "So", "quantity": "test error", "chance": 90, "within": 3, "of": {"depth": 1}, "minus": {"depth": 2}},
        "So: chance is for a quantity of its own, within above 0",
    ),
    "set without samples": (("samples",), {"test": 0}, "samples: test must be 1 or more, got 0"),
    "scale without note": (("scales", "half", "note"), None, "scales: half: note is missing"),
    "both metric and probe": (("quantities", "test error", "probe"), "true_label test", "needs either metric or probe"),
    "neither": (("quantities", "test error", "metric"), None, "test error needs either metric or probe"),
    "probe of no split": (("quantities", "separability", "probe"), "true_label", "a label kind and a split"),
    "behind the best of nothing": (
        ("quantities", "separability", "take"),
        "behind_best",
        "behind_best needs a probe with layers",
    ),
    "less all": (("claims", 1, "minus", "labels"), "all", "minus and over name one label of each axis"),
    "misspelt column": (
        ("quantities", "separability", "value"),
        "acuracy",
        "no column 'acuracy'; did you mean 'accuracy'?",
    ),
    "table of a metric": (("quantities", "test error", "table"), "measures", "table and value are of a probe"),
    "another command": (("command",), "test", "command: no command 'test'; there are fit, validate"),
    "correlation of a metric": (
        ("quantities", "test error", "take"),
        "rank_correlation",
        "rank_correlation needs a probe",
    ),
    "best layer of a metric": (("quantities", "test error", "take"), "best_layer", "best_layer needs a probe"),
    "layers of a metric": (("figures", "layers", "quantity"), "test error", "layers needs a quantity with a probe"),
    "points without x": (("figures", "points", "x"), None, "figures: points: points needs x"),
    "points over repetitions": (("figures", "points", "x"), "seed", "points: x must be another axis than seed"),
    "points without places": (("figures", "points", "places"), None, "true is not a number, and places does not say"),
    "a figure that is no file": (
        ("figures", "../x"),
        {"kind": "curves", "title": "", "quantity": "test error"},
        "letters",
    ),
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


@pytest.mark.parametrize(
    ("probe", "said"), [("test conv1 conv2", "of one layer"), ("train conv1", "a test set"), ("test conv1", "")]
)
def test_chance_is_for_one_layer_on_a_test_set(probe: str, said: str, tmp_path: Path) -> None:
    """The better of two is no guess, and what a probe was fitted to is no sample."""
    claim = {"text": "So", "quantity": "probe", "chance": 10, "within": 3}
    content = yaml.safe_load(TINY.read_text())
    content["claims"].append(claim)
    content["quantities"]["probe"] = {"probe": f"true_label {probe}", "percent": True}
    if not said:
        assert read(tmp_path / "mine", content).claims[-1].chance == 10
        return
    with pytest.raises(Refused, match=f"So: chance needs .*{said}"):
        read(tmp_path / "mine", content)


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
        file.write_text(yaml.safe_dump(other))
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
