"""Contours of values at scattered points, with common levels and named points."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stratoscope.callbacks.pictures.heat_map import SEQUENTIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 16
RANGE = 1e4  # on a logarithmic scale: between the largest value that has a level of its own and the smallest
BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}
Point = tuple[float, float, float]


def levels_of(values: Sequence[float], log: bool) -> tuple[list[float], Any]:
    """Levels for all panels, and what gives them their colours.

    Args:
        values: Of all panels; at least one.
        log: Whether levels are equally far apart on a logarithmic scale, if there are values above 0.
    """
    from matplotlib.colors import LogNorm, Normalize

    low, high = min(values), max(values)
    if log and high > 0:
        low = max(min(value for value in values if value > 0), high / RANGE)
        steps = math.log(high / low) or 1.0
        return [low * math.exp(steps * i / LEVELS) for i in range(LEVELS + 1)], LogNorm(low, low * math.exp(steps))
    span = (high - low) or 1.0
    return [low + span * i / LEVELS for i in range(LEVELS + 1)], Normalize(low, low + span)


def contours(
    axis: "Axes", points: Sequence[Point], levels: Sequence[float], norm: Any, marks: Mapping[str, Sequence[float]]
) -> Any:
    """Draw them; points that lie on a line have none, and that is said.

    Args:
        axis: Where to draw.
        points: Two coordinates and the value of each.
        levels: See `levels_of`.
        norm: Likewise.
        marks: Points with a name.

    Returns:
        What a colour bar can be drawn of; None if there are no contours.
    """
    import numpy as np

    at = np.array([point[:2] for point in points])
    drawn = None
    if len(at) > 2 and np.linalg.matrix_rank(at - at[0], tol=1e-9 * max(1.0, float(np.abs(at).max()))) == 2:
        z = np.clip([point[2] for point in points], levels[0], levels[-1])
        drawn = axis.tricontourf(at[:, 0], at[:, 1], z, levels, cmap=SEQUENTIAL, norm=norm, extend="both")
        axis.tricontour(at[:, 0], at[:, 1], z, levels, colors="white", linewidths=0.4)
    else:
        axis.text(0.5, 0.5, "points on a line\nhave no contours", ha="center", transform=axis.transAxes, fontsize=8)
    for name, place in marks.items():
        axis.plot(*place, "o", color="white", markeredgecolor="black", clip_on=False, zorder=3)
        offset = {"textcoords": "offset points", "fontsize": 7, "annotation_clip": False, "bbox": BOX}
        axis.annotate(name, (place[0], place[1]), (6, 6), **offset)  # type: ignore[arg-type]
    return drawn
