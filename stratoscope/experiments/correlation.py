"""The rank correlation of two quantities over runs, with an interval for all that is uncertain in it.

Runs that differ in their seed only are repetitions of each other, and runs that are read against one and the same other
run share it: neither are more independent than their one cluster. The interval has both ends of

- Fisher's z with the standard error sqrt((1 + rho^2 / 2) / (m - 3)) of Bonett & Wright 2000 for Spearman's rho, and
  sqrt(0.437 / (m - 4)) of Fieller et al. 1957 for Kendall's tau, where m is the number of clusters. An order without an
  exception counts as half a step away from it, as it also comes by chance;
- the bootstrap that draws whole clusters (of a single one, its runs), where each number moves by its own error, that of
  the test set, as if those of two runs were independent: of the same images they go together, which changes ranks less.

An epoch that never came is later than any other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stratoscope.experiments.experiment import Claim, Quantity
from stratoscope.experiments.measured import Reading, Sizes
from stratoscope.experiments.quantities import Cell, Result, readings
from stratoscope.probes.statistics.interval import Z95

DRAWS = 1000
FEWEST = 5  # clusters of which a correlation says anything; of a single cluster, runs
Pair = tuple[Reading, Reading]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Attributes:
        reading: Its value and interval; not a number where that is not known, or there are too few runs.
        runs: Over how many runs.
        clusters: In how many clusters, each of which counts once.
        left_out: Runs whose quantity is not known.
    """

    reading: Reading
    runs: int
    clusters: int
    left_out: int = 0


def correlations(
    claim: Claim, quantities: Mapping[str, Quantity], results: Sequence[Result], sizes: Sizes
) -> dict[str, Correlation]:
    """The rank correlation that a claim is about, over all runs or within each label of an axis, by the label.

    Args:
        claim: Which quantities of which runs.
        quantities: By name.
        results: The runs.
        sizes: Of sets, by name, where runs do not say.
    """
    mine = readings(results, quantities[claim.quantity], claim.of, sizes)
    other = claim.of if claim.against_of is None else claim.against_of
    theirs = readings(results, quantities[claim.against], other, sizes)
    parts: dict[str, dict[Cell, list[Pair]]] = {}
    left_out: dict[str, int] = {}
    shares: dict[Cell, Cell] = {}  # cells by that whose runs theirs are read against
    for cell, by_seed in mine.items():
        free = [pair for pair in cell if claim.against_of is None or pair[0] not in other]
        label = str(dict(cell).get(claim.each, "")) if claim.each else ""
        for base, by_base_seed in theirs.items():
            if all(pair in base for pair in free):
                pairs = [(by_base_seed[seed], by_seed[seed]) for seed in by_seed if seed in by_base_seed]
                known = [pair for pair in pairs if not any(math.isnan(one.value) for one in pair)]
                left_out[label] = left_out.get(label, 0) + len(pairs) - len(known)
                cluster = shares.setdefault(base, cell)
                parts.setdefault(label, {}).setdefault(cluster, []).extend(known)
    return {
        label: _correlation([group for group in clusters.values() if group], claim.correlation, left_out[label])
        for label, clusters in parts.items()
    }


def _correlation(clusters: Sequence[Sequence[Pair]], kind: str, left_out: int = 0) -> Correlation:
    import numpy as np

    pairs = [pair for cluster in clusters for pair in cluster]
    units = [[place] for place in range(len(pairs))] if len(clusters) == 1 else _places(clusters)
    x, y = (np.array([pair[place].value for pair in pairs]) for place in (0, 1))
    value = _coefficient(x, y, kind)
    noise = np.array([[_error(one) for one in pair] for pair in pairs]).reshape(-1, 2)
    if len(units) < FEWEST or np.isnan(noise).any():
        return Correlation(Reading(value, (math.nan, math.nan)), len(pairs), len(clusters), left_out)
    drawn = _drawn(x, y, noise, units, kind)
    low, high = _fisher(value, len(units), kind)
    ends = value - min(low, float(drawn[0])), max(high, float(drawn[1])) - value
    return Correlation(Reading(value, (max(0.0, ends[0]), max(0.0, ends[1]))), len(pairs), len(clusters), left_out)


def _error(one: Reading) -> float:
    """Standard error of a number; none of an epoch that never came."""
    return 0.0 if math.isinf(one.value) else (one.high - one.low) / (2 * Z95)


def _drawn(x: Any, y: Any, noise: Any, units: Sequence[Sequence[int]], kind: str) -> Any:
    """The interval of the bootstrap."""
    import numpy as np

    from stratoscope.probes.statistics.draws import normal, uniform

    bits, drawn = np.random.PCG64(0), []
    for _ in range(DRAWS):
        chosen = (uniform(bits, len(units)) * len(units)).astype(int)
        places = [place for unit in chosen for place in units[unit]]
        a, b = (values[places] + noise[places, at] * normal(bits, len(places)) for at, values in enumerate((x, y)))
        drawn.append(_coefficient(a, b, kind))
    return np.quantile(drawn, [0.025, 0.975])


def _fisher(value: float, m: int, kind: str) -> tuple[float, float]:
    """The interval of Fisher's z for m independent pairs."""
    step = 2 / (m * (m - 1)) if kind == "kendall" else 6 / (m * (m * m - 1))  # half of that below a perfect order
    near = max(-1 + step, min(1 - step, value))
    error = math.sqrt(0.437 / (m - 4)) if kind == "kendall" else math.sqrt((1 + near * near / 2) / (m - 3))
    low, high = (math.tanh(math.atanh(near) + side * Z95 * error) for side in (-1, 1))
    return min(low, value), max(high, value)


def _places(clusters: Sequence[Sequence[Pair]]) -> list[list[int]]:
    """Which runs are in which cluster."""
    found, first = [], 0
    for cluster in clusters:
        found.append([*range(first, first + len(cluster))])
        first += len(cluster)
    return found


def _coefficient(x: Any, y: Any, kind: str) -> float:
    """Spearman's rho or Kendall's tau-b; 0 where one of the two is constant."""
    import numpy as np
    from scipy.stats import kendalltau, rankdata

    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    ranks = rankdata(x), rankdata(y)
    tau: Any = kendalltau(*ranks) if kind == "kendall" else None
    return float(np.corrcoef(*ranks)[0, 1] if tau is None else tau.statistic)
