"""Formulas as MathML, which browsers draw themselves: no script, no font and no picture has to be fetched or made."""

from typing import Any

from latex2mathml.converter import convert


def inline(translator: Any, node: Any) -> None:
    """Write a formula within a line."""
    _write(translator, convert(node.astext()))


def display(translator: Any, node: Any) -> None:
    """Write a formula of its own line."""
    shown = convert(node.astext(), display="block")
    _write(translator, f'<div class="math">{shown}</div>')


def _write(translator: Any, html: str) -> None:
    from docutils.nodes import SkipNode

    translator.body.append(html)
    raise SkipNode
