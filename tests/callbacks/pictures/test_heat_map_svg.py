"""Tests of callbacks/pictures/heat_map_svg.py."""

from xml.etree import ElementTree

import pytest

from stratoscope.callbacks.pictures.heat_map import HeatMap
from stratoscope.callbacks.pictures.heat_map_svg import svg, without_tex

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


def test_in_a_page_it_needs_no_name_space_and_no_headings() -> None:
    """Alone in a file it would not be shown without."""
    one = HeatMap("", "%", LAYERS, [0, 5], {(0, 0): (10.0, "10")})
    assert "://" not in svg("", [one], (0.0, 100.0), alone=False)
    assert svg("", [one], (0.0, 100.0)).startswith("<svg xmlns='http://www.w3.org/2000/svg'")
    narrow, wide = (svg("", [HeatMap("", unit, LAYERS, [0], {})], (0.0, 1.0)).split("'")[3] for unit in ("", "%"))
    assert float(narrow.split()[2]) < float(wide.split()[2])  # without a unit beside the colour bar


def test_in_a_page_it_is_narrow() -> None:
    """So that two have room beside each other, and one on a telephone; alone it has room for numbers."""
    cells = {(0, at): (float(at), str(at)) for at in range(20)}
    one = HeatMap("", "", ["network.layer1.relu"], list(range(20)), cells)
    for alone, wide, numbers in ((True, 680, 20), (False, 20 * 13, 0)):
        root = ElementTree.fromstring(svg("", [one], (0.0, 19.0), alone))
        paths = [path for path in root.iter() if path.find("{*}title") is not None]
        ends = [float((path.get("d") or "M").split()[0][1:]) for path in paths]
        assert max(ends) - min(ends) == pytest.approx(wide * 19 / 20)
        assert len(list(root.iter(f"{SPACE if alone else ''}g"))[-1]) == numbers


def test_chance_is_marked_on_the_colour_bar() -> None:
    """Where guessing is among the colours."""
    for chance, marked in ((50.0, True), (10.0, False), (None, False)):
        one = HeatMap("", "%", LAYERS, [0, 5], {(0, 0): (30.0, "30")}, chance=chance)
        assert ("chance" in texts(ElementTree.fromstring(svg("", [one], (20.0, 80.0))))) == marked


def test_what_is_below_zero_is_told_in_grey_too() -> None:
    """By its number, or where there is no room for numbers by strokes."""
    for epochs in (2, 200):
        cells = {(0, at): (float(-1) ** at, "1") for at in range(epochs)}  # a stroke at 3, 9, 15, ...
        text = svg("", [HeatMap("", "%", ["a"], list(range(1, epochs + 1)), cells, difference=True)], (-1.0, 1.0))
        strokes = text.partition("stroke='#555'")[0].rpartition("<path d='")[2].count("M")
        assert ("stroke='#555'" in text, strokes if epochs == 200 else 0) == (epochs == 200, 33 * (epochs == 200))


def test_names_of_columns_are_upright_where_they_have_no_room() -> None:
    """Such as those of layers beside layers; the picture is as much higher."""
    cells = {(0, 0): (1.0, "1")}
    short, long = (
        svg("", [HeatMap("", "CKA", [name, "b"], [name, "b"], cells)], (0.0, 1.0)) for name in ("a", "a_long_name")
    )
    assert "rotate(-90 " not in short
    assert long.count("rotate(-90 ") == 2
    assert float(long.split("'")[3].split()[3]) > float(short.split("'")[3].split()[3])


def test_a_number_without_a_logarithm_has_no_colour() -> None:
    """And stays readable."""
    one = HeatMap("", "%", ["a"], [1, 2], {(0, 0): (0.0, "0"), (0, 1): (2.0, "2")}, log=True)
    root = ElementTree.fromstring(svg("", [one], (1.0, 2.0)))
    first = next(path for path in root.iter(f"{SPACE}path") if path.find(f"{SPACE}title") is not None)
    assert first.get("fill") == "#ffffff"


@pytest.mark.parametrize(("unit", "plain"), [("%", "%"), ("tr($S_W S_B^+$) / a_b", "tr(SW SB+) / a_b")])
def test_units_are_plain_text(unit: str, plain: str) -> None:
    """Formulas between dollars are read by pictures that are drawn only."""
    assert without_tex(unit) == plain
