"""Tests of callbacks/pictures/heat_map_svg.py."""

from xml.etree import ElementTree

import pytest

from stratoscope.callbacks.pictures.heat_map import HeatMap
from stratoscope.callbacks.pictures.heat_map_svg import svg

LAYERS = ["net.a<b", "net.c"]
SPACE = "{http://www.w3.org/2000/svg}"


def texts(root: ElementTree.Element) -> list[str]:
    """What can be read."""
    return [text.text or "" for text in root.iter(f"{SPACE}text")]


def test_every_cell_is_one_element_that_tells_its_number() -> None:
    """Under the mouse all that is known; names are text, whatever is in them."""
    cells = {(0, 0): (10.0, "10"), (1, 0): None, (1, 1): (90.0, "90~")}
    one = HeatMap("A & B", "%", LAYERS, [0, 5], cells, hints={(1, 1): "90.1 %, not converged"})
    root = ElementTree.fromstring(svg("Heading", [one], (0.0, 100.0)))
    paths = [path for path in root.iter(f"{SPACE}path") if path.find(f"{SPACE}title") is not None]
    assert [path.findtext(f"{SPACE}title") for path in paths] == [
        "net.a<b, untrained: 10 (%)",
        "net.c, untrained: failed",
        "net.c, epoch 5: 90.1 %, not converged",
    ]
    colours, norm = one.colours((0.0, 100.0))
    expected = "#" + "".join(f"{round(255 * part):02x}" for part in colours(norm(10.0))[:3])
    assert [path.get("fill") for path in paths][:2] == [expected, "#ffffff"]
    assert {"Heading", "A & B", "a<b", "c", "0", "5", "untrained", "epochs of training", "10", "90~", "%"} <= {
        *texts(root)
    }
    tops = {
        path.findtext(f"{SPACE}title", "")[:5]: float((path.get("d") or "").split()[1].split("h")[0]) for path in paths
    }
    assert tops["net.c"] < tops["net.a"]  # the input is at the bottom


@pytest.mark.parametrize(("layers", "epochs", "kilobytes"), [(6, 12, 20), (129, 200, 4000)])
def test_files_grow_by_little_per_cell(layers: int, epochs: int, kilobytes: int) -> None:
    """Some 130 bytes, without numbers where there is no room; of many epochs some are named."""
    cells = {(y, x): (float(x), str(x)) for y in range(layers) for x in range(epochs)}
    one = HeatMap("", "%", [f"net.layer{y}" for y in range(layers)], list(range(epochs)), cells)
    text = svg("Heading", [one], (0.0, 200.0))
    assert len(text) < 1000 * kilobytes
    assert text.count("<title>") == layers * epochs
    assert (text.count("pointer-events='none'></g>") == 0) == (epochs == 12)
    ElementTree.fromstring(text)
