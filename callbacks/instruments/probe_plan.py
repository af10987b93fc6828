"""What will be probed, and how long it will take, said before the first fit."""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stratoscope.callbacks.samples.layer_features import LayerFeatures
from stratoscope.callbacks.samples.probed_sets import TRAIN
from stratoscope.probes import Tap
from stratoscope.probes.linear.products import moments, times

ITERATIONS = 60  # what a fit takes, most often; each reads the features twice
TRIED = 10_000  # samples on which an iteration is timed: features of so many are in no cache
FEWEST = 2000  # fewer are repeated
WRONG = 1.5  # factor on the expected time beyond which it is corrected


def probe_plan(
    taps: Sequence[Tap],
    features: Mapping[str, int],
    reduced: Mapping[str, str],
    in_files: set[str],
    layers: LayerFeatures,
    columns: int,
) -> tuple[str, float]:
    """A line for every layer: width, features that are probed, their size and the expected seconds of its fits.

    Args:
        taps: The layers.
        features: Features per sample, by layer.
        reduced: What was done to the layer, if anything.
        in_files: Layers that are kept in files.
        layers: Features that have been read.
        columns: Classes times label kinds times ridges.

    Returns:
        The lines, and the expected seconds of reading and fitting together.
    """
    samples = sum(layers.counts.values())
    each = fitting_seconds(layers.rows[TRAIN], columns)
    widest = max(len(tap.name) for tap in taps)
    lines = [f"reading {samples:,} samples took {layers.seconds:.1f} s; to be probed:"]
    total = 0.0
    for tap in taps:
        if tap.name in layers.missing:
            lines.append(f"  {tap.name:{widest}}  not probed: it {layers.missing[tap.name]}")
            continue
        probed = features[tap.name]
        size = samples * probed * layers.rows[TRAIN][tap.name].element_size() / 2**20
        seconds = each.get(tap.name, 0.0) * layers.counts[TRAIN]
        total += seconds
        cut = f"{probed:,} of {tap.width:,}" if probed < tap.width else f"{probed:,}"
        how = f" by {reduced[tap.name]}" if reduced[tap.name] else ""
        where = ", in a file" if tap.name in in_files else ""
        lines.append(f"  {tap.name:{widest}}  {cut:>16} features{how}, {size:7,.0f} MiB{where}, about {seconds:.1f} s")
    ranks = f" by each of {layers.shard.ranks} processes" if layers.shard.ranks > 1 else ""
    fitting = total / layers.shard.ranks
    seconds = layers.seconds + fitting
    parts = f"{layers.seconds:.0f} s of reading, {fitting:.0f} s of fitting"
    lines.append(f"  the probes of an epoch take about {seconds:.0f} s{ranks}: {parts}")
    return "\n".join(lines), seconds


def corrected(expected: float, took: float) -> str:
    """What to say of an expected time once the first probes are done; nothing where it was about right."""
    if expected / WRONG <= took <= expected * WRONG or max(expected, took) < 5:
        return ""
    return f", where {expected:.0f} s were expected; later epochs take about as long, or less"


def fitting_seconds(rows: Mapping[str, Tensor], columns: int) -> dict[str, float]:
    """Expected seconds per training sample of the fits of every layer, from timing an iteration at each width.

    Args:
        rows: Some features, (samples, features), by layer.
        columns: Classes times label kinds times ridges.
    """
    each: dict[int, float] = {}
    for x in rows.values():
        if len(x) and x.shape[1] not in each:
            each[x.shape[1]] = ITERATIONS * _iteration_seconds(x[:TRIED], columns)
    return {name: each[x.shape[1]] for name, x in rows.items() if len(x)}


def _iteration_seconds(x: Tensor, columns: int) -> float:
    """Seconds per sample of what an iteration of `fit_logistic` consists of."""
    if len(x) < FEWEST:
        x = x.repeat(-(-FEWEST // len(x)), 1)
    weight = torch.zeros(columns, x.shape[1], dtype=x.dtype, device=x.device)
    began = time.perf_counter()
    for _ in range(2):  # the first to warm up
        began = time.perf_counter()
        p = times(x, weight).softmax(0)
        float(moments(p, x)[0, 0])  # a number waits for the device
    return (time.perf_counter() - began) / len(x)
