"""How far weights are from each other: Euclidean norms, of the whole network and of every layer."""

from collections.abc import Mapping
from math import sqrt

from stratoscope.probes.landscape.parameters import FlatParameters, Vector

WHOLE = "(all)"  # in the place of a layer's name: all of them together


def norms(parameters: FlatParameters, vector: Vector, other: Vector | None = None) -> Mapping[str, float]:
    """Norms |x|, or distances |x - y|, in float64.

    Args:
        parameters: Which part of the vector is whose.
        vector: x (p).
        other: y (p); None takes 0.

    Returns:
        Of the whole network, under `WHOLE`, and by the name of the module that holds the parameters; one that holds
        none itself, or none that is trained, has no entry.
    """
    squares: dict[str, float] = {}
    for layer, places in parameters.layers().items():
        parts = [vector[start:end].double() for start, end in places]
        if other is not None:
            parts = [part - other[start:end].double() for part, (start, end) in zip(parts, places, strict=True)]
        squares[layer or "weight"] = sum(float(part.square().sum()) for part in parts)
    return {WHOLE: sqrt(sum(squares.values())), **{layer: sqrt(square) for layer, square in squares.items()}}
