"""Where the loss is looked at: paths and planes through, or around, given weights.

*Straight path* through x_0 and x_1 (Goodfellow et al. 2015; Keskar et al. 2017, Figure 3):
(1 - alpha) x_0 + alpha x_1. *Curved path* (Keskar et al. 2017, Figure 7): cos(alpha pi/2) x_0 + sin(alpha pi/2) x_1.
*Triangle* (Im et al. 2016): (1 - alpha - beta) x_0 + alpha x_1 + beta x_2. *Quadrilateral*: bilinear between four
corners, in the order in which one walks around it. *Plane* (Li et al. 2018): x_0 + alpha d_1 + beta d_2, with random
directions whose filters are as long as those of the weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from stratoscope.probes.landscape.parameters import FlatParameters
from stratoscope.probes.statistics.draws import normal


@dataclass(frozen=True)
class Place:
    """A point on a path or plane.

    Attributes:
        alpha: Its first coordinate.
        beta: Its second; None on a path.
        weights: Of every end in the sum that gives the weights there.
        line: Of every end in the sum of losses that the loss there is compared with: what a loss that is linear between
            the ends would be. Empty where the point is not between them.
    """

    alpha: float
    beta: float | None
    weights: tuple[float, ...]
    line: tuple[float, ...] = ()

    @property
    def end(self) -> int | None:
        """Which end it is; None if it is none."""
        return self.weights.index(1.0) if sorted(self.weights) == [0.0] * (len(self.weights) - 1) + [1.0] else None


def straight(points: int, low: float, high: float) -> list[Place]:
    """Points on the straight line through two ends, which are at alpha 0 and 1.

    Args:
        points: How many, equally far apart; both ends are added if they are not among them, wherever the others are.
        low: alpha of the first.
        high: alpha of the last.
    """
    return [
        Place(alpha, None, (1.0 - alpha, alpha), (1.0 - alpha, alpha) if 0 <= alpha <= 1 else ())
        for alpha in _alphas(points, low, high)
    ]


def curved(points: int, low: float, high: float) -> list[Place]:
    """Points on the arc cos(alpha pi/2) x_0 + sin(alpha pi/2) x_1; arguments as of `straight`."""
    return [
        Place(alpha, None, _quarter(alpha), (1.0 - alpha, alpha) if 0 <= alpha <= 1 else ())
        for alpha in _alphas(points, low, high)
    ]


def triangle(points: int, low: float = 0.0, high: float = 1.0) -> list[Place]:
    """Points in the triangle of three ends, which are at (alpha, beta) = (0, 0), (1, 0) and (0, 1).

    Args:
        points: How many on each of its edges.
        low: Not used: a triangle ends at its edges.
        high: Not used.
    """
    steps = points - 1
    found = []
    for j in range(points):
        for i in range(points - j):
            weights = (steps - i - j) / steps, i / steps, j / steps
            found.append(Place(i / steps, j / steps, weights, weights))
    return found


def quadrilateral(points: int, low: float = 0.0, high: float = 1.0) -> list[Place]:
    """Points in the quadrilateral of four ends, at (alpha, beta) = (0, 0), (1, 0), (1, 1) and (0, 1).

    Args:
        points: How many on each of its edges.
        low: Not used: a quadrilateral ends at its edges.
        high: Not used.
    """
    at = np.linspace(0, 1, points).tolist()
    found = []
    for v in at:
        for u in at:
            weights = (1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v
            found.append(Place(u, v, weights, weights))
    return found


def plane(points: int, low: float, high: float) -> list[Place]:
    """Points around one end in the plane of two directions, the second and third of the ends in the sum.

    Args:
        points: How many along each direction; the end itself, at (0, 0), is added if it is not among them.
        low: The least alpha and beta.
        high: The largest.
    """
    at = np.linspace(low, high, points).tolist()
    found = [Place(u, v, (1.0, u, v)) for v in at for u in at]
    return found if any(place.end == 0 for place in found) else [Place(0.0, 0.0, (1.0, 0.0, 0.0)), *found]


@dataclass(frozen=True)
class Kind:
    """A kind of path or plane.

    Attributes:
        ends: How many weights it goes through, those of the network that is looked at among them.
        places: Its points, from how many there are along each coordinate, and where these begin and end.
        span: Where they do by default.
        flat: Whether it is a plane, of two coordinates.
    """

    ends: int
    places: Callable[[int, float, float], list[Place]]
    span: tuple[float, float]
    flat: bool = False


KINDS = {
    "straight": Kind(2, straight, (-1.0, 2.0)),
    "curved": Kind(2, curved, (-1.0, 2.0)),
    "triangle": Kind(3, triangle, (0.0, 1.0), flat=True),
    "quadrilateral": Kind(4, quadrilateral, (0.0, 1.0), flat=True),
    "plane": Kind(1, plane, (-1.0, 1.0), flat=True),
}


def filter_normalised(parameters: FlatParameters, seed: int) -> Float[Tensor, " p"]:
    """A random direction whose filters are as long as those of the weights (Li et al. 2018, Section 4).

    Entries are normal. A filter is what one output of a layer is computed by: the first dimension of its weight counts
    them. Of biases and of scale and shift of normalisations, which are vectors, the direction is 0, as in the paper.

    Args:
        parameters: Of the network, with the weights of the centre.
        seed: Decides the direction, which is the same on every device.

    Returns:
        The direction (p), as `FlatParameters.vector`.
    """
    direction = torch.zeros(len(parameters), dtype=parameters.dtype)
    for name, one in parameters.named.items():
        if one.ndim > 1:
            start, end = parameters.places[name]
            bits = np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())]))
            drawn = torch.from_numpy(normal(bits, one.numel())).view(len(one), -1)
            length = one.detach().double().flatten(1).norm(dim=1, keepdim=True).cpu()
            scaled = drawn * (length / drawn.norm(dim=1, keepdim=True))
            direction[start:end] = scaled.flatten().to(direction.dtype)
    return direction.to(parameters.device)


def _alphas(points: int, low: float, high: float) -> list[float]:
    spread = np.linspace(low, high, points).tolist()
    return sorted({0.0, 1.0, *(float(round(a)) if abs(a - round(a)) < 1e-9 else a for a in spread)})


def _quarter(alpha: float) -> tuple[float, float]:
    """cos(alpha pi/2) and sin(alpha pi/2), exact at whole numbers."""
    if alpha == round(alpha):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[round(alpha) % 4]
    return math.cos(alpha * math.pi / 2), math.sin(alpha * math.pi / 2)
