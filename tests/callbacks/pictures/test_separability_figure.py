"""Tests of callbacks/pictures/separability_figure.py."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.callbacks.pictures.separability_figure import draw_separability

DPI = 150


def row(layer: int, epoch: int) -> dict[str, Any]:
    """A row of probes.csv."""
    usual = {"labels": "true_label", "split": "test", "chosen": True, "converged": layer != 1}
    return {"epoch": epoch, "layer": f"network.relu{layer}", "accuracy": (layer + epoch) / 1000, **usual}


@pytest.mark.parametrize(
    ("layers", "epochs", "inches"), [(3, 2, (6.0, 2.32)), (129, 2, (6.0, 13.0)), (3, 200, (12.0, 2.32))]
)
def test_pictures_stay_small_enough_to_look_at(
    layers: int, epochs: int, inches: tuple[float, float], tmp_path: Path
) -> None:
    """However many layers and epochs there are."""
    draw_separability(ProbeTable([row(y, x) for x in range(epochs) for y in range(layers)]), tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        picture.load()
        assert picture.size == pytest.approx([DPI * inch for inch in inches], abs=2)
