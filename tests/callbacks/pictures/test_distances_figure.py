"""Tests of callbacks/pictures/distances_figure.py."""

from pathlib import Path

import pytest
from PIL import Image

from stratoscope.callbacks.pictures.distances_figure import draw_distances
from stratoscope.callbacks.pictures.origin import Origin


@pytest.mark.parametrize(("layers", "epochs"), [(1, 1), (3, 5), (60, 40)])
def test_a_picture_is_drawn(layers: int, epochs: int, tmp_path: Path) -> None:
    """Of few layers and epochs, and of many."""
    rows = [
        {"epoch": epoch, "layer": layer, "measure": measure, "value": 1.0 + epoch}
        for epoch in range(epochs)
        for layer in ("(all)", *(f"network.{number}" for number in range(layers)))
        for measure in ("norm", "from_start", "to b")
    ]
    draw_distances(rows, Origin("MLP"), tmp_path / "distances.png")
    with Image.open(tmp_path / "distances.png") as picture:
        assert 600 < picture.width < 1700
        assert 300 < picture.height < 1500
