"""Docstrings as Markdown: their sections as lists, their formulas rendered, names of the public API as links."""

import ast
import re
from collections.abc import Callable, Iterator

from docs._ext.formulas import latex
from docs._ext.papers import linked

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
HEADS = {"Args": "Arguments", "Yields": "Returns"}
ENTRY = re.compile(r"(?P<name>\*{0,2}\w+): (?P<text>.*)", re.S)
CODE = re.compile(r"(`[^`]*`)")

Link = Callable[[str], str | None]


def markdown(docstring: str, link: Link = lambda name: None) -> str:
    """A docstring in Google's style as Markdown.

    Args:
        docstring: Without the indentation of the code.
        link: Gives the Markdown of a name between backticks, or None for what is to stay code.
    """
    return "\n\n".join(_parts(docstring.splitlines(), link))


def first_line(docstring: str) -> str:
    """Its first sentence, without the full stop."""
    return docstring.split("\n\n")[0].strip().removesuffix(".")


def _parts(lines: list[str], link: Link) -> Iterator[str]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
        elif head := SECTION.match(lines[at]):
            end = _end(lines, at + 1, lambda line: not line or line.startswith("    "))
            yield f"**{HEADS.get(head[1], head[1])}**"
            yield _entries([line[4:] for line in lines[at + 1 : end]], head[1], link)
            at = end
        elif lines[at].startswith("    "):
            end = _end(lines, at, lambda line: not line or line.startswith("    "))
            yield _block([line[4:] for line in lines[at:end]])
            at = end
        else:
            end = _end(lines, at, bool)
            yield prose(" ".join(lines[at:end]), link)
            at = end


def _end(lines: list[str], at: int, inside: Callable[[str], bool]) -> int:
    while at < len(lines) and inside(lines[at]):
        at += 1
    return at


def _entries(lines: list[str], head: str, link: Link) -> str:
    """The entries of a section, an item each; what is returned is a paragraph."""
    entries: list[str] = []
    for line in filter(None, lines):
        if line.startswith("    ") and entries:
            entries[-1] += f" {line.strip()}"
        elif head in {"Returns", "Yields"} and entries:
            entries[-1] += f" {line}"
        else:
            entries.append(line)
    if head in {"Returns", "Yields"}:
        return prose(" ".join(entries), link)
    items = []
    for entry in entries:
        named = ENTRY.match(entry)
        items.append(f"- `{named['name']}`: {prose(named['text'], link)}" if named else f"- {prose(entry, link)}")
    return "\n".join(items)


def _block(lines: list[str]) -> str:
    """An indented block: Python, or else a formula."""
    text = "\n".join(lines).strip("\n")
    try:
        ast.parse(text)
    except SyntaxError:
        return f"$$\n{latex(text)}\n$$"
    return f"```python\n{text}\n```"


def prose(text: str, link: Link = lambda name: None) -> str:
    """A paragraph: names between backticks and papers become links, and nothing is HTML or a dollar formula.

    Args:
        text: Of the paragraph.
        link: As for `markdown`.
    """
    parts = CODE.split(text)
    for at, part in enumerate(parts):
        if part.startswith("`"):
            parts[at] = link(part.strip("`")) or part
        else:
            parts[at] = linked(part.replace("<", "&lt;").replace("$", r"\$").replace("[", r"\["))
    return "".join(parts)
