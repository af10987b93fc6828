"""Tests of callbacks/pictures/path_figure.py: what is drawn of a path or plane."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.path_figure import _apart, _lines, draw_path

ORIGIN = Origin("MLP", "Digits", "RandomLabels", 10)


def row(split: str, alpha: float, loss: float, beta: float | None = None, **more: Any) -> dict[str, Any]:
    """A row of path.csv."""
    usual: dict[str, Any] = {"epoch": 3, "path": "straight" if beta is None else "triangle", "labels": "true_label"}
    numbers = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "loss": loss, "loss_error": 0.1}
    return {**usual, "split": split, "alpha": alpha, "beta": beta, **numbers, **more}


def test_label_kinds_that_are_the_same_are_drawn_once() -> None:
    """Those of a test set whose labels are all true; in a training set with random ones both are there."""
    rows = [row(split, alpha, alpha) for split in ("train", "test") for alpha in (0.0, 1.0)]
    rows += [row("train", alpha, 2 + alpha, labels="given_label") for alpha in (0.0, 1.0)]
    rows += [row("test", alpha, alpha, labels="given_label") for alpha in (0.0, 1.0)]
    assert _apart(rows) == {
        ("true_label", "train"): "train set, true labels",
        ("given_label", "train"): "train set, given labels",
        ("true_label", "test"): "test set",
    }


@pytest.mark.parametrize(("beyond", "scale"), [(2.0, "linear"), (500.0, "log")])
def test_what_is_far_beyond_the_ends_does_not_flatten_what_is_between(beyond: float, scale: str) -> None:
    """Then the loss has a logarithmic scale."""
    figure = Figure()
    rows = [row("train", 0.0, 0.1), row("train", 0.5, 1.0), row("train", 1.0, 0.1), row("train", 2.0, beyond)]
    _lines(figure, rows, _apart(rows), ["a", "b"])
    assert figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize("flat", [False, True])
def test_a_picture_is_drawn(flat: bool, tmp_path: Path) -> None:
    """Also of losses that are infinite somewhere, or all the same."""
    at = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.3), (0.5, 0.2)]
    rows = [row(split, a, 1 + a, b if flat else None) for split in ("train", "test") for a, b in at]
    rows[4] |= {"loss": float("inf")}
    draw_path(rows, ORIGIN, ["a", "b", "c"], tmp_path / "path.png")
    with Image.open(tmp_path / "path.png") as picture:
        assert picture.width > 700
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
    draw_path([one | {"loss": 1.0} for one in rows], ORIGIN, ["a", "b", "c"], tmp_path / "flat.png")
    assert (tmp_path / "flat.png").is_file()
