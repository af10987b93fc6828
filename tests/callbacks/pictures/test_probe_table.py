"""Tests of callbacks/pictures/probe_table.py."""

from pathlib import Path

import pandas
import pytest

from stratoscope.callbacks.pictures.probe_table import ProbeTable, evenly, shared_prefix
from stratoscope.probes import Separability


def result(
    accuracy: float | None, labels: str = "true_label", split: str = "test", converged: bool = True
) -> Separability:
    """One score."""
    reason = "" if accuracy is not None else "features contain NaN"
    return Separability(labels, split, accuracy, converged=converged, failed=reason)


def filled(epochs: int) -> ProbeTable:
    """Two layers, one of them failed at epoch 1 and loose at epoch 2."""
    table = ProbeTable()
    for epoch in range(epochs):
        first = result(None) if epoch == 1 else result(0.5, converged=epoch != 2)
        table.put(epoch, {"net.a": (8, [first]), "net.b": (4, [result(0.25 + epoch / 1000)])})
    return table


def test_the_printed_table_names_every_layer_and_fits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In 80 columns and with 60 epochs nothing is cut: layers in full, first and last epoch shown."""
    monkeypatch.setenv("COLUMNS", "80")
    filled(60).print()
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert all("…" not in line for line in lines)
    header = next(line for line in lines if "layer" in line)
    assert (header.split("┃")[2].strip(), header.split("┃")[-2].strip()) == ("0", "59")
    assert any(line.startswith("│ a ") for line in lines)


def test_failed_and_loose_cells_are_marked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A failed probe says so, one that is not converged has a ~, and the summary names both with the reason."""
    monkeypatch.setenv("COLUMNS", "80")
    table = filled(3)
    table.print()
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ a "))
    assert [cell.strip() for cell in row.split("│")[2:-1]] == ["50.0", "failed", "50.0~"]
    assert "FAILED at net.a: features contain NaN" in table.summary(1)
    assert "not converged at net.a" in table.summary(2)
    assert table.summary(0) == "true labels, test set 50.0 % at net.a"


def test_a_second_result_replaces_the_first(tmp_path: Path) -> None:
    """Putting an epoch again keeps one row per layer; the file has the same rows in the order of epochs."""
    table = filled(2)
    table.put(0, {"net.a": (8, [result(0.75)])})
    table.write(tmp_path / "probes.csv")
    lines = (tmp_path / "probes.csv").read_text().splitlines()
    assert [line.split(",")[:2] + line.split(",")[5:6] for line in lines[1:]] == [
        ["0", "net.a", "0.75"],
        ["1", "net.a", ""],
        ["1", "net.b", "0.251"],
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["probes.csv"]


def test_each_label_kind_has_one_panel() -> None:
    """True labels are shown on the held-out set, corrupted ones where they exist, on the training set."""
    scores = [result(0.5, kind, split) for kind in ("true_label", "given_label") for split in ("train", "test")]
    table = ProbeTable()
    table.put(0, {"a": (1, scores)})
    assert table.panels() == [("true_label", "test"), ("given_label", "train")]


def test_evenly_keeps_both_ends() -> None:
    """At most as many values as asked for, the first and the last among them."""
    assert evenly(list(range(5)), 9) == [0, 1, 2, 3, 4]
    assert evenly(list(range(101)), 5) == [0, 25, 50, 75, 100]


def test_the_shared_prefix_is_whole_modules() -> None:
    """Names are cut at dots, and the input does not count."""
    assert shared_prefix(["input", "network.conv1", "network.conv2"]) == "network."
    assert shared_prefix(["first", "network.conv2"]) == ""
    assert shared_prefix(["block1.a", "block12.b"]) == ""
    assert shared_prefix(["input"]) == ""


def test_a_table_shows_itself() -> None:
    """Its size and the last epoch in a line; in a notebook layers x epochs, with intervals in titles, escaped."""
    assert repr(ProbeTable()) == "no probes yet"
    assert ProbeTable()._repr_html_() == "<p>no probes yet</p>"
    table = filled(2)
    assert repr(table) == (
        "2 layers x 2 epochs; epoch 1: true labels, test set 25.1 % at net.b; FAILED at net.a: features contain NaN"
    )
    table.put(2, {"net.<b>": (4, [Separability("true_label", "test", 0.5, 0.25, 0.75, converged=True)])})
    html = table._repr_html_()
    assert "Linear probe accuracy on true labels, test set, in %, by epoch" in html
    assert "<th>layer</th><th>untrained</th><th>1</th><th>2</th>" in html
    assert '<td title="features contain NaN">failed</td>' in html
    assert (
        '<th>&lt;b&gt;</th><td title=""></td><td title=""></td><td title="95 % interval 25.0 to 75.0">50.0</td>' in html
    )


def test_the_frame_has_the_rows_of_the_file(tmp_path: Path) -> None:
    """With their types; what failed is missing."""
    table = filled(2)
    table.write(tmp_path / "probes.csv")
    frame = table.frame()
    read = pandas.read_csv(tmp_path / "probes.csv", keep_default_na=False, na_values={"accuracy": ""})
    assert list(frame.columns) == list(read.columns)
    assert [frame[name].dtype.name for name in ("epoch", "accuracy", "chosen")] == ["Int64", "float64", "boolean"]
    for name in ("epoch", "layer", "accuracy", "converged", "failed"):
        assert frame[name].astype(object).where(frame[name].notna(), None).tolist() == (
            read[name].astype(object).where(read[name].notna(), None).tolist()
        )
    assert ProbeTable().frame().shape == (0, len(frame.columns))
