"""The page of one run: what it was, how it learnt, and what its layers know, at every epoch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from stratoscope.callbacks.pictures.heat_map import HeatMap
from stratoscope.callbacks.pictures.heat_map_svg import svg, without_tex
from stratoscope.callbacks.pictures.layer_panel import SCORES, Probed, Show, headings, panels
from stratoscope.callbacks.pictures.measures_figure import CKA, own_span, similarities
from stratoscope.callbacks.pictures.probe_table import ProbeTable, evenly
from stratoscope.callbacks.pictures.separability_figure import shared_span
from stratoscope.files.atomic import replacing
from stratoscope.files.own_folder import check_links
from stratoscope.files.table import Table
from stratoscope.pages.line_chart import line_chart
from stratoscope.pages.template import Inside, Markup, inside, rendered
from stratoscope.plotting import probed_layers, run_origin
from stratoscope.results.record import RunRecord, load_run
from stratoscope.results.summary import best_layers, course, metric_rows, provenance, what_was_set

PAGE = "report.html"
CELLS, MOST_EPOCHS = 6000, 48  # of a map in the page: it has to be mailed
CHARTS = 24  # most further metrics that are drawn
READ = (
    "Layers from the input (bottom) to the output (top), epochs from left to right. Maps beside each other have the "
    "same colours. Numbers, and intervals where there are any, are under the mouse; \N{MULTIPLICATION SIGN} failed, "
    "~ is not certified."
)
CURVES = {"loss": "", "accuracy": "%"}  # drawn first, and the unit


class Picture(NamedTuple):
    """A map with what it shows.

    Attributes:
        caption: Beside what others it stands.
        svg: The picture.
    """

    caption: str
    svg: Markup


class Group(NamedTuple):
    """Maps of one value.

    Attributes:
        title: What it is.
        maps: For each kind of labels.
    """

    title: str
    maps: list[Picture]


class Chart(NamedTuple):
    """Lines over epochs.

    Attributes:
        title: What they are of.
        svg: The picture.
    """

    title: str
    svg: Markup


class Section(NamedTuple):
    """What one table says.

    Attributes:
        title: Its name.
        groups: Maps of layers.
        more: Those that are shown when they are asked for.
        best: Heads and rows of what is best read off where.
        charts: Of values that are of no layer.
        note: How the maps are read.
    """

    title: str
    groups: list[Group]
    more: list[Group]
    best: tuple[list[str], list[list[str]]] | None
    charts: list[Chart]
    note: str


def write_run_page(folder: Path, refresh: int | None = None) -> Path:
    """Write `report.html` of a run, whether it has finished or not.

    Args:
        folder: The run directory.
        refresh: Seconds after which a browser loads it again; None for never.

    Returns:
        The page.

    Raises:
        DamagedRun: If the folder is no run, or its files are damaged.
        Refused: If a link leads out of the folder.
    """
    run = load_run(folder)
    check_links(folder)
    with replacing(folder / PAGE) as part:
        part.write_text(run_page(run, refresh), encoding="utf-8")
    return folder / PAGE


def run_page(run: RunRecord, refresh: int | None = None) -> str:
    """The page of a run.

    Args:
        run: As `load_run` gives it.
        refresh: As for `write_run_page`.
    """
    origin = run_origin(run.settings, run.name)
    curves = _curves(run, origin.chance)
    told = origin.told(run.epochs) if run.command == "fit" else {**origin.told(0), "epochs": run.command}
    provenance_ = [(name, str(text)) for name, text in provenance(run)]
    return rendered(
        "run.html",
        title=run.name,
        told=", ".join(filter(None, told.values())),
        status=run.status,
        refresh=refresh,
        charts=[chart for name, chart in curves.items() if name in CURVES],
        more_charts=[chart for name, chart in curves.items() if name not in CURVES],
        metrics=metric_rows(run),
        sections=_sections(run),
        facts=[
            (name, str(text))
            for name, text in [*course(run), *what_was_set(run), *provenance_]
            if str(text) and not name.startswith("command")
        ],
        commands=[text for name, text in provenance_ if name.startswith("command")],
        files=_files(run),
        path=str(run.path),
    )


def _files(run: RunRecord) -> list[Inside]:
    """The tables that the page is made of, and what was set."""
    names = ["metrics.csv", *(f"{name}.csv" for name in run.tables), "config.yaml", "run.json"]
    return [inside(file, f"{run.name}_{name}") for name in names if (file := run.path / name).is_file()]


def _curves(run: RunRecord, chance: float | None) -> dict[str, Chart]:
    """The metrics that no table has, those of one kind together; what was logged at one epoch only is no curve."""
    kinds: dict[str, dict[str, dict[int, float]]] = {kind: {} for kind in CURVES}
    for metric in run.own_metrics:
        kind, name = _kind(metric)
        points = {epoch: value for epoch, value in run.values(metric) if math.isfinite(value)}
        if len(points) > 1:
            kinds.setdefault(kind, {})[name] = points
    found = {}
    for kind, lines in [*kinds.items()][: CHARTS + len(CURVES)]:
        if lines:
            guides: dict[str, float] = {}
            if kind == "accuracy" and all(0 <= value <= 1 for points in lines.values() for value in points.values()):
                lines = {name: {at: 100 * value for at, value in points.items()} for name, points in lines.items()}
                guides = {"chance": 100 * chance} if chance else {}
            unit = CURVES.get(kind, "")
            title = ", ".join(filter(None, [kind.capitalize() if kind in CURVES else kind, unit]))
            found[kind] = Chart(title, Markup(line_chart(lines, guides, unit)))
    return found


def _kind(metric: str) -> tuple[str, str]:
    """Loss, accuracy or something else, and what a metric is called beside others of its kind."""
    where, _, last = metric.rpartition("/")
    for kind in CURVES:
        if kind in last.split("_"):
            rest = " ".join(part for part in last.split("_") if part != kind)
            return kind, ", ".join(filter(None, [where, rest])) or metric
    return last if where else metric, where or metric


def _sections(run: RunRecord) -> list[Section]:
    """What every table says: probes first, and before all those that are certified."""
    parts = probed_layers(run, run.name)
    certified, scored = run.probed("gap"), run.probed()
    names = sorted(parts, key=lambda name: (name not in certified, name not in scored, name))
    return [_section(name, run.tables[name], parts[name]) for name in names]


def _section(name: str, table: Table, parts: Sequence[Probed]) -> Section:
    """What a table says, whichever instrument has left it."""
    first: list[Group] = []
    more: list[Group] = []
    epochs = {row["epoch"] for row in table.rows}
    notes = [READ] if parts else []
    for whole in parts:
        value, *others = whole.values
        if value.startswith(CKA):
            continue
        one = _fewer(whole)
        there, shown = len(whole.table.epochs), len(one.table.epochs)
        notes += [f"Of {there} epochs {shown} are shown; the table has them all."] * (shown < there)
        first += _maps(one, value)
        if value in SCORES:
            first += _maps(one, value, "difference")
        else:
            more += _maps(one, value, "difference")
        for other in others:
            more += [*_maps(one, other), *_maps(one, other, "difference")]
    first += _similar(table)
    scored = table.has("layer", "labels", "split", "accuracy")
    best = best_layers(table) if scored else ([], [])
    title = name.replace("_", " ").capitalize()
    notes += ["Column 0 is the untrained network."] if parts and 0 in epochs else []
    note = " ".join(dict.fromkeys(notes))
    return Section(title, first, more, best if best[1] else None, list(_value_charts(table)), note)


def _fewer(whole: Probed) -> Probed:
    """As many epochs as there is room for, evenly chosen."""
    epochs = whole.table.epochs
    room = max(2, min(MOST_EPOCHS, CELLS // max(1, len(whole.table.unique("layer")))))
    chosen = {*evenly(epochs, room)}
    return replace(whole, table=ProbeTable(row for row in whole.table.rows if row["epoch"] in chosen))


def _maps(probed: Probed, value: str, show: Show = "value") -> list[Group]:
    """The maps of a value; none of differences where there is no untrained network."""
    epochs = probed.table.epochs
    if not epochs or (show == "difference" and (0 not in epochs or len(epochs) < 2)):
        return []
    shown = panels([probed], value=value, show=show)
    maps = [replace(panel.heat_map(""), unit="") for panel in shown]  # which is in the title
    if not any(one.numbers() for one in maps) and show == "difference":
        return []
    title = shown[0].unit
    if value not in SCORES and show == "value":
        title = ", ".join(filter(None, [shown[0].look.name, title.rpartition(", ")[2]]))
    title = without_tex(title)
    chance = f"; chance {maps[0].chance:.3g} %" if maps[0].chance is not None and show == "value" else ""
    title = f"{title[:1].upper()}{title[1:]}{chance}"
    return [Group(title, _pictures(maps, headings(shown)[1], [shared_span(maps)] * len(maps)))]


def _similar(table: Table) -> list[Group]:
    """How similar layers are to each other and to themselves at other epochs."""
    if not table.has("layer", "measure", "value"):
        return []
    rows = [row for row in table.rows if row["measure"].startswith(CKA)]
    layers, epochs = (list(dict.fromkeys(row[name] for row in table.rows)) for name in ("layer", "epoch"))
    return [
        Group(
            "Similarity of layers, linear CKA",
            _pictures(
                [replace(one, heading="") for one in group],
                [one.heading.replace("\n", ", ") for one in group],
                [own_span(one, group) for one in group],
            ),
        )
        for group in similarities(rows, layers, epochs)
    ]


def _pictures(maps: Sequence[HeatMap], captions: Sequence[str], spans: Sequence[tuple[float, float]]) -> list[Picture]:
    return [
        Picture(caption, Markup(svg("", [one], span, alone=False)))
        for one, caption, span in zip(maps, captions, spans, strict=True)
    ]


def _value_charts(table: Table) -> Iterator[Chart]:
    """Values that are of no layer, over epochs."""
    if table.has("layer"):
        return
    about = [name for name in table.that("what") if name not in {"epoch", "step", "measure"}]
    found: dict[str, dict[str, dict[int, float]]] = {}
    for row in table.rows:
        for column in table.that("value") if row.get("chosen") is not False else []:
            if isinstance(value := row[column], float) and math.isfinite(value):
                name = row.get("measure", column) if column == "value" else column
                of = ", ".join(str(row[part]) for part in about if row[part]) or name
                found.setdefault(name, {}).setdefault(of, {})[row["epoch"]] = value
    for name, lines in [*found.items()][:CHARTS]:
        if len({epoch for points in lines.values() for epoch in points}) > 1:
            yield Chart(name, Markup(line_chart(lines)))
