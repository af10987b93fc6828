"""Tests of docs/_ext/columns.py."""

from docs._ext.columns import TABLES, columns, tables
from stratoscope.files.table import COLUMNS


def test_every_column_is_on_the_page() -> None:
    """With what its cells are and a line about it."""
    lines = columns().splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == list(COLUMNS)
    for line, column in zip(lines, COLUMNS.values(), strict=True):
        assert len(line.replace(r"\|", "").split("|")) == 5, line
        assert column.about, line


def test_every_table_has_its_columns() -> None:
    """In the order of the file; all of them are explained above."""
    for line, (file, kinds) in zip(tables().splitlines(), TABLES.items(), strict=True):
        assert line.split("`")[1::2] == [file, *kinds]
        assert {*kinds} <= {*COLUMNS}
