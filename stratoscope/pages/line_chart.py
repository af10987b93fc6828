"""Lines over epochs as a small SVG text: a browser shows their numbers under the mouse."""

import math
from collections.abc import Callable, Iterator, Mapping
from html import escape
from itertools import pairwise

from stratoscope.callbacks.pictures.heat_map import MINUS
from stratoscope.callbacks.pictures.probe_table import evenly
from stratoscope.callbacks.pictures.separability_figure import COLOURS
from stratoscope.printable import one_printable_line

WIDE, HIGH = 420, 250  # pixels, which a page stretches or shrinks
TOP, BOTTOM, LEFT, LETTER, LINE = 10, 34, 50, 6.6, 14
DASHES = ("", "6 3", "2 2", "8 3 2 3", "12 4", "1 4")  # told apart in grey too
STRIPS = 150  # most places that the mouse can be at
Points = Mapping[int, float]


def line_chart(lines: Mapping[str, Points], guides: Mapping[str, float] | None = None, unit: str = "") -> str:
    """Draw lines over epochs, each with its name at its end.

    Args:
        lines: Numbers by epoch, by name; at least one number is finite. Where one is not, the line is broken.
        guides: Numbers that a thin line stands for, by name, such as a chance level.
        unit: Of the numbers.

    Returns:
        A whole `<svg>` element, to stand in a page.
    """
    guides = guides or {}
    epochs = sorted({epoch for points in lines.values() for epoch in points})
    known = [value for points in lines.values() for value in points.values() if math.isfinite(value)]
    low, high = min([*known, *guides.values()]), max([*known, *guides.values()])
    marks = ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])
    right = WIDE - 12 - LETTER * max(len(name) for name in [*lines, *guides])
    first, last = epochs[0], max(epochs[-1], epochs[0] + 1)

    def across(epoch: float) -> float:
        return LEFT + (right - LEFT) * (epoch - first) / (last - first)

    def down(value: float) -> float:
        return TOP + (HIGH - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [
        _rule(down(mark), LEFT, right, "#e3e3e3") + _text(LEFT - 6, down(mark) + 4, plain(mark), "end")
        for mark in marks
    ]
    parts += [_text(across(at), HIGH - BOTTOM + 16, plain(at), "middle") for at in _whole(first, last)]
    parts += [_text((LEFT + right) / 2, HIGH - 4, "epochs of training", "middle")]
    ends: dict[str, tuple[float, str]] = {}
    for name, value in guides.items():
        parts.append(_rule(down(value), LEFT, right, "#777", "3 3"))
        ends[name] = down(value), "#555"
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        runs = list(_runs(points))
        for run in runs:
            places = " ".join(f"{across(at):.1f},{down(value):.1f}" for at, value in run)
            style = f"stroke='{colour}' stroke-width='2' stroke-dasharray='{dash}' stroke-linejoin='round'"
            parts.append(f"<polyline points='{places}' fill='none' {style}/>")
            if len(run) == 1:
                parts.append(f"<circle cx='{places.split(',')[0]}' cy='{places.split(',')[1]}' r='3' fill='{colour}'/>")
        if runs:
            ends[name] = down(runs[-1][-1][1]), colour
    parts += [_text(right + 6, y + 4, name, "start", colour) for name, (y, colour) in _apart(ends).items()]
    parts += _strips(lines, epochs, across, unit)
    return f"<svg viewBox='0 0 {WIDE} {HIGH}' font-family='sans-serif' font-size='12' role='img'>{''.join(parts)}</svg>"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers, evenly spaced, from one that is not above the lowest to one that is not below the highest.

    Args:
        low: The lowest number.
        high: The highest.
        most: Most steps between them.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    size = 10 ** math.floor(math.log10((high - low) / most))
    for step in (size, 2 * size, 5 * size, 10 * size, 20 * size):
        begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if end - begin <= most:
            break
    return [number * step for number in range(begin, end + 1)]


def plain(number: float) -> str:
    """A number with as many digits as it needs, at most four."""
    return f"{number:.4g}".replace("-", MINUS)


def _whole(first: int, last: int) -> list[int]:
    """Epochs that are named below."""
    return [int(mark) for mark in ticks(first, last) if first <= mark <= last and mark == int(mark)]


def _runs(points: Points) -> Iterator[list[tuple[int, float]]]:
    """The parts of a line between which it is broken."""
    run: list[tuple[int, float]] = []
    for at, value in sorted(points.items()):
        if math.isfinite(value):
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _apart(ends: Mapping[str, tuple[float, str]]) -> dict[str, tuple[float, str]]:
    """Places of the names, so that none is on another."""
    places: dict[str, tuple[float, str]] = {}
    free = 0.0
    for name, (y, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        places[name] = max(y, free), colour
        free = places[name][0] + LINE
    over = free - LINE - (HIGH - BOTTOM + 4)
    limit = HIGH - BOTTOM + 4.0
    for name in reversed(places) if over > 0 else ():
        places[name] = min(places[name][0], limit), places[name][1]
        limit = places[name][0] - LINE
    return places


def _strips(lines: Mapping[str, Points], epochs: list[int], across: Callable[[float], float], unit: str) -> list[str]:
    """What the mouse finds: a strip for each epoch, or for some of them, with all numbers that there are."""
    shown = evenly(epochs, STRIPS)
    middles = [(a + b) / 2 for a, b in pairwise(shown)]
    parts = []
    for at, begin, end in zip(shown, [shown[0], *middles], [*middles, max(shown[-1], shown[0] + 1)], strict=True):
        told = [f"{name} {plain(points[at])} {unit}".rstrip() for name, points in lines.items() if at in points]
        said = "\n".join(map(one_printable_line, [f"epoch {at}", *told]))
        x, wide = across(begin), across(end) - across(begin)
        parts.append(
            f"<rect class='over' x='{x:.1f}' y='{TOP}' width='{wide:.1f}' height='{HIGH - TOP - BOTTOM}'>"
            f"<title>{escape(said)}</title></rect>"
        )
    return parts


def _rule(y: float, left: float, right: float, colour: str, dash: str = "") -> str:
    return f"<path d='M{left} {y:.1f}H{right:.1f}' stroke='{colour}' stroke-dasharray='{dash}'/>"


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#444") -> str:
    said = escape(one_printable_line(text))
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'>{said}</text>"
