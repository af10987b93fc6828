"""Tests of scripts/pictures/front.py."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "scripts" / "pictures" / "front.py"


@pytest.fixture
def front() -> ModuleType:
    """The script, imported."""
    spec = importlib.util.spec_from_file_location("front", SCRIPT)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def runs(front: ModuleType, accuracy: float) -> DataFrame:
    """Two layers and epochs of every panel, all of one accuracy."""
    about = {"source": "probes", "name": "accuracy", "value": accuracy}
    places = [{"layer": layer, "epoch": epoch} for layer in ("input", "network.logits") for epoch in (0, 5)]
    kinds = [{"run": run, "labels": labels, "split": split} for run, labels, split in front.PANELS]
    return DataFrame([about | kind | place for kind in kinds for place in places])


def test_the_picture_is_wide_and_shows_the_numbers(front: ModuleType, tmp_path: Path) -> None:
    """Another accuracy has another colour: blue at chance, yellow at the end of the scale."""
    shades: list[Any] = []
    for accuracy in (0.1, 1.0):
        front.draw(runs(front, accuracy), "A network, and data", tmp_path / "front.png")
        picture = Image.open(tmp_path / "front.png").convert("RGB")
        assert picture.width > 3 * picture.height
        shades.append(np.asarray(picture)[picture.height // 2 - 30, picture.width // 10].astype(int))
    assert shades[0][0] < shades[0][2]
    assert shades[1][0] > shades[1][2]
