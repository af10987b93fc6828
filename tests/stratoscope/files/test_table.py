"""Tests of the tables that grow with a run."""

import os
from pathlib import Path
from typing import Any

import pytest

from stratoscope.files.table import EpochTable, Row, UnreadableTable, read_rows

COLUMNS: dict[str, Any] = {"epoch": int, "layer": str, "count": int, "loss": float, "fine": bool, "value": float | str}


def rows_of(epoch: int, *layers: str) -> list[Row]:
    """Rows of an epoch, with numbers that take all their digits."""
    rest = {"count": epoch * 10, "loss": None if epoch == 1 else 1 / (epoch + 3), "fine": epoch % 2 == 0}
    return [{"epoch": epoch, "layer": layer, **rest, "value": "no: none" if epoch == 2 else 0.1} for layer in layers]


def filled(*epochs: int) -> EpochTable:
    """A table with two rows at every epoch."""
    table = EpochTable(COLUMNS)
    for epoch in epochs:
        table.replace(epoch, rows_of(epoch, "conv, 1", '"fc"'))
    return table


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Numbers, texts, truth and their absence come back with their types, to the last digit."""
    table, file = filled(0, 1, 2), tmp_path / "new" / "table.csv"
    table.write(file)
    assert read_rows(file, COLUMNS) == (table.rows, file.stat().st_size)


def test_rows_are_appended(tmp_path: Path) -> None:
    """However rows come, the file is the same as one written at once; what is there is not written again."""
    file, whole = tmp_path / "grown.csv", tmp_path / "whole.csv"
    table = EpochTable(COLUMNS)
    places = []
    for epoch in range(5):
        table.replace(epoch, rows_of(epoch, "conv, 1", '"fc"'))
        table.write(file)
        places.append(file.stat().st_ino)
        before = file.stat().st_mtime_ns
        table.write(file)  # nothing new
        assert file.stat().st_mtime_ns == before
    filled(*range(5)).write(whole)
    assert file.read_bytes() == whole.read_bytes()
    assert len(set(places)) == 1


@pytest.mark.parametrize("change", ["replaced", "earlier", "gone", "cut", "longer", "another file"])
def test_the_file_is_right_whatever_happened(tmp_path: Path, change: str) -> None:
    """A replaced or earlier epoch, and a file that somebody has changed, are written anew."""
    file, whole = tmp_path / "table.csv", tmp_path / "whole.csv"
    table = filled(1, 2)
    table.write(file)
    if change == "replaced":
        table.replace(2, rows_of(2, "only"))
    elif change == "earlier":
        table.replace(0, rows_of(0, "conv, 1"))
    elif change == "gone":
        file.unlink()
    elif change == "cut":
        os.truncate(file, 30)
    elif change == "longer":
        with file.open("a") as text:
            text.write("3,half a r")
        table.replace(3, rows_of(3, "conv, 1"))
    else:
        file = tmp_path / "other.csv"
    table.write(file)
    EpochTable(COLUMNS, table.rows).write(whole)
    assert file.read_bytes() == whole.read_bytes()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk takes no more, the rows before stay, and are followed by the new ones when it does."""
    file, table = tmp_path / "table.csv", filled(0)
    table.write(file)
    before = file.read_bytes()
    table.replace(1, rows_of(1, "conv, 1"))

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            table.write(file)
    assert file.read_bytes() == before
    table.write(file)
    assert read_rows(file, COLUMNS)[0] == table.rows


@pytest.mark.parametrize(
    "later", [b"", b"3,conv,3", b"3,conv,30,0.1,True,0.1\n", b'4,"con', b"\0\0\0\n\0\0", b"3,\xff,\n"]
)
def test_going_on(tmp_path: Path, later: bytes) -> None:
    """A run that knows the last epoch of its checkpoint goes on after it, whatever it had written later."""
    file, whole = tmp_path / "table.csv", tmp_path / "whole.csv"
    table = filled(0, 1, 2)
    table.write(file)
    with file.open("ab") as out:
        out.write(later)
    again = EpochTable(COLUMNS, table.latest)
    assert again.go_on(file, table.latest) == 4
    assert again.rows == table.rows
    place = file.stat().st_ino
    again.replace(3, rows_of(3, "conv, 1", '"fc"'))
    again.write(file)
    filled(0, 1, 2, 3).write(whole)
    assert file.read_bytes() == whole.read_bytes()
    assert file.stat().st_ino == place


def test_a_table_of_an_earlier_release_gets_its_new_column(tmp_path: Path) -> None:
    """Where a file lacks a column its cells are empty, and it is written anew with the next epoch."""
    file, table = tmp_path / "table.csv", filled(0, 1)
    few = {name: kind for name, kind in COLUMNS.items() if name not in {"fine", "layer"}}
    EpochTable(few, table.rows).write(file)
    again = EpochTable(COLUMNS, table.latest)
    assert again.go_on(file, table.latest) == 2
    again.replace(2, rows_of(2, "conv, 1"))
    again.write(file)
    empty = [{**row, "layer": "", "fine": None} for row in rows_of(0, "conv, 1", '"fc"')]
    assert read_rows(file, COLUMNS)[0] == [*empty, *table.latest, *rows_of(2, "conv, 1")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "epoch,layer\nx,conv\n",
        "epoch,count\n1,2,3\n",
        "epoch,fine\n1,perhaps\n",
        "epoch\n\x00\n",
        "epoch,layer\n1,conv\n,conv\nx,conv\n",
    ],
)
def test_what_is_no_such_table_is_named(tmp_path: Path, text: str) -> None:
    """The file is named, and the table keeps the rows it has."""
    file, latest = tmp_path / "table.csv", rows_of(7, "conv, 1")
    file.write_text(text)
    table = EpochTable(COLUMNS, latest)
    with pytest.raises(UnreadableTable, match=r"table\.csv"):
        table.go_on(file, latest)
    assert table.rows == latest


def test_a_row_is_a_line(tmp_path: Path) -> None:
    """Text with line breaks, as of an error, does not break the file."""
    table = EpochTable({"epoch": int, "failed": str}, [{"epoch": 0, "failed": "too\nlittle\r\nmemory"}])
    table.write(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "epoch,failed\n0,too little memory\n"
