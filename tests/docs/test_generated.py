"""Tests of docs/_ext/generated.py, and of the whole site."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs._ext.generated import MAKERS, PLACE, filled, without_links_out
from docs._ext.pictures import Pictures

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = {"script", "img", "iframe", "link", "source"}


def test_pages_ask_for_all_that_is_made_and_nothing_else() -> None:
    """Every maker has one place in one page."""
    places = [name for page in DOCS.rglob("*.md") for name in PLACE.findall(page.read_text())]
    assert sorted(places) == sorted(MAKERS)


def test_a_place_is_filled(tmp_path: Path) -> None:
    """And what stands around it stays; one that is unknown is an error."""
    page = filled("# A\n\n<!-- generated: tables -->\n\nend", lambda _: Pictures(tmp_path, tmp_path))
    assert page.startswith("# A\n\n- `probes.csv`: `epoch`")
    assert page.endswith("\n\nend")
    with pytest.raises(KeyError):
        filled("<!-- generated: nothing -->", lambda _: Pictures(tmp_path, tmp_path))


def test_links_that_lead_out_of_the_pages_become_paths() -> None:
    """As what is behind them is on no page; links between pages stay."""
    text = "[CONTRIBUTING.md](../../CONTRIBUTING.md), [a test](../../tests/conftest.py), [data](../reference/data.md)"
    found = without_links_out(text, DOCS / "howto")
    assert found == "`CONTRIBUTING.md`, a test (`tests/conftest.py`), [data](../reference/data.md)"


class Fetched(HTMLParser):
    """What a browser would fetch to show a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.formulas = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note its address."""
        self.formulas += tag == "math"
        if tag in SCRIPTS:
            self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    """Its pages have their pictures and formulas, and all that they load lies beside them."""
    words = [
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        str(tmp_path / "doctrees"),
        str(DOCS),
        str(tmp_path / "html"),
    ]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], cwd=DOCS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(tmp_path / "html").as_posix(): page for page in (tmp_path / "html").rglob("*.html")}
    assert {"index.html", "gallery.html", "reference/kinds.html", "reference/api_probes.html"} <= {*pages}
    found = {name: Fetched(page.read_text()) for name, page in pages.items()}
    for name, one in found.items():
        for address in one.addresses:
            assert "//" not in address, name
            path = address.partition("?")[0].partition("#")[0]
            assert not path or (pages[name].parent / path).exists(), (name, address)
    assert found["reference/api_probes.html"].formulas >= 10
    assert sum("_images/" in address for address in found["gallery.html"].addresses) == 7
    assert len(list((tmp_path / "html").rglob("report.html"))) == 1
    assert "notebooks/memorising.html" in pages
