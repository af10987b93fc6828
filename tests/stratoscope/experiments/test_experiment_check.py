"""Tests of stratoscope/experiments/experiment_check.py: what means nothing, or could not fail, is refused."""

from pathlib import Path

import pytest
import yaml

from stratoscope.errors import Refused
from tests.small_experiments import TINY, changed, read

WRONG = {
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
    "claim without bounds": (("claims", 0, "at_least"), None, "True labels are learnt: needs at_least or at_most"),
    "claim about a name": (("claims", 0, "quantity"), "best layer", "best layer is the name of a layer"),
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
    "both metric and probe": (
        ("quantities", "test error", "probe"),
        "true_label test",
        "needs metric, probe or column",
    ),
    "neither": (("quantities", "test error", "metric"), None, "test error needs metric, probe or column"),
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
    "table of a metric": (("quantities", "test error", "table"), "measures", "table is of a probe or column"),
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
}


@pytest.mark.parametrize("case", WRONG)
def test_what_means_nothing_is_named_in_one_line(case: str, tmp_path: Path) -> None:
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
