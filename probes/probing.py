"""Linear probes of every layer of any network, in one call and without Lightning."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stratoscope.probes.isolation import frozen
from stratoscope.probes.reduction import average_pool
from stratoscope.probes.separability import LabelledFeatures, Separability, separability
from stratoscope.probes.taps import find_taps, read_features, select_taps

TRAIN = "train"
POOLED = partial(average_pool, width=1024)


def probe(
    network: nn.Module,
    sets: Mapping[str, Iterable[Any]],
    taps: str | Sequence[str] = "natural",
    reduce: Callable[[Tensor], Tensor] = POOLED,
    ridge: float | Sequence[float] = 1e-3,
    tolerance: float = 1e-6,
) -> dict[str, list[Separability]]:
    """Fit a linear classifier to every chosen layer, on the set `train`, and score it on all sets.

    The network is frozen meanwhile (evaluation mode, no gradients) and left exactly as it was, as are the random
    generators of torch, NumPy and Python.

    Args:
        network: Maps a batch of inputs (n, ...) to anything; it is read on the device its parameters are on. One
            wrapped for several devices, or compiled, is read as what it wraps.
        sets: By name, batches (input, label) as a DataLoader gives them; each is read once. Labels are integers.
        taps: Layers: 'natural', 'all', names as in `named_modules()`, globs, or a list of these.
        reduce: Turns an activation (n, ...) into new features (n, d).
        ridge: Strength of the L2 penalty, or several (see `separability`).
        tolerance: Duality gap in nats at which a probe is converged.

    Returns:
        By layer, in order of execution, one row per (ridge, set).

    Raises:
        ValueError: If there is no set `train`, a set is empty, or a tap does not exist.
    """
    if TRAIN not in sets:
        raise ValueError(f"probe needs a set called {TRAIN} to fit on; got {', '.join(sets)}")
    network = _unwrapped(network)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with frozen(network):
        data = {name: _read(network, batches, taps, reduce, device, name) for name, batches in sets.items()}
    labels = {name: part.pop("") for name, part in data.items()}
    classes = 1 + max(int(label.max()) for label in labels.values())
    results = {}
    for layer in list(data[TRAIN]):
        features = {
            name: LabelledFeatures(part.pop(layer), {"true_label": labels[name]}) for name, part in data.items()
        }
        results[layer], _ = separability(features[TRAIN], features, classes, ridge, tolerance)
    return results


def _unwrapped(network: nn.Module) -> nn.Module:
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return _unwrapped(network.module)
    inside = getattr(network, "_orig_mod", None)  # of what torch.compile returns
    return _unwrapped(inside) if isinstance(inside, nn.Module) else network


def _read(
    network: nn.Module,
    batches: Iterable[Any],
    taps: str | Sequence[str],
    reduce: Callable[[Tensor], Tensor],
    device: torch.device,
    name: str,
) -> dict[str, Tensor]:
    """Features of a whole set by tap, and its labels under the empty name.

    Raises:
        ValueError: If it has no batches, or they are no pairs of tensors.
    """
    pieces: dict[str, list[Tensor]] = {}
    chosen: list[str] = []
    for batch in batches:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2 or not all(isinstance(x, Tensor) for x in batch[:2]):
            raise ValueError(f"probe needs batches (input, label) of tensors; {name} gives {type(batch).__name__}")
        inputs, label = batch[0].to(device), batch[1].to(device)
        if not chosen:
            chosen = [tap.name for tap in select_taps(taps, find_taps(network, network, inputs[:2]))]
        for tap, rows in {**read_features(network, network, inputs, chosen, reduce), "": label}.items():
            pieces.setdefault(tap, []).append(rows)
    if not pieces:
        raise ValueError(f"the set {name} has no batches")
    return {tap: torch.cat(rows) for tap, rows in pieces.items()}
