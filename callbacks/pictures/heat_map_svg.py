"""Heat maps as a small SVG text: one element per cell, whose numbers a browser shows under the mouse."""

from collections.abc import Iterator, Sequence
from html import escape

from stratoscope.callbacks.pictures.heat_map import MINUS, HeatMap, ink
from stratoscope.callbacks.pictures.probe_table import evenly, shared_prefix
from stratoscope.printable import one_printable_line

HIGH, WIDE, NARROW = 20, 34, 5  # pixels of a cell, and of the narrowest
ROOM = 680  # pixels for the columns of a map
LINE, LETTER = 16, 6.6  # pixels between lines, and across a letter
NAMED = 24  # most columns that are named
CROSS = "\N{MULTIPLICATION SIGN}"
WHITE = (1.0, 1.0, 1.0)
SHADES = 24  # of a colour bar


def svg(heading: str, maps: Sequence[HeatMap], span: tuple[float, float]) -> str:
    """Write maps that share their colours below each other.

    Args:
        heading: What all of them are of.
        maps: At least one.
        span: Numbers at the ends of the colour bar, see `HeatMap.colours`.

    Returns:
        A whole `<svg>` element, which may stand alone in a file or within a page.
    """
    parts: list[str] = []
    lines = heading.splitlines()
    left = 12 + max(LETTER * len(name) for one in maps for name in _short(one.layers))
    y, right = 8.0 + LINE * len(lines), 0.0
    for one in maps:
        y += LINE + 6
        parts.append(_text(left, y - 6, one.heading, "font-weight='bold'"))
        wide = _width(one)
        parts += _map(one, span, left, y, wide)
        y += HIGH * len(one.layers) + 3 * LINE
        right = max(right, left + wide * len(one.columns), left + LETTER * len(one.heading))
    right = max(right, *(8 + LETTER * len(line) for line in lines))
    parts += [_text(8, 18 + LINE * number, line) for number, line in enumerate(lines)]
    parts += _bar(maps[0], span, right + 16, 14.0 + LINE * (len(lines) + 1), HIGH * max(5, len(maps[0].layers)))
    size = f"{right + 90:.0f} {max(y, 40 + LINE * len(lines) + HIGH * 5):.0f}"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {size}' width='{size.split()[0]}' "
        f"font-family='sans-serif' font-size='12' shape-rendering='crispEdges'>"
        f"<rect width='100%' height='100%' fill='white'/>{''.join(parts)}</svg>\n"
    )


def _map(one: HeatMap, span: tuple[float, float], left: float, top: float, wide: float) -> Iterator[str]:
    """Cells, and the names of rows and columns."""
    shades = _shades(one, span)
    layers, bottom = _short(one.layers), top + HIGH * len(one.layers)
    numbers: list[str] = []
    for (row, column), cell in one.cells.items():
        x, y = left + wide * column, bottom - HIGH * (row + 1)
        at = one.columns[column]
        when = "untrained" if at == 0 else f"epoch {at}" if isinstance(at, int) else at
        where = ", ".join(filter(None, (one.layers[row], when)))
        said = "failed" if cell is None else f"{cell[1]} ({one.unit})"
        title = escape(one_printable_line(f"{where}: {one.hints.get((row, column)) or said}"))
        shade = shades.get((row, column), WHITE)
        yield f"<path fill='{_hex(shade)}' d='M{x:g} {y:g}h{wide:g}v{HIGH}h-{wide:g}z'><title>{title}</title></path>"
        if wide == WIDE or cell is None:
            numbers.append(_text(x + wide / 2, y + 14, cell[1] if cell else CROSS, f"fill='{ink(shade)}'"))
    yield f"<g text-anchor='middle' pointer-events='none'>{''.join(numbers)}</g>"  # so that one hovers over the cells
    for row, name in enumerate(layers):
        yield _text(left - 4, bottom - HIGH * row - 6, name, "text-anchor='end'")
    prefix = shared_prefix(list(one.layers))
    for column in evenly(list(range(len(one.columns))), NAMED):
        name = str(one.columns[column]).removeprefix(prefix)
        yield _text(left + wide * (column + 0.5), bottom + LINE - 2, name, "text-anchor='middle'")
    if one.columns[0] == 0:
        yield _text(left, bottom + 2 * LINE - 2, "untrained")
        yield f"<path d='M{left + wide:g} {top}V{bottom}' stroke='white' stroke-width='3'/>"
    if isinstance(one.columns[0], int):
        yield _text(left + max(64, wide * len(one.columns) / 2), bottom + 2 * LINE - 2, "epochs of training")


def _bar(one: HeatMap, span: tuple[float, float], x: float, y: float, high: float) -> Iterator[str]:
    """A colour bar, from the lowest number at the bottom to the highest."""
    colours, norm = one.colours(span)
    step = high / SHADES
    for number in range(SHADES):
        shade = colours((SHADES - 1 - number) / (SHADES - 1))
        yield f"<path fill='{_hex(shade)}' d='M{x:g} {y + number * step:.1f}h14v{step + 0.5:.1f}h-14z'/>"
    for share in (0.0, 0.5, 1.0) if one.difference else (0.0, 1.0):
        yield _text(x + 18, y + 10 + (1 - share) * (high - 10), f"{norm.inverse(share):.3g}".replace("-", MINUS))
    yield (
        f"<text transform='translate({x + 60:g} {y + high / 2:g}) rotate(-90)' text-anchor='middle'>"
        f"{escape(one.unit)}</text>"
    )


def _shades(one: HeatMap, span: tuple[float, float]) -> dict[tuple[int, int], Sequence[float]]:
    """Colours of the cells that have a number; found together, as that takes a hundredth of the time."""
    import numpy as np

    colours, norm = one.colours(span)
    numbers = {at: cell[0] for at, cell in one.cells.items() if cell}
    return dict(zip(numbers, colours(norm(np.array([*numbers.values()]))).tolist(), strict=True)) if numbers else {}


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def _width(one: HeatMap) -> float:
    """Pixels across a cell."""
    return min(WIDE, max(NARROW, ROOM // len(one.columns)))


def _short(layers: Sequence[str]) -> list[str]:
    prefix = shared_prefix(list(layers))
    return [one_printable_line(layer.removeprefix(prefix)) for layer in layers]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f"<text x='{x:g}' y='{y:g}'{f' {more}' if more else ''}>{escape(one_printable_line(text))}</text>"
