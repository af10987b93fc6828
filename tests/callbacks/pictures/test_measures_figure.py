"""Tests of callbacks/pictures/measures_figure.py."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stratoscope.callbacks.pictures.heat_map import HeatMap
from stratoscope.callbacks.pictures.measures_figure import draw_measures
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.probes import Separability


def probed(layers: int, epochs: int) -> ProbeTable:
    """A table of probes of true and given labels, of which one failed."""
    table = ProbeTable()
    for epoch in range(epochs):
        results = {}
        for layer in range(layers):
            share = (layer + epoch) / (layers + epochs)
            scores = [
                Separability(kind, split, share, converged=True)
                for kind in ("true_label", "given_label")
                for split in ("train", "test")
            ]
            if layer == epoch == 1:
                scores = [Separability(kind, "test", failed="NaN") for kind in ("true_label", "given_label")]
            results[f"network.layer{layer}"] = (10, scores)
        table.put(epoch, results)
    return table


def measured(layers: int, epochs: int) -> list[dict[str, Any]]:
    """Rows of every kind of measure."""
    rows = []
    for epoch in range(epochs):
        for layer in range(layers):
            at = {"epoch": epoch, "layer": f"network.layer{layer}"}
            values: list[tuple[str, str, Any]] = [
                ("neighbour_accuracy", "true_label", 0.5),
                ("effective_rank", "", 1.0 + 100 * layer),
                ("nc1", "true_label", 0.01 * 10**layer if layer < 9 else 1.0),
                *((f"cka with network.layer{other}", "", 0.1 * (layer - other) % 1) for other in range(layer)),
            ]
            if epoch:
                values.append(("cka with epoch 0", "", 0.25))
            if epoch > 1:
                values.append((f"cka with epoch {epoch - 1}", "", 0.75))
            if layer == 2:
                values[1] = ("rank", "", "failed: constant")
            split = "test"
            rows += [
                {**at, "measure": name, "labels": kind, "split": split, "value": value} for name, kind, value in values
            ]
    return rows


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> dict[str, HeatMap]:
    """What is drawn, by heading."""
    found: dict[str, HeatMap] = {}
    draw = HeatMap.draw

    def noting(self: HeatMap, *words: Any, **named: Any) -> None:
        found[self.heading] = self
        draw(self, *words, **named)

    monkeypatch.setattr(HeatMap, "draw", noting)
    return found


def test_every_measure_has_a_panel_with_its_values(tmp_path: Path, panels: dict[str, HeatMap]) -> None:
    """And nothing else has; what failed is crossed out; similarities are symmetric with 1 on the diagonal."""
    draw_measures(measured(4, 3), probed(4, 3), Origin("MLP", "Digits", classes=10), tmp_path / "measures.png")
    assert list(panels) == [
        "Linear probe accuracy\ntrue labels, test set",
        "Linear probe accuracy\ngiven labels, train set",
        "Nearest-neighbour accuracy\ntrue labels, test set",
        "Effective rank\ntest set",
        "NC1, variability within classes\ntrue labels, test set",
        "Linear CKA with the first epoch\ntest set",
        "Linear CKA with the previous epoch\ntest set",
        "Linear CKA between layers\nepoch 2, test set",
    ]
    probes, _, neighbours, rank, nc1, first, previous, between = panels.values()
    assert probes.cells[1, 1] is None
    assert probes.cells[3, 2] == (100 * (5 / 7), "71")
    assert neighbours.cells[0, 0] == (50.0, "50")
    assert rank.cells[2, 1] is None
    assert rank.cells[3, 0] == (301.0, "301")
    assert rank.log
    assert nc1.cells[3, 1] == (10.0, "10")
    assert first.cells == {(y, x): (0.25, "0.25") for y in range(4) for x in (1, 2)}
    assert previous.cells == {(y, x): (0.25, "0.25") if x == 1 else (0.75, "0.75") for y in range(4) for x in (1, 2)}
    assert between.cells[2, 2] == (1.0, "1.0")
    assert between.cells[3, 1] == between.cells[1, 3] == (0.1 * 2, "0.20")


@pytest.mark.parametrize(
    ("layers", "epochs"),
    [(3, 1), (12, 3), *(pytest.param(*size, marks=pytest.mark.slow) for size in ((26, 3), (10, 30), (50, 100)))],
)
def test_pictures_of_any_size_stay_small(layers: int, epochs: int, tmp_path: Path) -> None:
    """Below 300 kB, and no larger than a page or so."""
    file = tmp_path / "measures.png"
    draw_measures(measured(layers, epochs), probed(layers, epochs), Origin(), file)
    assert file.stat().st_size < 300_000
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        assert max(picture.size) < 4000
