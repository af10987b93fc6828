"""Tests of callbacks/pictures/layer_values.py."""

from typing import Any

from stratoscope.callbacks.pictures.layer_values import layer_values
from stratoscope.files.table import COLUMNS, Column, Table, columns_of

MEASURES = columns_of("epoch", "layer", "measure", "labels", "split", "value")


def measured(layer: str, measure: str, value: Any, labels: str = "", epoch: int = 0) -> dict[str, Any]:
    """A row of measures.csv."""
    return {"epoch": epoch, "layer": layer, "measure": measure, "labels": labels, "split": "train", "value": value}


def test_scores_of_probes_stay_together() -> None:
    """With all that is known of each."""
    rows = [{"epoch": 0, "layer": "a", "labels": "x", "split": "test", "accuracy": 0.5, "loss": 1.0, "gap": 1e-7}]
    (names, table), *rest = layer_values(Table(columns_of(*rows[0]), rows)).items()
    assert not rest
    assert names == ("accuracy", "loss")
    assert table.rows[0] | rows[0] == table.rows[0]


def test_every_measure_is_a_value_of_its_own() -> None:
    """Of the labels and set it is of; layers stay in their order, and numbers of other ridges are left out."""
    rows = [measured("b", "rank", 2.0), measured("a", "rank", 3.0), measured("a", "nc1", 4.0, "true_label")]
    rows.append({**measured("a", "nc1", 5.0, "true_label", 1), "chosen": False})
    found = layer_values(Table(MEASURES | {"chosen": COLUMNS["chosen"]}, rows))
    assert [*found] == [("rank",), ("nc1",)]
    assert [(row["layer"], row["rank"]) for row in found["rank",].rows] == [("b", 2.0), ("a", 3.0)]
    assert [(row["labels"], row["split"], row["nc1"]) for row in found["nc1",].rows] == [("true_label", "train", 4.0)]


def test_what_failed_is_crossed_out_in_all_that_it_would_have_had() -> None:
    """Of every kind of labels; with the reason."""
    failed = measured("a", "collapse", "failed: a class without samples")
    rows = [failed, *(measured("b", "nc1", 4.0, kind) for kind in ("true_label", "given_label"))]
    found = layer_values(Table(MEASURES, rows))
    assert [(row["layer"], row["labels"], row["nc1"], row["failed"]) for row in found["nc1",].rows] == [
        ("a", "true_label", None, "a class without samples"),
        ("a", "given_label", None, "a class without samples"),
        ("b", "true_label", 4.0, ""),
        ("b", "given_label", 4.0, ""),
    ]
    assert [row["nc2_norms"] for row in found["nc2_norms",].rows] == [None]


def test_other_columns_of_numbers_are_values_too() -> None:
    """Whoever has written them; what else a row is about tells rows apart."""
    columns = {**columns_of("epoch", "layer"), "part": Column(str, says="what"), "norm": Column(float, says="value")}
    rows = [{"epoch": 0, "layer": "a", "part": part, "norm": norm} for part, norm in (("w", 1.0), ("b", None))]
    (names, table), *rest = layer_values(Table(columns, rows)).items()
    assert (names, rest) == (("norm",), [])
    assert [(row["labels"], row["split"], row["norm"]) for row in table.rows] == [("w", "", 1.0)]


def test_a_table_without_layers_has_none() -> None:
    """Such as metrics."""
    assert (
        layer_values(Table({**columns_of("epoch"), "x": Column(float, says="value")}, [{"epoch": 0, "x": 1.0}])) == {}
    )
