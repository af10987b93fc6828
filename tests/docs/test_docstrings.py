"""Tests of docs/_ext/docstrings.py."""

from docs._ext.docstrings import markdown, prose

DOCSTRING = """Do something with `x`, as in Zhang et al. 2017.

    z = 1/n sum_i x_i.

Used as

    y = something(x)

Args:
    x: Numbers, in [0, 1);
        of any shape.
    **more: Of `other`.

Returns:
    A number from
    0 <= y.

Raises:
    ValueError: If there are none.

Source: nowhere."""


def test_sections_formulas_and_code() -> None:
    """Formulas are told from Python, entries of sections become items, what follows a section is text again."""
    found = markdown(DOCSTRING, lambda name: f"link to {name}" if name == "other" else None).split("\n\n")
    assert found == [
        "Do something with `x`, as in [Zhang et al. 2017](#zhang-et-al-2017).",
        "$$\nz=\\frac{1}{n}\\sum_{i}x_{i}.\n$$",
        "Used as",
        "```python\ny = something(x)\n```",
        "**Arguments**",
        "- `x`: Numbers, in \\[0, 1); of any shape.\n- `**more`: Of link to other.",
        "**Returns**",
        "A number from 0 &lt;= y.",
        "**Raises**",
        "- `ValueError`: If there are none.",
        "Source: nowhere.",
    ]


def test_nothing_in_a_text_is_taken_for_markup() -> None:
    """Neither angle brackets, dollars nor square brackets; between backticks they stay as they are."""
    assert prose("<a> $b$ [c](d) `<a> [c]`") == r"&lt;a> \$b\$ \[c](d) `<a> [c]`"
