"""Tests of stratoscope/pages/template.py."""

import base64
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from stratoscope.pages.template import inside, rendered


def test_a_file_inside_a_page_is_there_to_the_byte(tmp_path: Path) -> None:
    """Under its own name or another; one that is too large is named alone."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"a,b\n\xff")
    one = inside(file, "mine.csv")
    kind, _, content = one.address.partition(";base64,")
    assert (one.name, kind) == ("mine.csv", "data:text/csv")
    assert base64.b64decode(content) == file.read_bytes()
    assert inside(file, largest=4) == ("a.csv", "")
    with pytest.raises(FileNotFoundError):
        inside(tmp_path / "none.csv")


def test_texts_are_text_and_html_is_html() -> None:
    """What is no letter is written out; UTF-8 can have all that is left."""
    page = rendered("page.html", title="<b>\x1b\udcff &", refresh=None)
    assert "<title>&lt;b&gt;\\x1b\\udcff &amp;</title>" in page
    assert page.encode()
    assert "<title><i>x</i></title>" in rendered("page.html", title=Markup("<i>x</i>"), refresh=None)


def test_a_page_loads_itself_again_only_if_it_is_asked_to() -> None:
    """And what a template lacks is an error, not an empty place."""
    assert '<meta http-equiv="refresh" content="4">' in rendered("page.html", title="a", refresh=4)
    assert "http-equiv" not in rendered("page.html", title="a", refresh=None)
    with pytest.raises(UndefinedError):
        rendered("page.html", title="a")
