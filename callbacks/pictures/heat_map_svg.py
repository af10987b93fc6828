"""Heat maps as a small SVG text: one element per cell, whose numbers a browser shows under the mouse."""

import math
from collections.abc import Iterator, Sequence
from html import escape

from stratoscope.callbacks.pictures.heat_map import MINUS, HeatMap, ink
from stratoscope.callbacks.pictures.probe_table import evenly, shared_prefix
from stratoscope.printable import one_printable_line

HIGH, WIDE, NARROW = 20, 34, 5  # pixels of a cell, and of the narrowest
ROOM, COMPACT = 680, 272  # pixels for the columns of a map: alone in a file, and beside another in a page
LINE, LETTER = 16, 6.6  # pixels between lines, and across a letter
NAMED, NAME = 24, 24  # most columns that are named, and pixels that a name takes
TALL = 12  # most cells of a map that the colour bar is as high as
CROSS = "\N{MULTIPLICATION SIGN}"
WHITE = (1.0, 1.0, 1.0)
SHADES = 24  # of a colour bar
EPOCHS = "epochs of training"


def svg(heading: str, maps: Sequence[HeatMap], span: tuple[float, float], alone: bool = True) -> str:
    """Write maps that share their colours below each other.

    Args:
        heading: What all of them are of; it may be empty, as may those of the maps.
        maps: At least one.
        span: Numbers at the ends of the colour bar, see `HeatMap.colours`.
        alone: Whether it may stand alone in a file, or else within a page only, beside others.

    Returns:
        A whole `<svg>` element.
    """
    parts: list[str] = []
    lines = heading.splitlines()
    left = 12 + max(LETTER * len(name) for one in maps for name in _short(one.layers))
    y, right = 8.0 + LINE * len(lines), 0.0
    for one in maps:
        if one.heading:
            y += LINE + 6
            parts.append(_text(left, y - 6, one.heading, "font-weight='bold'"))
        wide = min(WIDE, max(NARROW, (ROOM if alone else COMPACT) // len(one.columns)))
        parts += _map(one, span, left, y, wide)
        y += HIGH * len(one.layers) + max(3 * LINE, 12 + LETTER * _upright(one, wide))
        below = 64 + LETTER * len(EPOCHS) if isinstance(one.columns[0], int) else 0.0
        right = max(right, left + wide * len(one.columns), left + LETTER * len(one.heading), left + below)
    right = max([right, *(8 + LETTER * len(line) for line in lines)])
    parts += [_text(8, 18 + LINE * number, line) for number, line in enumerate(lines)]
    top = 8.0 + LINE * len(lines) + (LINE + 6) * bool(maps[0].heading)
    high = HIGH * min(TALL, max(5, len(maps[0].layers)))
    parts += _bar(maps[0], span, right + 16, top, high)
    size = f"{right + (98 if maps[0].unit else 76):.0f} {max(y, top + high + 8):.0f}"
    space = " xmlns='http://www.w3.org/2000/svg'" if alone else ""
    return (
        f"<svg{space} viewBox='0 0 {size}' width='{size.split()[0]}' "
        f"font-family='sans-serif' font-size='12' shape-rendering='crispEdges'>"
        f"<rect width='100%' height='100%' fill='white'/>{''.join(parts)}</svg>\n"
    )


def without_tex(unit: str) -> str:
    """A unit as plain text: tr(SW SB+) for `tr($S_W S_B^+$)`."""
    parts = unit.split("$")
    return "".join(part.replace("_", "").replace("^", "") if place % 2 else part for place, part in enumerate(parts))


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
        unit = f" ({without_tex(one.unit)})" if one.unit else ""
        said = "failed" if cell is None else f"{cell[1]}{unit}"
        title = escape(one_printable_line(f"{where}: {one.hints.get((row, column)) or said}"))
        shade = shades.get((row, column), WHITE)
        yield f"<path fill='{_hex(shade)}' d='M{x:g} {y:g}h{wide:g}v{HIGH}h-{wide:g}z'><title>{title}</title></path>"
        if wide == WIDE or cell is None:
            numbers.append(_text(x + wide / 2, y + 14, cell[1] if cell else CROSS, f"fill='{ink(shade)}'"))
    if one.difference and not numbers:  # in grey, both sides of 0 look alike
        step = math.ceil(12 / wide)  # columns from one stroke to the next
        below = [at for at, cell in one.cells.items() if cell and cell[0] < 0 and at[1] % step == 0]
        lines = "".join(f"M{left + wide * x:g} {bottom - HIGH * y:g}l{wide:g}-{HIGH}" for y, x in below)
        yield f"<path d='{lines}' stroke='#555' stroke-width='.6' pointer-events='none'/>" if lines else ""
    yield f"<g text-anchor='middle' pointer-events='none'>{''.join(numbers)}</g>"  # so that one hovers over the cells
    for row, name in enumerate(layers):
        yield _text(left - 4, bottom - HIGH * row - 6, name, "text-anchor='end'")
    prefix = shared_prefix(list(one.layers))
    for column in evenly(list(range(len(one.columns))), max(2, min(NAMED, int(wide * len(one.columns) / NAME)))):
        name, x = str(one.columns[column]).removeprefix(prefix), left + wide * (column + 0.5)
        if _upright(one, wide):
            turned = f"text-anchor='end' transform='rotate(-90 {x:g} {bottom + 6:g})'"
            yield _text(x, bottom + 10, name, turned)
        else:
            yield _text(x, bottom + LINE - 2, name, "text-anchor='middle'")
    if one.columns[0] == 0:
        yield _text(left, bottom + 2 * LINE - 2, "untrained")
        yield f"<path d='M{left + wide:g} {top}V{bottom}' stroke='white' stroke-width='3'/>"
    if isinstance(one.columns[0], int):
        begin = max(64, (wide * len(one.columns) - LETTER * len(EPOCHS)) / 2)
        yield _text(left + begin, bottom + 2 * LINE - 2, EPOCHS)


def _bar(one: HeatMap, span: tuple[float, float], x: float, y: float, high: float) -> Iterator[str]:
    """A colour bar, from the lowest number at the bottom to the highest."""
    colours, norm = one.colours(span)
    step = high / SHADES
    for number in range(SHADES):
        shade = colours((SHADES - 1 - number) / (SHADES - 1))
        yield f"<path fill='{_hex(shade)}' d='M{x:g} {y + number * step:.1f}h14v{step + 0.5:.1f}h-14z'/>"
    for share in (0.0, 0.5, 1.0) if one.difference else (0.0, 1.0):
        yield _text(x + 18, y + 10 + (1 - share) * (high - 10), f"{norm.inverse(share):.3g}".replace("-", MINUS))
    if one.chance is not None and not one.difference and norm.inverse(0.0) <= one.chance <= norm.inverse(1.0):
        at = y + (1 - float(norm(one.chance))) * high
        yield f"<path d='M{x - 3:g} {at:.1f}h20' stroke='white' stroke-width='3'/>"
        yield f"<path d='M{x - 3:g} {at:.1f}h20' stroke='black' stroke-width='1.5'/>"
        apart = min(abs(at - y), abs(at - y - high)) > 1.5 * LINE  # or it would stand on a number
        yield _text(x + 18, at + 4, "chance") if apart else ""
    yield (
        f"<text transform='translate({x + 68:g} {y + high / 2:g}) rotate(-90)' text-anchor='middle'>"
        f"{escape(without_tex(one.unit))}</text>"
    )


def _shades(one: HeatMap, span: tuple[float, float]) -> dict[tuple[int, int], Sequence[float]]:
    """Colours of the cells that have a number; found together, as that takes a hundredth of the time."""
    import numpy as np

    colours, norm = one.colours(span)
    known = {*one.numbers()}  # of a logarithmic map those above 0
    numbers = {at: cell[0] for at, cell in one.cells.items() if cell and cell[0] in known}
    return dict(zip(numbers, colours(norm(np.array([*numbers.values()]))).tolist(), strict=True)) if numbers else {}


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour[:3])


def _upright(one: HeatMap, wide: float) -> int:
    """Letters of the longest name of a column, where these are written upwards as they have no room; else 0."""
    longest = 0 if isinstance(one.columns[0], int) else max(map(len, _short([*map(str, one.columns)])))
    return longest if LETTER * longest > wide else 0


def _short(layers: Sequence[str]) -> list[str]:
    prefix = shared_prefix(list(layers))
    return [one_printable_line(layer.removeprefix(prefix)) for layer in layers]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f"<text x='{x:g}' y='{y:g}'{f' {more}' if more else ''}>{escape(one_printable_line(text))}</text>"
