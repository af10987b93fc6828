"""`stratoscope show`: everything about one run on one screen."""

import re
import shlex
from collections.abc import Iterator
from math import isnan

from rich.console import RenderableType
from rich.text import Text

from stratoscope.files.table import Table
from stratoscope.results.record import RunRecord
from stratoscope.results.tables import epochs, number, percent, status
from stratoscope.results.terminal import columns, grid
from stratoscope.run.lock import holder
from stratoscope.run.seeds import seeds_of, told_seeds

Line = tuple[str, str | Text]
PARTS = {
    "model": "network",
    "model.optimizer": "optimiser",
    "model.scheduler": "schedule",
    "data": "data",
    "data.corruption": "corruption",
    "data.augmentation": "augmentation",
    "data.shifted": "shifted sets",
    "trainer.callbacks": "callbacks",
    "trainer.logger": "logger",
}
TRAINER = ("trainer.max_epochs", "trainer.precision", "trainer.accelerator", "trainer.devices", "trainer.strategy")
# what torch's optimisers and schedules have and hardly anybody sets
PLUMBING = ("foreach", "fused", "differentiable", "maximize", "capturable", "last_epoch", "dampening")
MEASURES = 12  # of a table that are shown: similarities are as many as there are pairs of layers
OFTEN = ("stratoscope", "python", "torch", "torchvision", "lightning")


def summary(run: RunRecord) -> list[RenderableType]:
    """Status, config, metrics, probes, files, versions and commands of a run, and how to go on with it.

    Args:
        run: As `load_run` gives it.
    """
    parts: list[RenderableType] = [Text(run.name, "bold"), grid([*course(run), *what_was_set(run)]), ""]
    if rows := metric_rows(run):
        parts += [columns(["metric", "last", "best", "at epoch"], rows, ["metric"], ["metric"]), ""]
    for name, table in run.tables.items():
        shown = _best_layers(name, table) if name in run.probed() else _values(name, table)
        parts += [shown, ""] if shown else []
    return [*parts, grid([*_files(run), *provenance(run)])]


def course(run: RunRecord) -> Iterator[Line]:
    """How far a run is, and how to go on with it.

    Args:
        run: As `load_run` gives it.
    """
    done = epochs(run)
    yield "status", Text.assemble(status(run), f", {done} epochs" if done else "")
    began, ended = (str(run.record.get(key) or "")[:16].replace("T", " ") for key in ("started", "ended"))
    until = ended[11:] if ended[:10] == began[:10] else ended
    yield "time", f"{began}{f' to {until}' if until else ''} UTC"
    if run.status == "running":
        at_work = holder(run.path) or {}
        yield "running in", f"process {at_work.get('pid', '?')} on {at_work.get('host', '?')}"
    elif run.status != "finished":
        yield "to go on", Text(f"stratoscope resume {shlex.quote(str(run.path))}", "cyan")


def what_was_set(run: RunRecord) -> Iterator[Line]:
    """The classes and what they were given; what is null is left out.

    Args:
        run: As `load_run` gives it.
    """
    given = {key: value for key, value in run.settings.items() if value is not None}
    owner = {key: max((part for part in PARTS if key.startswith(f"{part}.")), key=len, default="") for key in given}
    for part, name in PARTS.items():
        if part in given and given[part] != "[]":
            own = {key.removeprefix(f"{part}."): value for key, value in given.items() if owner[key] == part}
            own = {key: value for key, value in own.items() if f"{part}.{key}" not in PARTS}
            if part in {"model.optimizer", "model.scheduler"}:
                own = {key: value for key, value in own.items() if key not in PLUMBING and value is not False}
            classes = str(given[part]).split(", ")
            for one in classes:
                inner = {key.removeprefix(f"{one}."): value for key, value in own.items() if key.startswith(f"{one}.")}
                yield name if one == classes[0] else "", _with(one, inner or (own if len(classes) == 1 else {}))
    rest = [key for key in (*TRAINER, "seed_everything", "threads") if key in given]
    yield "trainer", ", ".join(f"{key.removeprefix('trainer.')} {_brief(given[key])}" for key in rest)
    yield "seeds", told_seeds(seeds_of(given))
    if "ckpt_path" in given:
        yield "checkpoint", str(given["ckpt_path"])


def _with(name: str, arguments: dict[str, object]) -> Text:
    listed = ", ".join(f"{key} {_brief(value)}" for key, value in arguments.items())
    return Text.assemble((name, "bold"), f": {listed}" if listed else "")


def _brief(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def metric_rows(run: RunRecord) -> list[list[str]]:
    """Name, last and best value, and the epoch of that, of every metric that no table has.

    Args:
        run: As `load_run` gives it.
    """
    found = {name: best for name in run.own_metrics if (best := run.best(name))}
    return [[name, number(run.last(name)), number(value), str(epoch)] for name, (epoch, value) in found.items()]


def best_layers(table: Table) -> tuple[list[str], list[list[str]]]:
    """Where each kind of label is best read off: now, and at any epoch.

    Args:
        table: One that has accuracies of layers.

    Returns:
        The heads of the columns, and the rows.
    """
    found = [row for row in table.rows if row["accuracy"] is not None and row.get("chosen") is not False]
    now = max((row["epoch"] for row in table.rows), default=0)
    rows: list[list[str]] = []
    for labels, split in dict.fromkeys((row["labels"], row["split"]) for row in found):
        fits = [row for row in found if (row["labels"], row["split"]) == (labels, split)]
        ever = max(fits, key=lambda row: row["accuracy"])
        last = max((row for row in fits if row["epoch"] == now), key=lambda row: row["accuracy"], default={})
        low, high = last.get("low"), last.get("high")
        interval = f"{percent(low)} to {percent(high)}" if low is not None and high is not None else ""
        here = [last["layer"], percent(last["accuracy"]), interval] if last else ["", "", ""]
        kind = f"{labels.removesuffix('_label')}, {split}"
        rows.append([kind, *here, ever["layer"], percent(ever["accuracy"]), str(ever["epoch"])])
    return ["best layer for", f"at epoch {now}", "%", "95 %", "at any", " %", "epoch"], rows


def _best_layers(name: str, table: Table) -> RenderableType | None:
    heads, rows = best_layers(table)
    if name != "probes":
        heads[0] = f"{name.removeprefix('probes_')}: {heads[0]}"
    layers = [heads[1], heads[4]]
    return columns(heads, rows, [heads[0], *layers], layers) if rows else None


def _values(name: str, table: Table) -> RenderableType | None:
    """The smallest and the largest value of every measure at the last epoch, and where."""
    now = max((row["epoch"] for row in table.rows), default=0)
    texts = [column for column in table.that("what") if table.columns[column].kind is str]
    what = [column for column in texts if column not in {"layer", "measure"}]
    found: dict[str, list[tuple[float, str]]] = {}
    for row in table.rows:
        for column in table.that("value") if row["epoch"] == now and row.get("chosen") is not False else []:
            if isinstance(row[column], float) and not isnan(row[column]):
                measure = row.get("measure", column) if column == "value" else column
                kind = ", ".join([measure, *(row[part].removesuffix("_label") for part in what if row[part])])
                found.setdefault(kind, []).append((row[column], row.get("layer") or ""))
    rows = [
        [kind, *(cell for end in (min(values), max(values)) for cell in (number(end[0]), end[1]))]
        for kind, values in list(found.items())[:MEASURES]
    ]
    heads = [f"{name} at epoch {now}", "smallest", "at", "largest", " at"]
    return columns(heads, rows, [heads[0], heads[2], heads[4]], heads[::2]) if rows else None


def _files(run: RunRecord) -> Iterator[Line]:
    found: list[str] = []
    for file in sorted(run.path.rglob("*")):
        inner = file.relative_to(run.path)
        hidden = file.suffix == ".sha256" or inner.name == "lock" or inner.name.startswith(".")
        if inner.parts[0] == "wandb" or hidden or not file.is_file():
            continue
        try:
            found.append(f"{inner} {_size(file.stat().st_size)}")
        except FileNotFoundError:  # replaced at this moment
            continue
    yield "folder", str(run.path)
    yield "files", ", ".join(found)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def provenance(run: RunRecord) -> Iterator[Line]:
    """With what code and commands a run was made.

    Args:
        run: As `load_run` gives it.
    """
    versions, code = run.record.get("versions") or {}, run.record.get("code") or {}
    yield "versions", ", ".join(f"{name} {versions[name]}" for name in OFTEN if name in versions)
    if code.get("commit"):
        yield "commit", f"{code['commit'][:12]}{', with changes' if code.get('changed') else ''}"
    for number_, command in enumerate(run.record.get("commands") or [], 1):
        name = "command" if len(run.record["commands"]) == 1 else f"command {number_}"
        yield name, re.sub(r"^\S*stratoscope(/__main__\.py)?(?= )", "stratoscope", str(command))
