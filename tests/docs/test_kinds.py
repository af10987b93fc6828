"""Tests of docs/_ext/kinds.py."""

from pathlib import Path

import pytest

from docs._ext.kinds import kinds
from docs._ext.pictures import Pictures
from stratoscope.callbacks.instruments.measures import MEASURES
from stratoscope.commands.catalogue import SECTIONS, ours


@pytest.mark.slow
def test_everything_that_is_listed_is_on_the_page(tmp_path: Path) -> None:
    """Every class of every section, and every measure; the pictures that are shown are there."""
    page = kinds(Pictures(tmp_path, tmp_path))
    for title, option, base in SECTIONS:
        assert f"## {title.capitalize()} (`{option}`)" in page
        for child in ours(base):
            assert f".{child.__name__}`" in page or f"`{child.__name__}`" in page, child
    for name in MEASURES:
        assert f"| `{name}` |" in page
    assert "[Zhang et al. 2017](#zhang-et-al-2017)" in page
    for name in ("RandomLabels", "ShuffledPixels", "ClusterLabels", "Cutout", "Shapes", "Digits", "as_they_are"):
        assert f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").is_file()
