"""Tests of callbacks/instruments/measures.py; the computations are tested in tests/probes/geometry."""

from typing import Any

import pytest
import torch

from stratoscope.callbacks.instruments.measures import (
    MEASURES,
    Layer,
    MeasureTable,
    measure_layer,
    measure_probes,
    needed,
    percent,
    plain,
    without_classifier,
)
from stratoscope.probes import LabelledFeatures, Separability, linear_cka

CLASSES = 3


def layer(classifier: Any = None, logits: Any = None, spread: float = 1.0) -> Layer:
    """60 training and 30 test samples of 5 features, around one point for each class."""
    generator = torch.Generator().manual_seed(0)
    sets = {}
    for split, n in (("train", 60), ("test", 30)):
        label = torch.arange(n) % CLASSES
        noise = spread * torch.randn(n, 5, generator=generator)
        sets[split] = LabelledFeatures(4 * torch.eye(CLASSES, 5)[label] + noise, {"true_label": label})
    return Layer(sets, CLASSES, classifier, logits)


def values(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By measure."""
    return {row["measure"]: row["value"] for row in rows}


@pytest.mark.parametrize("name", MEASURES)
def test_every_number_of_a_measure_has_a_look(name: str) -> None:
    """And only its own numbers come of it; similarity is shown by the names of layers and epochs."""
    measure = MEASURES[name]
    logits = layer().sets["train"].features[:, :CLASSES]
    scores = [Separability(kind, "train", 0.5, chosen=True) for kind in ("true_label", "control_label")]
    rows = measure_layer([name], layer(torch.eye(CLASSES, 5), logits)) + measure_probes([name], scores)
    assert {row["measure"] for row in rows} == set(measure.shows)
    assert all(isinstance(row["value"], float) for row in rows)


def test_what_measures_need_is_put_together() -> None:
    """Of nothing, nothing."""
    assert needed([]) == set()
    assert needed(["collapse", "control", "rank"]) == {"classifier", "logits", "control"}
    assert needed(["similarity"]) == {"sample"}


def test_neighbours_of_separate_clusters_are_right() -> None:
    """On every set but the training set and the held-out one, whose samples are their own neighbours."""
    apart = layer(spread=0.1)
    sets = {**apart.sets, "held out": apart.sets["test"], "again": apart.sets["test"]}
    rows = measure_layer(["neighbours"], Layer(sets, CLASSES))
    assert [(row["split"], row["labels"], row["value"]) for row in rows if row["split"] != "held out"] == [
        ("test", "true_label", 1.0),
        ("again", "true_label", 1.0),
    ]


def test_what_cannot_be_measured_says_why_and_spoils_nothing_else() -> None:
    """A row of that measure with the reason in the place of the number."""
    two = LabelledFeatures(torch.randn(6, 2), {"true_label": torch.arange(6) % 2})  # the third class has no samples
    rows = measure_layer(["collapse", "neighbours"], Layer({"train": two, "test": two}, CLASSES))
    assert [row["measure"] for row in rows] == ["collapse", "neighbour_accuracy"]
    assert str(rows[0]["value"]).startswith("failed: ")
    assert isinstance(rows[1]["value"], float)


@pytest.mark.parametrize(
    ("logits", "reason"),
    [
        (None, "the network answers with no logits, there are labels of 3 classes"),
        (torch.zeros(60, 7), "the network answers with 7 logits, there are labels of 3 classes"),
    ],
)
def test_without_fitting_logits_there_is_no_nc4(logits: Any, reason: str) -> None:
    """Nor NC3 with a classifier of other classes; the rest of the collapse is measured."""
    found = values(measure_layer(["collapse"], layer(torch.zeros(7, 5), logits)))
    assert found["nc4"] == f"failed: {reason}"
    assert found["nc3"] == "failed: the network's classifier has 7 classes, there are labels of 3"
    assert isinstance(found["nc1"], float)
    assert "nc3" not in values(measure_layer(["collapse"], layer()))
    assert without_classifier()["measure"] == "nc3"


def test_selectivity_is_accuracy_less_that_on_control_labels() -> None:
    """Of the chosen ridge on the training set, for every label kind; a probe that failed has none."""
    scores = [
        Separability("true_label", "train", 0.9, chosen=True),
        Separability("true_label", "train", 0.2, chosen=False),
        Separability("true_label", "test", 0.1, chosen=True),
        Separability("given_label", "train", failed="NaN", chosen=True),
        Separability("control_label", "train", 0.4, chosen=True),
    ]
    (row,) = measure_probes(["control", "rank"], scores)
    assert (row["measure"], row["labels"], row["split"]) == ("selectivity", "true_label", "train")
    assert row["value"] == pytest.approx(0.5)


def test_similarity_is_with_earlier_layers_and_epochs() -> None:
    """With each once; the first epoch is kept over a going on, from its state."""
    generator = torch.Generator().manual_seed(0)
    samples = [{name: torch.randn(20, 4, generator=generator) for name in ("one", "two")} for _ in range(3)]
    table = MeasureTable()
    for epoch in (0, 1):
        table.put(epoch, {"one": [], "two": []}, samples[epoch], "test")
    state = table.state_dict()
    again = MeasureTable(table.rows, state["first"], state["last"])
    again.put(2, {"one": [], "two": []}, samples[2], "test")
    found = {(row["epoch"], row["layer"], row["measure"]): row["value"] for row in again.rows}
    assert set(found) == {
        *((epoch, "two", "cka with one") for epoch in range(3)),
        *((epoch, name, "cka with epoch 0") for epoch in (1, 2) for name in ("one", "two")),
        *((2, name, "cka with epoch 1") for name in ("one", "two")),
    }
    assert found[2, "two", "cka with epoch 1"] == pytest.approx(linear_cka(samples[2]["two"], samples[1]["two"], True))
    assert found[2, "two", "cka with one"] == pytest.approx(linear_cka(samples[2]["two"], samples[2]["one"], True))


def test_a_layer_without_variance_is_like_none() -> None:
    """Its rows say so; others are compared."""
    table = MeasureTable()
    samples = {"still": torch.ones(20, 4), "one": torch.randn(20, 4)}
    table.put(0, {"still": [], "one": []}, samples, "test")
    (row,) = table.rows
    assert str(row["value"]).startswith("failed: ")


def test_an_epoch_that_is_measured_again_replaces_its_rows() -> None:
    """As after an interruption."""
    table = MeasureTable()
    for value in (1.0, 2.0):
        table.put(3, {"one": [{"measure": "rank", "labels": "", "split": "train", "value": value}]}, {}, "")
    assert [(row["epoch"], row["layer"], row["value"]) for row in table.rows] == [(3, "one", 2.0)]


def test_shares_are_shown_in_percent() -> None:
    """As whole numbers."""
    number, text = percent(0.934)
    assert number == pytest.approx(93.4)
    assert text == "93"


@pytest.mark.parametrize(
    ("number", "text"),
    [(1234.4, "1234"), (12.3, "12"), (1.26, "1.3"), (0.126, "0.13"), (0.0012, "0.001"), (-0.5, "-0.50")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    """Two digits or so."""
    assert plain(number) == (number, text)
