"""The Sphinx extension of these pages: a line `<!-- generated: NAME -->` of a page is replaced by what is made here.

So what the code knows already, such as options, columns and classes, is written once.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs._ext import mathml
from docs._ext.api import PACKAGES, api, loading
from docs._ext.columns import columns, tables
from docs._ext.command_line import commands
from docs._ext.contents import contents
from docs._ext.gallery import gallery
from docs._ext.kinds import kinds
from docs._ext.notebooks import NOTEBOOKS, notebook
from docs._ext.papers import papers
from docs._ext.pictures import Pictures

DOCS = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)\)")
PLACE = re.compile(r"^<!-- generated: (.+) -->$", re.MULTILINE)
MAKERS: dict[str, Callable[[Pictures], str]] = {
    **{f"api of {package}": lambda _, package=package: api(package) for package in PACKAGES},  # type: ignore[misc]
    "api of runs": lambda _: loading(),
    **{f"notebook {name}": lambda _, name=name: notebook(name) for name in NOTEBOOKS},  # type: ignore[misc]
    "commands": lambda _: commands(),
    "kinds": kinds,
    "columns": lambda _: columns(),
    "tables": lambda _: tables(),
    "papers": lambda _: papers(),
    "gallery": gallery,
    "contents": lambda _: contents(),
}


def filled(text: str, pictures: Callable[[str], Pictures]) -> str:
    """A page with all its places filled.

    Args:
        text: Of the page.
        pictures: Gives what takes the pictures of a maker, by its name.

    Raises:
        KeyError: If a page asks for what is not made.
    """
    return PLACE.sub(lambda place: MAKERS[place[1]](pictures(place[1])), text)


def without_links_out(text: str, folder: Path) -> str:
    """A page whose links to files outside of these pages, such as a test, are their paths in the repository instead.

    Args:
        text: Of the page.
        folder: Where the page is.
    """

    def path(link: re.Match[str]) -> str:
        file = (folder / link[2]).resolve()
        if file.is_relative_to(DOCS):
            return link[0]
        name = file.relative_to(DOCS.parent).as_posix()
        return f"`{name}`" if link[1].strip("`") == name else f"{link[1]} (`{name}`)"

    return LINK.sub(path, text)


def setup(app: Any) -> dict[str, bool]:
    """Connect it all."""

    def read(app: Any, name: str, source: list[str]) -> None:
        page = Path(app.srcdir, name).parent
        made = Path(app.doctreedir).parent / "made"
        source[0] = filled(without_links_out(source[0], page), lambda maker: Pictures(made / maker, page))

    app.connect("source-read", read)
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.display, None))
    return {"parallel_read_safe": True}
