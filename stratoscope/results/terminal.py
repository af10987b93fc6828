"""Tables that fit a terminal, and stay whole and plain in a pipe."""

from collections.abc import Sequence

from rich.cells import set_cell_size
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from stratoscope.printable import printable

PIPE = 10_000  # columns: nothing is wrapped or cut
LEAST = 12  # columns that a shortened cell keeps


def put(*parts: RenderableType) -> None:
    """Print parts one below the other.

    Args:
        parts: Texts and tables.
    """
    parts = tuple(clean(part) if isinstance(part, str | Text) else part for part in parts)
    console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    plain = Console(width=PIPE, highlight=False, markup=False, emoji=False, color_system=None)
    with plain.capture() as text:
        for part in parts:
            plain.print(part)
    print("".join(f"{line.rstrip()}\n" for line in text.get().splitlines()), end="")


def columns(
    names: Sequence[str], rows: Sequence[Sequence[Text | str]], words: Sequence[str], long: Sequence[str] = ()
) -> Table:
    """A table without a frame; where the terminal is narrow, long cells are shortened.

    Args:
        names: Of the columns.
        rows: Of cells.
        words: The columns that begin at the left; others are numbers.
        long: The columns whose cells may be shortened.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    names, long = [printable(name) for name in names], [printable(name) for name in long]
    words = [printable(name) for name in words]
    widths = {
        name: max(len(name), *(row[place].cell_len for row in cells)) if cells else len(name)
        for place, name in enumerate(names)
    }
    console = Console()
    room = console.width if console.is_terminal else PIPE
    while sum(widths.values()) + 2 * (len(names) - 1) > room:
        widest = max(long, key=lambda name: widths[name], default=None)
        if widest is None or widths[widest] <= LEAST:
            break
        widths[widest] -= 1
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name in words else "right", no_wrap=True)
    for row in cells:
        table.add_row(*(_shortened(cell, widths[name], name == "run") for cell, name in zip(row, names, strict=True)))
    return table


def grid(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Names and what they are, in two columns; the second is wrapped.

    Args:
        rows: Names and texts.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(printable(name), "bold"), clean(text))
    return table


def clean(text: str | Text) -> Text:
    """A text without anything that would steer the terminal.

    Args:
        text: May be anybody's.
    """
    plain = text.plain if isinstance(text, Text) else text
    if (shown := printable(plain)) == plain and isinstance(text, Text):
        return text
    return Text(shown, text.style if isinstance(text, Text) else "")


def _shortened(cell: Text, room: int, middle: bool) -> Text:
    """A cell without its end or its middle: a run's name begins with its time and ends with what no other has."""
    if cell.cell_len <= room:
        return cell
    head = (room - 1) // 2 if middle else room - 1
    tail = set_cell_size(cell.plain[::-1], room - 1 - head)[::-1]
    return Text(f"{set_cell_size(cell.plain, head)}…{tail}", cell.style)
