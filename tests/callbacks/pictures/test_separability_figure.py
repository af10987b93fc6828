"""Tests of callbacks/pictures/separability_figure.py."""

from io import BytesIO
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from stratoscope.callbacks.pictures.layer_panel import Probed, panels
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import ProbeTable
from stratoscope.callbacks.pictures.separability_figure import Kind, draw_separability, layers_figure

DPI = 150
ORIGIN = Origin("MLP", "Digits", "RandomLabels", 10)


def row(layer: int, epoch: int, kind: str = "true_label", split: str = "test") -> dict[str, Any]:
    """A row of probes.csv."""
    accuracy = (layer + epoch) / 1000
    usual = {"labels": kind, "split": split, "chosen": True, "converged": layer != 1}
    ends = {"low": accuracy - 0.001, "high": accuracy + 0.002}
    return {"epoch": epoch, "layer": f"network.relu{layer}", "accuracy": accuracy, **ends, **usual}


def table(layers: int, epochs: int) -> ProbeTable:
    """Of one kind of labels."""
    return ProbeTable([row(y, x) for x in range(epochs) for y in range(layers)])


@pytest.mark.parametrize(
    ("layers", "epochs", "inches"), [(3, 2, (5.2, 2.62)), (129, 2, (5.2, 13.6)), (3, 200, (13.0, 2.62))]
)
def test_pictures_stay_small_enough_to_look_at(
    layers: int, epochs: int, inches: tuple[float, float], tmp_path: Path
) -> None:
    """However many layers and epochs there are; the SVG beside it has every number."""
    draw_separability(table(layers, epochs), ORIGIN, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        picture.load()
        assert picture.size == pytest.approx([DPI * inch for inch in inches], abs=2)
    assert {file.name for file in tmp_path.iterdir()} == {"picture.png", "picture.svg"}
    text = (tmp_path / "picture.svg").read_text()
    assert text.count("<title>") == layers * epochs
    assert "Linear probes: MLP, Digits, trained on RandomLabels" in text
    ElementTree.fromstring(text)


def two_kinds() -> list[Probed]:
    """Probes of two kinds of labels."""
    return [Probed(ORIGIN, ProbeTable([row(y, x, *of) for x in range(3) for y in range(4) for of in KINDS]))]


KINDS = [("true_label", "test"), ("given_label", "train")]


def test_heat_maps_beside_each_other_share_their_colours() -> None:
    """And one bar; the heading says what they are of, the untrained column is marked, rows are named once."""
    figure = layers_figure(panels(two_kinds()))
    first, second, bar = figure.axes
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.0, 1.0)
    assert bar.get_ylabel() == "accuracy, %"
    assert figure.get_suptitle() == "Linear probes: MLP, Digits, trained on RandomLabels, 2 epochs, chance 10 %"
    assert [axis.get_title("left") for axis in (first, second)] == ["true labels, test set", "given labels, train set"]
    assert first.get_xticklabels()[0].get_text() == "0\nuntrained"
    assert [axis.yaxis.get_tick_params()["labelleft"] for axis in (first, second)] == [True, False]
    assert first.get_position().y0 == second.get_position().y0


def test_profiles_have_intervals_and_chance() -> None:
    """A line before and after training for each kind; differences have one, around 0."""
    figure = layers_figure(panels(two_kinds()), "profile")
    axis = figure.axes[0]
    lines = {bars.get_label(): bars for bars in axis.containers}
    kinds = ["true labels, test set", "given labels, train set"]
    assert list(lines) == [f"{kind}, {when}" for kind in kinds for when in ("untrained", "epoch 2")]
    line, _, (bars,) = lines["true labels, test set, epoch 2"]
    assert list(line.get_ydata()) == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert bars.get_segments()[1][:, 1] == pytest.approx([0.2, 0.5])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["relu0", "relu1", "relu2", "relu3"]
    assert [np.unique(line.get_ydata()) for line in axis.lines if line.get_label() == "chance"] == [10.0]
    axis = layers_figure(panels(two_kinds(), show="difference"), "profile").axes[0]
    assert [bars.get_label() for bars in axis.containers] == [f"{kind}, epoch 2" for kind in kinds]
    assert list(axis.containers[0][0].get_ydata()) == pytest.approx([0.2] * 4)


def test_an_axis_of_the_users_takes_one_map_or_any_profile() -> None:
    """And keeps its figure; more maps than one are refused."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert layers_figure(panels(two_kinds(), "true_label"), axis=left) is figure
    assert "chance 10 %" in left.get_title("left")
    assert layers_figure(panels(two_kinds()), "profile", right) is figure
    assert right.containers
    with pytest.raises(ValueError, match="room for one heat map, got 2: choose labels"):
        layers_figure(panels(two_kinds()), axis=left)
    with pytest.raises(ValueError, match="kind must be 'heat map' or 'profile', got 'bars'"):
        layers_figure(panels(two_kinds()), "bars")  # type: ignore[arg-type]


def test_what_cannot_be_drawn_leaves_a_picture() -> None:
    """All probes have failed."""
    failed = ProbeTable([{**row(0, 0), "accuracy": None, "low": None, "high": None, "failed": "NaN"}])
    for kind in get_args(Kind):
        layers_figure(panels([Probed(Origin(), failed)]), kind).canvas.draw()


def test_a_figure_shows_itself_in_a_notebook() -> None:
    """Without pyplot, which would teach notebooks how."""
    figure: Any = layers_figure(panels(two_kinds()))
    with Image.open(BytesIO(figure._repr_png_())) as picture:
        assert picture.size == pytest.approx(figure.get_size_inches() * figure.dpi, abs=1)
