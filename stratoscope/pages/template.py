"""HTML from templates, in which every text is escaped, and files that are inside a page."""

import base64
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stratoscope.printable import printable

__all__ = ["Inside", "Markup", "inside", "rendered"]
KINDS = {"csv": "text/csv", "json": "application/json", "pdf": "application/pdf", "png": "image/png"}
LARGEST = 4 * 2**20  # bytes of a file in a page: what is mailed should not be much larger


class Inside(NamedTuple):
    """A file inside a page.

    Attributes:
        name: Of the file that a browser saves.
        address: Its content, as an address; empty if it is too large.
    """

    name: str
    address: str


def inside(file: Path, name: str = "", largest: int = LARGEST) -> Inside:
    """Put a file into a page.

    Args:
        file: The file.
        name: What it is called there; by default as it is.
        largest: Bytes; a larger one is only named.

    Raises:
        OSError: If it cannot be read.
    """
    name = name or file.name
    if file.stat().st_size > largest:
        return Inside(name, "")
    kind = KINDS.get(file.suffix.removeprefix("."), "text/plain")
    return Inside(name, f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}")


def rendered(template: str, **parts: Any) -> str:
    """A page.

    Args:
        template: Name of a file in templates/.
        **parts: What it asks for.
    """
    return _environment().get_template(template).render(parts)


@cache
def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).parent / "templates")
    clean: Callable[[Any], Any] = _clean
    return Environment(
        loader=folder,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=clean,
    )


def _clean(value: Any) -> Any:
    """A text, which may be anybody's, with what is no letter written out; what is HTML already, and numbers, stay."""
    return printable(value) if type(value) is str else value
