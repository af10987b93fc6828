"""Tables of a run: rows of typed columns, by epoch, in a CSV file that grows with them.

A name of a column means the same in whatever table it stands: what its cells are, and what they say, is here and
nowhere else. So every table can be read without what has written it.
"""

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stratoscope.files.atomic import replacing
from stratoscope.files.bounded import open_plain

if TYPE_CHECKING:
    from pandas import DataFrame

Row = dict[str, Any]
LARGEST = 2**53  # whole number that a float holds too


class Column(NamedTuple):
    """What stands in a column.

    Attributes:
        kind: The type of its cells: str, int, float, bool, or `float | str` for a number or the reason why there is
            none. An empty cell is None in a column that is not str.
        about: What it is, in a line; empty if nothing is known of it.
        says: Whether it tells what a row is about, has a value that was measured, or a detail of how.
        needs: Columns without which it means nothing.
    """

    kind: Any
    about: str = ""
    says: Literal["what", "value", "detail"] = "detail"
    needs: tuple[str, ...] = ()


COLUMNS = {
    "epoch": Column(int, "number of finished epochs: 0 is the untrained network", "what"),
    "step": Column(int, "number of finished steps of training", "what"),
    "layer": Column(str, "name of the layer, which may well be a number", "what"),
    "labels": Column(str, "label kind: true_label, given_label, control_label; empty if the row is about none", "what"),
    "split": Column(str, "name of the set that was measured on: train, held_out, test or a further test set", "what"),
    "path": Column(str, "kind of path or plane between solutions: straight, curved, triangle, ...", "what"),
    "alpha": Column(float, "place on the path, or its first coordinate in the plane", "what"),
    "beta": Column(float, "second coordinate in the plane; empty on a path", "what"),
    "batch_norm": Column(str, "running statistics: interpolated or recomputed; empty where there are none", "what"),
    "measure": Column(str, "what the value is", "what", ("value",)),
    "value": Column(float | str, "the measure's value, or the reason why there is none", "value", ("measure",)),
    "accuracy": Column(float, "share of samples classified correctly, in [0, 1]", "value", ("labels", "split")),
    "loss": Column(float, "mean cross-entropy in nats, without the penalty", "value"),
    "loss_error": Column(float, "standard error of the loss, as the samples are some of many"),
    "excess": Column(float, "loss less what it would be if it were linear between the ends, in nats", "value"),
    "excess_error": Column(float, "standard error of the excess, of the differences sample by sample"),
    "low": Column(float, "lower end of the 95 % interval of the first value (Wilson)"),
    "high": Column(float, "upper end of that interval"),
    "gap": Column(float, "upper bound on how far the objective is from its optimum, in nats (duality gap)"),
    "chosen": Column(bool, "whether this row is the one to be shown; False: another of the same (ridge) is"),
    "correct": Column(int, "number of samples classified correctly"),
    "count": Column(int, "number of samples"),
    "width": Column(int, "numbers per sample in the layer's activation"),
    "features": Column(int, "numbers per sample that the probe was given, after the reduction"),
    "ridge": Column(float, "strength of the L2 penalty, ridge/2 |W|^2, on standardised features"),
    "objective": Column(float, "penalised mean cross-entropy on the set that was fitted, in nats"),
    "gradient_norm": Column(float, "norm of the objective's gradient at the fitted weights"),
    "converged": Column(bool, "whether the gap is within the tolerance"),
    "iterations": Column(int, "iterations spent on the fit"),
    "failed": Column(str, "the reason why there are no values; empty if there are"),
    "reduced": Column(str, "what was done to the activation to reduce it; empty if all of it was probed"),
}
NEVER_EMPTY = {"epoch", "layer", "measure", "chosen"}


def kinds_of(*names: str) -> dict[str, Any]:
    """The types of some columns, as `EpochTable` takes them."""
    return {name: COLUMNS[name].kind for name in names}


def columns_of(*names: str) -> dict[str, Column]:
    """Some columns, as `Table` takes them."""
    return {name: COLUMNS[name] for name in names}


class UnreadableTable(ValueError):
    """A file that is no such table; the text names it and says why."""


class EpochTable:
    """Rows by number of finished epochs, and their file.

    What has been written is not written again: rows of later epochs are appended, so that an epoch costs the same
    however many there were before. The rows of an epoch reach the file with one write, and the disk before `write`
    returns. Only where rows were replaced, or the file is not what was written, it is written anew, whole or not at
    all.

    Args:
        columns: Types of the columns by name: str, int, float, bool, or `float | str` for a number or the reason why
            there is none. An empty cell is None in a column that is not str. One of them is `epoch`.
        rows: Rows to begin with; they may have more than the columns.
    """

    def __init__(self, columns: Mapping[str, Any], rows: Iterable[Row] = ()) -> None:
        self.columns = columns
        self._begin(rows)

    def _begin(self, rows: Iterable[Row]) -> None:
        by_epoch: dict[int, list[Row]] = {}
        for row in rows:
            by_epoch.setdefault(row["epoch"], []).append(row)
        self._by_epoch = dict(sorted(by_epoch.items()))
        self._forget_file()

    def _forget_file(self) -> None:
        self._file, self._size, self._written = Path(), 0, -1  # bytes, and the last epoch among them

    @property
    def rows(self) -> list[Row]:
        """All rows, in order of their epochs."""
        return [row for rows in self._by_epoch.values() for row in rows]

    @property
    def epochs(self) -> list[int]:
        """All epochs, in order."""
        return list(self._by_epoch)

    def at(self, epoch: int) -> list[Row]:
        """The rows of an epoch."""
        return self._by_epoch.get(epoch, [])

    @property
    def latest(self) -> list[Row]:
        """The rows of the last epoch."""
        return next(reversed(self._by_epoch.values()), [])

    def replace(self, epoch: int, rows: Iterable[Row]) -> None:
        """Put rows in the place of those that an epoch has.

        Args:
            epoch: Number of finished epochs.
            rows: Its rows, with `epoch`.
        """
        if epoch <= self._written:
            self._forget_file()
        last = next(reversed(self._by_epoch), -1)
        self._by_epoch[epoch] = list(rows)
        if epoch < last:
            self._by_epoch = dict(sorted(self._by_epoch.items()))

    def clear(self) -> None:
        """Forget all rows, and which file they are in."""
        self._begin(())

    def unique(self, column: str) -> list[Any]:
        """The different values of a column, in order of appearance."""
        return list(dict.fromkeys(row[column] for row in self.rows))

    def frame(self) -> "DataFrame":
        """All rows as a pandas DataFrame with the columns of the file; an empty cell is missing (NaN, NA or None)."""
        from pandas import DataFrame

        types = {int: "Int64", float: "float64", bool: "boolean"}
        frame = DataFrame.from_records(
            [[row[name] for name in self.columns] for row in self.rows], columns=[*self.columns]
        )
        return frame.astype({name: types[kind] for name, kind in self.columns.items() if kind in types})

    def write(self, file: Path) -> None:
        """Bring a file up to date.

        Args:
            file: The CSV file; its folder is made if need be.

        Raises:
            OSError: If it cannot be written; what it held stays.
        """
        if file != self._file or not file.is_file() or file.stat().st_size < self._size:
            self._forget_file()
            with replacing(file) as part:
                self._append(part, self._line(self.columns) + self._lines(self._by_epoch))
            self._file = file
        elif new := [epoch for epoch in reversed(self._by_epoch) if epoch > self._written][::-1]:
            self._append(file, self._lines(new))

    def _append(self, file: Path, lines: str) -> None:
        rest = memoryview(lines.encode())
        with file.open("r+b" if self._size else "wb", buffering=0) as out:
            out.truncate(self._size)  # of rows that were not wholly written, or of a run that was broken off
            out.seek(self._size)
            try:
                while rest:
                    rest = rest[out.write(rest) :]
                os.fsync(out.fileno())
            except OSError:
                os.truncate(file, self._size)
                raise
            self._size = out.tell()
        self._written = next(reversed(self._by_epoch), -1)

    def _lines(self, epochs: Iterable[int]) -> str:
        return "".join(self._line([row[name] for name in self.columns]) for at in epochs for row in self._by_epoch[at])

    @staticmethod
    def _line(cells: Iterable[Any]) -> str:
        text = StringIO()
        # a row is a line, so that it can be seen where the last whole one ends
        one_line = (" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in cells)
        csv.writer(text, lineterminator="\n").writerow(one_line)
        return text.getvalue()

    def go_on(self, file: Path, latest: Iterable[Row]) -> int:
        """Take the rows up to those of the last epoch that is known, and go on with the file.

        Args:
            file: What an earlier `write` left.
            latest: The rows of the last epoch; the table has these alone so far, and the file may have later ones.

        Returns:
            How many rows of earlier epochs there are.

        Raises:
            UnreadableTable: If the file is another's or damaged; the table then has the latest rows alone.
        """
        latest = list(latest)
        last = latest[0]["epoch"] if latest else -1
        self._begin(latest)
        rows, size = read_rows(file, self.columns, last)
        before = [row for row in rows if row["epoch"] < last]
        self._begin([*before, *latest])
        if size and len(rows) - len(before) == len(latest):
            self._file, self._size, self._written = file, size, last
        return len(before)


def read_rows(file: Path, columns: Mapping[str, Any], last: int | None = None) -> tuple[list[Row], int]:
    """Read a table with its types; a last line without an end is left out, as it is not wholly written.

    Args:
        file: The CSV file.
        columns: Types by name, as of `EpochTable`. In those that an older file lacks all cells are empty.
        last: The last epoch to read; None reads all.

    Returns:
        The rows, and how many bytes of the file they and the header take; 0 bytes if it has other columns.

    Raises:
        UnreadableTable: If it is no such table.
    """
    lines = file.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    reader = csv.reader(line.decode() for line in lines)
    rows: list[Row] = []
    names: list[str] = []
    size = 0
    try:
        names = next(reader, [])
        if "epoch" not in names or not set(names) <= set(columns):
            raise UnreadableTable(f"expected the columns {', '.join(columns)}")
        lacking = {name: _value(kind, "") for name, kind in columns.items() if name not in names}
        size = len(lines[0])
        for line, cells in zip(lines[1:], reader, strict=True):
            row = {name: _value(columns[name], cell) for name, cell in zip(names, cells, strict=True)}
            if row["epoch"] is None:
                raise UnreadableTable("a row has no epoch")
            if last is not None and row["epoch"] > last:
                break
            rows.append(row | lacking)
            size += len(line)
    except (ValueError, csv.Error) as error:
        if rows and rows[-1]["epoch"] == last:  # behind what is asked for, as a power cut may leave it
            return rows, size if names == list(columns) else 0
        raise UnreadableTable(f"{file}, line {reader.line_num}: {' '.join(str(error).split())}") from error
    return rows, size if names == list(columns) else 0


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Attributes:
        columns: By name, in order.
        rows: Of cells by name.
    """

    columns: Mapping[str, Column]
    rows: list[Row]

    def has(self, *names: str) -> bool:
        """Whether it has all these columns."""
        return all(name in self.columns for name in names)

    def that(self, says: str) -> list[str]:
        """Names of the columns that say something: what, value or detail."""
        return [name for name, column in self.columns.items() if column.says == says]


def read_table(file: Path) -> Table | None:
    """Read the table in a file, whoever has written it; a last line without an end is left out.

    Columns whose name is not in `COLUMNS` have values if all of their cells are numbers; else they are texts, and tell
    what a row is about.

    Args:
        file: A CSV file, which may be anybody's.

    Returns:
        The table; None if it has no column epoch, and so is none of a run's.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    names, cells, ends = read_cells(file)
    if "epoch" not in names:
        return None
    for name in names:
        if missing := {*(COLUMNS[name].needs if name in COLUMNS else ())} - {*names}:
            raise ValueError(f"{file.name} has no column {', '.join(sorted(missing))}")
    columns, read = {}, []
    for name, column in zip(names, cells, strict=True):
        columns[name], cell_of = _column(name, column)
        read.append(converted(file, name, column, cell_of, ends))
    return Table(columns, [dict(zip(names, row, strict=True)) for row in zip(*read, strict=True)])


def read_cells(file: Path, grows: bool = True) -> tuple[list[str], list[tuple[str, ...]], list[int]]:
    """Read a CSV file by column; of one without a column epoch the names alone.

    Args:
        file: Which may be anybody's.
        grows: Whether a last line without an end is left out: it is being written, or a kill has cut it off.

    Returns:
        The names of its columns, their cells, and the number of the line of every row.

    Raises:
        OSError: If it cannot be read.
        ValueError: If names are not unique, or a row has too few or too many cells.
    """
    rows, ends = [], []
    with open_plain(file, newline="") as text:
        lines = csv.reader(line for line in text if not grows or line.endswith("\n"))
        names = next(lines, [])
        if len(set(names)) < len(names):
            raise ValueError(f"{file.name} has two columns of one name")
        for cells in filter(None, lines if "epoch" in names else ()):
            rows.append(cells)
            ends.append(lines.line_num)
            if len(cells) != len(names):
                raise ValueError(f"line {ends[-1]} of {file.name} has too few or too many cells")
    return names, list(zip(*rows, strict=True)) if rows else [()] * len(names), ends


def converted(
    file: Path, name: str, column: Sequence[str], cell_of: Callable[[str], Any], ends: Sequence[int]
) -> list[Any]:
    """The cells of a column with their types.

    Args:
        file: Where they are from.
        name: Of the column.
        column: Their texts.
        cell_of: What makes a cell of its text.
        ends: The numbers of their lines.

    Raises:
        ValueError: If there is another kind of text.
    """
    try:
        values = {cell: cell_of(cell) for cell in set(column)}  # the same texts stand in many rows
        return [values[cell] for cell in column]
    except ValueError:
        for line, cell in zip(ends, column, strict=True):
            try:
                cell_of(cell)
            except ValueError as error:
                raise ValueError(f"line {line} of {file.name}: {name}: {error}") from error
        raise


def _column(name: str, cells: Iterable[str]) -> tuple[Column, Callable[[str], Any]]:
    """What a column is, and what makes a cell of its text."""
    known = COLUMNS.get(name)
    if known is None:
        try:
            for cell in filter(None, cells):
                float(cell)
        except ValueError:
            return Column(str, says="what"), str
        return Column(float, says="value"), _number
    readers: dict[Any, Callable[[str], Any]] = {str: str, float: _number, int: whole}
    cell_of = readers.get(known.kind, partial(_value, known.kind))
    if name in NEVER_EMPTY:
        return known, partial(_filled, cell_of)
    return known, partial(_perhaps, whole) if known.kind is int else cell_of


def _number(cell: str) -> float | None:
    return float(cell) if cell else None


def _filled(cell_of: Callable[[str], Any], cell: str) -> Any:
    if not cell:
        raise ValueError("an empty cell")
    return cell_of(cell)


def _perhaps(cell_of: Callable[[str], Any], cell: str) -> Any:
    return cell_of(cell) if cell else None


def whole(cell: str) -> int:
    """A whole number from 0.

    Args:
        cell: Its text.

    Raises:
        ValueError: If it is none.
    """
    if cell.isdecimal() and len(cell) < 16:  # as they are written; metrics have 3.0
        return int(cell)
    number = float(cell)
    if not (number.is_integer() and 0 <= number <= LARGEST):  # which neither NaN nor infinity is
        raise ValueError(f"must be a whole number from 0, got {cell[:40]}")
    return int(number)


def _value(kind: Any, cell: str) -> Any:
    if kind is str:
        return cell
    if not cell:
        return None
    if kind is bool:
        if cell not in {"True", "False"}:
            raise ValueError(f"{cell} is neither True nor False")
        return cell == "True"
    if kind in {int, float}:
        return kind(cell)
    try:
        return float(cell)
    except ValueError:  # the reason why there is none
        return cell
