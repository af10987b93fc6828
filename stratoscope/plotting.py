"""What layers know, as a picture: `from stratoscope import plot_layers`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratoscope import datamodules
from stratoscope.callbacks.instruments.linear_probes import LinearProbes
from stratoscope.callbacks.pictures.layer_panel import SCORES, Probed, Show, panels
from stratoscope.callbacks.pictures.layer_values import layer_values
from stratoscope.callbacks.pictures.origin import Origin
from stratoscope.callbacks.pictures.probe_table import UNKNOWN, ProbeTable
from stratoscope.callbacks.pictures.separability_figure import Kind, layers_figure
from stratoscope.files.table import Row, Table, columns_of
from stratoscope.probes import LayerScores
from stratoscope.results.record import RunRecord, find_runs, load_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

CERTIFIED = 1e-6  # nats, the default tolerance of probes
OF_FRAME = {"run", "source", "epoch", "name", "layer", "labels", "split", "value", "low", "high", "gap"}


def plot_layers(
    source: "LinearProbes | LayerScores | str | Path | DataFrame",
    kind: Kind = "heat map",
    *,
    labels: str | None = None,
    split: str | None = None,
    value: str = "accuracy",
    show: Show = "value",
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw what linear probes read off every layer, or what was measured of it.

        plot_layers("runs/random")                            # layers x epochs, as the run's separability.png
        plot_layers(load_runs("runs/"), labels="true_label")  # runs beside each other, in the same colours
        plot_layers(my_callback, "profile")                   # over the layers, before and after training
        plot_layers("runs/random", show="difference")         # what training has changed in each layer
        plot_layers("runs/random", value="effective_rank")    # a measure

    The heading has network, data, corruption, number of epochs and chance level (one over the number of classes), as
    far as they are known. Of several ridges the chosen one is shown. A ~ marks probes that are not converged, a cross
    those that failed (which `load_runs` leaves out).

    Args:
        source: A `LinearProbes` callback, what `probe` returned, a run directory or a folder of runs, or a table of
            `load_runs`, or some of its rows.
        kind: `heat map`, layers x epochs, the input at the bottom; panels share their colours. Or `profile`, the values
            over the layers, before training and after the last epoch, with 95 % intervals of accuracies (Wilson's; of
            differences Newcombe's of 1998, method 10, for two samples).
        labels: Label kind: `true_label`, `given_label` or `control_label`; None shows all.
        split: Set that is scored, such as `train` or `test`; None takes the first test set for true labels and the
            training set for others.
        value: `accuracy`, in %, `loss`, in nats, a measure, such as `effective_rank`, or another column of numbers in a
            table of layers.
        show: `value`, or `difference` from the untrained network (epoch 0), on colours centred at 0.
        ax: Where to draw a profile or one heat map; None makes a figure.

    Returns:
        The figure; a notebook shows it, `figure.savefig("layers.pdf")` keeps it.

    Raises:
        ValueError: If there is no such value, several heat maps for one `ax`, or no untrained network.
        FileNotFoundError: If there is no such folder.
        DamagedRun: If a run's files are damaged.
        TypeError: If the source is something else.
    """
    probed = [one for one in _probed(source, value) if one.table.rows]
    if not probed:
        raise ValueError("there are no probes to draw yet")
    names = list(dict.fromkeys(name for one in probed for name in one.values))
    if value not in names:
        raise ValueError(f"there is no {value} of layers; there are {', '.join(names)}")
    return layers_figure(panels([one for one in probed if value in one.values], labels, split, value, show), kind, ax)


def _probed(source: Any, value: str) -> Iterator[Probed]:
    """The networks that a source has numbers of.

    Raises:
        TypeError: If it is no source.
    """
    if isinstance(source, LinearProbes):
        yield Probed(source.origin, source.table)
        yield from _of_table(source.origin, Table(columns_of(*source.measured.columns), source.measured.rows))
    elif isinstance(source, LayerScores):
        yield _of_scores(source)
    elif isinstance(source, str | Path):
        top = Path(source).expanduser()
        for path in find_runs(top):
            run = load_run(path)
            for part in probed_layers(run, run.name if path == top else path.relative_to(top).as_posix()).values():
                yield from part
    elif hasattr(source, "groupby") and OF_FRAME <= {*source.columns}:
        yield from _of_frame(source, value)
    else:
        raise TypeError(
            "plot_layers draws a LinearProbes callback, what probe() returned, a run directory or a load_runs table; "
            f"got {type(source).__name__}"
        )


def _of_scores(scores: LayerScores) -> Probed:
    table = ProbeTable()
    table.put(UNKNOWN, {layer: (0, found) for layer, found in scores.items()})
    return Probed(Origin(scores.network, classes=scores.classes), table)


def probed_layers(run: RunRecord, name: str) -> dict[str, list[Probed]]:
    """All that is known of a run's layers, by the name of the table.

    Args:
        run: As `load_run` gives it.
        name: What it is called.
    """
    origins = {table: run_origin(run.settings, _named(name, table)) for table in run.tables}
    return {table: list(_of_table(origins[table], read)) for table, read in run.tables.items()}


def _of_table(origin: Origin, table: Table) -> Iterator[Probed]:
    for names, values in layer_values(table).items():
        yield Probed(origin, values, names)


def _of_frame(frame: "DataFrame", value: str) -> Iterator[Probed]:
    """Those that have the value; if none has, one without it for each that there is."""
    layered: Any = frame[frame["layer"].notna()]
    for name in dict.fromkeys(layered["name"]) if value not in {*layered["name"]} else ():
        yield Probed(Origin(), ProbeTable([{"epoch": UNKNOWN}]), (name,))
    names = [*SCORES] if value in SCORES else [value]
    parts: Any = layered[layered["name"].isin(names)].groupby(["run", "source"], sort=False)
    for (run, table), part in parts:
        rows: dict[tuple[Any, ...], Row] = {}
        for row in part.to_dict("records"):
            at = {column: row[column] for column in ("epoch", "layer", "labels", "split")}
            at |= {column: "" for column in ("labels", "split") if not isinstance(at[column], str)}
            gap = row["gap"] if row["gap"] == row["gap"] else None
            certified = value not in SCORES or (gap is not None and gap <= CERTIFIED)
            known = rows.setdefault(tuple(at.values()), {**at, "gap": gap, "converged": certified})
            known[row["name"]] = row["value"]
            if row["name"] == "accuracy":
                known |= {end: row[end] if row[end] == row[end] else None for end in ("low", "high")}
        origin = run_origin(part.iloc[0].to_dict(), _named(str(run), str(table)))
        yield Probed(origin, ProbeTable(rows.values()), tuple(names))


def _named(run: str, table: str) -> str:
    """A run, and which of its tables."""
    return run if table == "probes" else f"{run}, {table.replace('_', ' ')}"


def run_origin(settings: Mapping[str, Any], name: str) -> Origin:
    """What a run's numbers are of.

    Args:
        settings: The run's, as `RunRecord` has them.
        name: What it is called.
    """
    data = getattr(datamodules, str(settings.get("data")), None)
    return Origin.of_settings(settings, data is not None, getattr(data, "classes", None), name)
