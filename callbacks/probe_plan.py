"""What will be probed, and how long it will take, said before the first fit."""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stratoscope.callbacks.layer_features import LayerFeatures
from stratoscope.callbacks.probed_sets import TRAIN
from stratoscope.probes import Tap
from stratoscope.probes.products import moments, times

ITERATIONS = 60  # what a fit takes, most often; each reads the features twice
TRIED = 2000  # samples whose products are timed


def probe_plan(
    taps: Sequence[Tap],
    features: Mapping[str, int],
    reduced: Mapping[str, str],
    in_files: set[str],
    layers: LayerFeatures,
    columns: int,
) -> str:
    """A line for every layer: width, features that are probed, their size and the expected seconds of its fits.

    Args:
        taps: The layers.
        features: Features per sample, by layer.
        reduced: What was done to the layer, if anything.
        in_files: Layers that are kept in files.
        layers: Features that have been read.
        columns: Classes times label kinds times ridges.
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
    lines.append(f"  together about {total / layers.shard.ranks:.0f} s of fitting{ranks}")
    return "\n".join(lines)


def fitting_seconds(rows: Mapping[str, Tensor], columns: int) -> dict[str, float]:
    """Expected seconds per training sample of the fits of every layer, from timing the products of the widest.

    Args:
        rows: Some features, (samples, features), by layer.
        columns: Classes times label kinds times ridges.
    """
    widest = max(rows.values(), key=lambda x: x.shape[1], default=None)
    if widest is None or not len(widest):
        return {}
    x = widest[:TRIED].repeat(-(-TRIED // len(widest)), 1)[:TRIED]
    weight = torch.zeros(columns, x.shape[1], dtype=x.dtype, device=x.device)
    began = time.perf_counter()
    for _ in range(2):  # the first to warm up
        began = time.perf_counter()
        float(moments(times(x, weight), x)[0, 0])  # a number waits for the device
    product = (time.perf_counter() - began) / (2 * x.numel())
    return {name: product * features.shape[1] * 2 * ITERATIONS for name, features in rows.items()}
