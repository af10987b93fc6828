"""Linear probes of every layer of any network, in one call and without Lightning."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stratoscope.probes.linear.separability import LabelledFeatures, Separability, failed, separability
from stratoscope.probes.reading.batches import BatchReading, LabelledBatch, read_batch
from stratoscope.probes.reading.calls import Call, Forward, find_call, swapped
from stratoscope.probes.reading.isolation import frozen
from stratoscope.probes.reading.reduction import AVERAGE_POOL, LayerReduction, by_layer
from stratoscope.probes.reading.taps import Tap, read_features, select_taps

if TYPE_CHECKING:
    from pandas import DataFrame

TRAIN, TRUE = "train", "true_label"


class LayerScores(dict[str, list[Separability]]):
    """What `probe` found: by layer, in order of execution, one row per (ridge, set).

    Args:
        network: Name of the network's class.
        classes: Number of classes among the labels of the training set.
        scores: Rows by layer, to begin with.
    """

    def __init__(self, network: str, classes: int, scores: Mapping[str, list[Separability]] | None = None) -> None:
        super().__init__(scores or {})
        self.network, self.classes = network, classes

    def frame(self) -> "DataFrame":
        """One row per layer, ridge and set: `layer` and the attributes of `Separability`, None as a missing value."""
        from pandas import DataFrame

        types: dict[Any, str] = {int | None: "Int64", float | None: "float64", bool: "bool"}
        columns = {field.name: types.get(field.type) for field in fields(Separability)}
        rows = [{"layer": layer, **asdict(score)} for layer, scores in self.items() for score in scores]
        frame = DataFrame.from_records(rows, columns=["layer", *columns])
        return frame.astype({name: kind for name, kind in columns.items() if kind})

    def __repr__(self) -> str:
        """A line per layer: its features, and the accuracy on every set, in %, with a ~ where it is not certified."""
        names, rows = self._table()
        widths = [max(len(row[place]) for row in [names, *rows]) for place in range(len(names))]
        lines = [
            "  ".join([
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ])
            for row in [names, *rows]
        ]
        return "\n".join([self._heading(), *lines])

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        names, rows = self._table()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr><th>{escape(layer)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
            for layer, *cells in rows
        )
        return (
            f"<table><caption>{escape(self._heading())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _heading(self) -> str:
        return f"Linear probes of {self.network}, accuracy in %, chance {100 / self.classes:.3g}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Names of columns, and a row of cells per layer: the scores of the ridge chosen."""
        splits = list(dict.fromkeys(score.split for scores in self.values() for score in scores))
        rows = []
        for layer, scores in self.items():
            by_split = {score.split: score for score in scores if score.chosen}
            features = next((str(score.features) for score in by_split.values() if score.features), "")
            rows.append([layer, features, *(_cell(by_split.get(split)) for split in splits)])
        return ["layer", "features", *splits], rows


def _cell(score: Separability | None) -> str:
    if score is None or score.accuracy is None or score.low is None or score.high is None:
        return "failed" if score else ""
    loose = "" if score.converged else "~"
    return f"{100 * score.accuracy:.1f}{loose} ({100 * score.low:.1f} to {100 * score.high:.1f})"


def probe(
    network: nn.Module,
    sets: Mapping[str, Iterable[Any]],
    taps: str | Sequence[str] = "natural",
    reduce: str | Callable[[Tensor], Tensor] = AVERAGE_POOL,
    ridge: float | Sequence[float] = 1e-3,
    tolerance: float = 1e-6,
    width: int | None = 1024,
    channels: str | None = None,
    batch: BatchReading | None = None,
    forward: Forward | None = None,
) -> LayerScores:
    """Fit a linear classifier to every chosen layer, on the set `train`, and score it on all sets.

    The network is frozen meanwhile (evaluation mode, no gradients) and left exactly as it was, as are the random
    generators of torch, NumPy and Python; what cannot be put back is named in a warning.

    Args:
        network: Any; it is read on the device its parameters are on. One wrapped for several devices, or compiled, is
            read as what it wraps.
        sets: By name, batches as a DataLoader gives them, such as (input, label); each is read once. Samples with a
            label below 0 have none, and are left out: `count` says how many there were.
        taps: Layers: 'natural', 'all', names as in `named_modules()`, globs, or a list of these.
        reduce: What is made of wide layers: the name of a reduction (see `reduction`), or a function of an activation
            (n, ...) that returns features (n, d).
        ridge: Strength of the L2 penalty, or several (see `separability`).
        tolerance: Duality gap in nats at which a probe is converged.
        width: Most features per layer, for reductions that have a say; None keeps all.
        channels: Where layers have their channels whose module does not tell: 'first' or 'last'.
        batch: What batches consist of, where `read_batch` does not find it out: names or places of image, label and
            true_label, or a function of the batch that returns (image, label).
        forward: How the network is run, where `choose_call` does not find it out: the name of a method or submodule, or
            a function of (network, image).

    Returns:
        A dictionary that shows itself as a table: by layer, in order of execution, one row per (ridge, set). Those of a
        layer that gave no features for some samples say so in `failed`. Layers that cannot be read at all are named in
        a warning.

    Raises:
        ValueError: If there is no set `train`, a set is empty, or a tap does not exist.
        UnreadableBatch: If it is not clear what a batch consists of, or how the network is run on it.
    """
    if TRAIN not in sets:
        raise ValueError(f"probe needs a set called {TRAIN} to fit on; got {', '.join(sets)}")
    network = _unwrapped(network)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with frozen(network, compare=True) as changed:
        reader = _Reader(network, taps, channels, lambda found: by_layer(reduce, found, width), device, batch, forward)
        data = {name: reader.read(batches, name) for name, batches in sets.items()}
    if changed:
        warnings.warn(
            f"probe has changed the network in {', '.join(changed)}, beyond what can be put back", stacklevel=2
        )
    labels = {name: part.pop("") for name, part in data.items()}
    classes = max(1, 1 + max(int(label.max()) for label in labels.values()))
    results = LayerScores(type(network).__name__, len(labels[TRAIN].unique()))
    for layer in reader.reduce:
        if layer in reader.missing:
            ridges = ridge if isinstance(ridge, Sequence) else [ridge]
            results[layer] = failed([(TRUE, one) for one in ridges], sets, f"it {reader.missing[layer]}")
            continue
        features = {name: LabelledFeatures(part.pop(layer), {TRUE: labels[name]}) for name, part in data.items()}
        results[layer], _ = separability(features[TRAIN], features, classes, ridge, tolerance)
    return results


def _unwrapped(network: nn.Module) -> nn.Module:
    if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return _unwrapped(network.module)
    inside = getattr(network, "_orig_mod", None)  # of what torch.compile returns
    return _unwrapped(inside) if isinstance(inside, nn.Module) else network


def _on(device: torch.device, whole: Any) -> Any:
    """A batch with its tensors on a device."""
    return swapped(whole, lambda tensor: tensor.to(device))


class _Reader:
    """Reads sets; on the first batch of all it finds the taps.

    Args:
        network: The network, frozen.
        taps: Which layers.
        channels: Where they have their channels.
        reductions: What is made of the layers found.
        device: Where the network is.
        reading: What batches consist of.
        forward: How the network is run.
    """

    def __init__(
        self,
        network: nn.Module,
        taps: str | Sequence[str],
        channels: str | None,
        reductions: Callable[[Sequence[Tap]], dict[str, LayerReduction]],
        device: torch.device,
        reading: BatchReading | None,
        forward: Forward | None,
    ) -> None:
        self.network, self.taps, self.channels, self.reductions = network, taps, channels, reductions
        self.device, self.reading, self.forward, self.call = device, reading, forward, Call(forward)
        self.reduce: dict[str, LayerReduction] = {}
        self.widths: dict[str, int] = {}
        self.missing: dict[str, str] = {}  # layers without features of some samples, and why

    def read(self, batches: Iterable[Any], name: str) -> dict[str, Tensor]:
        """Features of a whole set by tap, and its labels under the empty name.

        Raises:
            ValueError: If it has no batches.
            UnreadableBatch: If they cannot be read.
        """
        pieces: dict[str, list[Tensor]] = {}
        for batch in batches:
            read = read_batch(_on(self.device, batch), self.reading, f"probe, in the set {name},")
            if not self.reduce:
                self._look(read)
            wanted = {tap: reduce for tap, reduce in self.reduce.items() if tap not in self.missing}
            run = partial(self.call, self.network, read)
            found = read_features(self.network, run, read.rows, wanted, self.missing)
            pieces.setdefault("", []).append(read.true_label)
            for tap, rows in found.items():
                pieces.setdefault(tap, []).append(rows)
                first = self.widths.setdefault(tap, rows.shape[1])
                if rows.shape[1] != first:
                    self.missing[tap] = f"gave {rows.shape[1]} features, {first} before"
        if not pieces:
            raise ValueError(f"the set {name} has no batches")
        return {tap: torch.cat(rows) for tap, rows in pieces.items() if tap not in self.missing}

    def _look(self, batch: LabelledBatch) -> None:
        """Find out how the network is run, and its taps."""
        left_out: dict[str, str] = {}
        self.call, available, _ = find_call(self.network, self.forward, batch, self.channels, left_out)
        self.reduce = self.reductions(select_taps(self.taps, available, left_out))
        if left_out:
            listed = "; ".join(f"{tap} ({reason})" for tap, reason in left_out.items())
            warnings.warn(f"probe leaves out what it cannot read: {listed}", stacklevel=4)
