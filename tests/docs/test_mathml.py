"""Tests of docs/_ext/mathml.py."""

from types import SimpleNamespace

import pytest
from docutils.nodes import SkipNode, math, math_block

from docs._ext.mathml import display, inline


def test_formulas_are_written_as_mathml() -> None:
    """Within a line, and in a place of their own, which scrolls if it is too wide."""
    page = SimpleNamespace(body=[])
    for write, node in ((inline, math("", r"\frac{a}{b}")), (display, math_block("", "x_i"))):
        with pytest.raises(SkipNode):
            write(page, node)
    assert page.body[0].startswith("<math")
    assert "<mfrac>" in page.body[0]
    assert page.body[1].startswith('<div class="math"><math')
    assert 'display="block"' in page.body[1]
    assert "<msub>" in page.body[1]
