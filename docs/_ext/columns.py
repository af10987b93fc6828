"""The columns of the tables that runs leave, from the code that writes them."""

from collections.abc import Mapping
from types import UnionType
from typing import Any

from docs._ext.docstrings import prose
from stratoscope.callbacks.instruments import distances, loss_path, measures, online_probes
from stratoscope.callbacks.pictures import probe_table
from stratoscope.files.table import COLUMNS

TABLES: dict[str, Mapping[str, Any]] = {
    "probes.csv": probe_table.COLUMNS,
    "measures.csv": measures.COLUMNS,
    "online_probes.csv": online_probes.COLUMNS,
    "path.csv": loss_path.COLUMNS,
    "distances.csv": distances.COLUMNS,
}
KINDS = {str: "text", int: "whole number", float: "number", bool: "True or False"}


def columns() -> str:
    """A table of all columns, as Markdown: what is in the cells of each."""
    lines = ["| column | cells | what |", "|---|---|---|"]
    for name, column in COLUMNS.items():
        about = prose(column.about).replace("|", r"\|")
        lines.append(f"| `{name}` | {_kind(column.kind)} | {about} |")
    return "\n".join(lines)


def tables() -> str:
    """A list of the files, as Markdown: the columns of each in their order."""
    return "\n".join(f"- `{file}`: {', '.join(f'`{name}`' for name in kinds)}" for file, kinds in TABLES.items())


def _kind(kind: Any) -> str:
    return "number, or text" if isinstance(kind, UnionType) else KINDS[kind]
