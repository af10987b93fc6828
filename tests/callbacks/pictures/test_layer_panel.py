"""Tests of callbacks/pictures/layer_panel.py."""

from typing import Any

import pytest

from stratoscope.callbacks.pictures.layer_panel import Panel, Probed, headings, panels
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.probes import Separability, wilson

RANDOM = Origin("MLP", "Digits", "RandomLabels", 10, "a")
COUNT = 200


def scored(correct: int | None, kind: str = "true_label", split: str = "test", **more: Any) -> Separability:
    """A score."""
    if correct is None:
        return Separability(kind, split, failed="NaN")
    low, high = wilson(correct, COUNT)
    return Separability(kind, split, correct / COUNT, low, high, correct, COUNT, loss=0.25, converged=True, **more)


def probed(origin: Origin = RANDOM, epochs: int = 3) -> Probed:
    """Two layers, whose true labels become less separable, by half in the second; one probe has failed."""
    table = ProbeTable()
    for epoch in range(epochs):
        first = [scored(100), scored(50, "given_label", "train"), scored(20, "given_label")]
        second = [scored(160 - 80 * (epoch == 2) if epoch != 1 else None, gap=1e-7)]
        table.put(epoch, {"net.a": (8, first), "net.b": (4, second)})
    return Probed(origin, table)


def test_values_are_those_of_the_table() -> None:
    """In per cent, as printed and under the mouse; failed ones have none."""
    shown = panels([probed()])
    assert [(panel.labels, panel.split) for panel in shown] == [("true_label", "test"), ("given_label", "train")]
    panel = shown[0].heat_map("Title")
    assert (panel.heading, panel.unit, panel.layers, panel.columns) == (
        "Title",
        "accuracy, %",
        ["net.a", "net.b"],
        [0, 1, 2],
    )
    assert panel.cells == {
        **{(0, x): (50.0, "50") for x in range(3)},
        (1, 0): (80.0, "80"),
        (1, 1): None,
        (1, 2): (40.0, "40"),
    }
    assert panel.hints[1, 0] == "80 %, 95 % interval 73.91 to 84.95, gap 1e-07 nats"
    assert panel.hints[1, 1] == "failed: NaN"
    assert not panel.difference


def test_differences_are_from_the_untrained_network_with_newcombes_interval() -> None:
    """Newcombe 1998, table II, example (a): 56/70 minus 48/80 is 0.2000 with 0.0524 to 0.3339 by method 10."""
    table = ProbeTable()
    for epoch, (correct, count) in enumerate([(48, 80), (56, 70)]):
        low, high = wilson(correct, count)
        table.put(epoch, {"a": (1, [Separability("true_label", "test", correct / count, low, high, converged=True)])})
    panel = panels([Probed(RANDOM, table)], show="difference")[0]
    row = panel.cells()["a", 1]
    assert [row["shown"], row["from"], row["to"]] == pytest.approx([20.0, 5.24, 33.39], abs=0.005)
    drawn = panel.heat_map("")
    assert drawn.difference
    assert drawn.columns == [1]
    number, printed = drawn.cells[0, 0] or (0.0, "")
    assert number == pytest.approx(20)
    assert printed == "+20"
    assert drawn.unit == "accuracy minus untrained, percentage points"
    assert drawn.hints[0, 0] == "+20 percentage points, 95 % interval +5.243 to +33.39"


def test_losses_have_no_interval() -> None:
    """Nor have their differences."""
    assert Panel(probed(), "true_label", "test", "loss").heat_map("").cells[0, 1] == (0.25, "0.25")
    row = Panel(probed(), "true_label", "test", "loss", "difference").cells()["net.a", 1]
    assert (row["shown"], row["from"], row["to"]) == (0.0, None, None)
    assert Panel(probed(), "true_label", "test", "loss", "difference").heat_map("").cells[0, 0] == (0.0, "0.00")


def measured(name: str, *values: float | None, labels: str = "") -> Probed:
    """A measure of one layer by epoch; where there is none it has failed."""
    usual = {"layer": "a", "labels": labels, "split": "test", "converged": True}
    cells = [{"epoch": at, name: value, "failed": "" if value else "NaN"} for at, value in enumerate(values)]
    return Probed(RANDOM, ProbeTable([usual | cell for cell in cells]), (name,))


def test_a_measure_is_shown_as_its_look_says() -> None:
    """With its name, unit and scale; on the sets it is of, without labels where it has none."""
    (panel,) = panels([measured("effective_rank", 20.0, None, 5.5)], value="effective_rank")
    drawn = panel.heat_map("")
    assert (panel.labels, panel.split, drawn.unit, drawn.log, drawn.chance) == ("", "test", "directions", True, None)
    assert drawn.cells == {(0, 0): (20.0, "20"), (0, 1): None, (0, 2): (5.5, "5.5")}
    assert (drawn.hints[0, 0], drawn.hints[0, 1]) == ("20 directions", "failed: NaN")
    assert headings([panel]) == (
        "Effective rank: MLP, Digits, trained on RandomLabels, 2 epochs",
        ["test set"],
    )
    (change,) = panels([measured("effective_rank", 20.0, None, 5.5)], value="effective_rank", show="difference")
    drawn = change.heat_map("")
    assert (drawn.cells[0, 1], drawn.log, drawn.unit) == (
        (-14.5, "\N{MINUS SIGN}14"),
        False,
        "Effective rank minus untrained, directions",
    )
    (near,) = panels([measured("neighbour_accuracy", 0.25, labels="given_label")], value="neighbour_accuracy")
    assert (near.heat_map("").cells[0, 0], near.heat_map("").chance) == ((25.0, "25"), 10.0)


def test_a_value_that_nobody_knows_is_a_plain_number() -> None:
    """Under its own name."""
    (panel,) = panels([measured("norm", 12.5, labels="weights")], value="norm")
    assert (panel.heat_map("").cells[0, 0], panel.unit) == ((12.5, "12"), "")
    assert headings([panel])[1] == ["weights, test set"]
    with pytest.raises(ValueError, match="value must be norm, got 'accuracy'"):
        panels([measured("norm", 1.0)])


def test_labels_and_split_choose_panels() -> None:
    """Either, both, or what is usual; what is not there is refused with what is."""
    one = [probed()]
    assert [(p.labels, p.split) for p in panels(one, "given_label")] == [("given_label", "train")]
    assert [(p.labels, p.split) for p in panels(one, split="test")] == [("true_label", "test"), ("given_label", "test")]
    assert [(p.labels, p.split) for p in panels(one, "given_label", "test")] == [("given_label", "test")]
    with pytest.raises(ValueError, match="no probes of true_label on train; there are true_label on test, given_label"):
        panels(one, "true_label", "train")
    with pytest.raises(ValueError, match="value must be accuracy or loss, got 'gap'"):
        panels(one, value="gap")
    with pytest.raises(ValueError, match="show must be value or difference"):
        panels(one, show="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"needs probes of the untrained network \(epoch 0\) and of a later epoch"):
        panels([probed(epochs=1)], show="difference")


def test_headings_say_once_what_all_panels_share() -> None:
    """And in each what it is besides; runs that are alike in all of that have their names."""
    one = panels([probed()])
    assert headings(one) == (
        "Linear probes: MLP, Digits, trained on RandomLabels, 2 epochs, chance 10 %",
        ["true labels, test set", "given labels, train set"],
    )
    true = probed(Origin("MLP", "Digits", "true labels", 10, "b"))
    assert headings(panels([probed(), true], "true_label")) == (
        "Linear probes: MLP, Digits, 2 epochs, chance 10 %",
        ["trained on RandomLabels: true labels, test set", "trained on true labels: true labels, test set"],
    )
    seed = probed(Origin("MLP", "Digits", "RandomLabels", 10, "c"))
    assert headings(panels([probed(), seed], "true_label"))[1] == [
        "a: true labels, test set",
        "c: true labels, test set",
    ]
    assert headings(panels([probed(Origin())], "true_label"))[0] == "Linear probes: 2 epochs"
