"""From a folder of runs to their report: `stratoscope report runs/<experiment>/<scale>`."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stratoscope.experiments.claims import Comparison, Verdict, comparison_with, verdict_of
from stratoscope.experiments.experiment import FULL, Experiment
from stratoscope.experiments.grid import chosen_scale
from stratoscope.experiments.measured import Reading, check_columns, reading
from stratoscope.experiments.plan_file import bounds_stand, read_plan
from stratoscope.experiments.quantities import Cell, Estimate, Result
from stratoscope.experiments.report.figures import draw, hovered
from stratoscope.experiments.report.page import Content, Drawn, page
from stratoscope.files.atomic import replacing
from stratoscope.files.own_folder import check_links
from stratoscope.pages.template import Markup, inside
from stratoscope.results.record import DamagedRun, RunRecord, load_run

Row = dict[str, Any]
# of pictures; without the date, as else the page would change every time
KINDS: dict[str, dict[str, Any]] = {"png": {"dpi": 150}, "pdf": {"metadata": {"CreationDate": None}}}


def write_report(folder: Path) -> str:
    """Write `report.html` and, under `report/`, every figure as PNG and PDF with its numbers as CSV, and the tables.

    Args:
        folder: Of the runs of one experiment at one scale.

    Returns:
        The verdicts, and where the page is.
    """
    experiment, scale, planned = read_plan(folder)
    check_links(folder, "report")
    results, damaged = [], []
    for run in planned:
        try:
            record = _read(run.path, experiment) if (run.path / "run.json").is_file() else None
        except DamagedRun as error:
            record = None
            damaged.append(f"  left out      {error}")
        results.append(Result(run, record if record and record.status == "finished" else None))
    records = [result.record for result in results if result.record]
    for quantity in experiment.quantities.values() if len(records) == len(results) else ():  # or it may yet come
        check_columns(quantity, records)
    verdicts = [verdict_of(claim, experiment, scale, results) for claim in experiment.claims]
    comparisons = [comparison_with(one, experiment, scale, results) for one in experiment.published]
    note = chosen_scale(experiment, scale).note
    label = f"scale {scale}: {note}" if scale != FULL else ""
    pictures = []
    for name, figure in experiment.figures.items():
        picture, rows = draw(experiment, figure, results, label)
        file = folder / "report" / name
        for kind, options in KINDS.items():
            with replacing(file.with_suffix(f".{kind}")) as part:
                picture.savefig(part, format=kind, **options)
        _write_table(rows, file.with_suffix(".csv"))
        drawn = [inside(file.with_suffix(f".{kind}")) for kind in (*KINDS, "csv")]
        maps = [(of, Markup(svg)) for of, svg in hovered(experiment, figure, results)]
        pictures.append(Drawn(figure, drawn, maps))
    table = table_of(experiment, results)
    _write_table(table, folder / "report" / "table.csv")
    _write_table([_comparison_row(one) for one in comparisons], folder / "report" / "published.csv")
    with replacing(folder / "report" / "verdicts.json") as part:
        part.write_text(json.dumps([_verdict_row(one) for one in verdicts], indent=2, allow_nan=False) + "\n")
    stand = bounds_stand(folder, experiment)
    files = [inside(folder / "report" / name) for name in ("table.csv", "published.csv", "verdicts.json")]
    content = Content(experiment, label, folder, results, verdicts, comparisons, pictures, table, stand, files)
    with replacing(folder / "report.html") as part:
        part.write_text(page(content), encoding="utf-8")
    finished = sum(result.record is not None for result in results)
    lines = [f"{experiment.title}{f' ({label})' if label else ''}: {finished} of {len(results)} runs finished"]
    lines += [f"  {one.verdict:13} {one.claim.text}" for one in verdicts]
    return "\n".join([*lines, *damaged, f"report: {folder / 'report.html'}"])


def _read(path: Path, experiment: Experiment) -> RunRecord:
    """A run, with its tables if any number is read off them, or how many samples there were."""
    probed = any(quantity.probe or quantity.column for quantity in experiment.quantities.values())
    record = load_run(path, layers=probed)
    return record if probed or record.record.get("samples") else load_run(path)


def table_of(experiment: Experiment, results: Sequence[Result]) -> list[Row]:
    """One row for every group of repetitions: its labels, and every quantity's mean and margin.

    Args:
        experiment: The experiment.
        results: Its runs.
    """
    cells: dict[Cell, list[RunRecord]] = {}
    for result in results:
        cells.setdefault(result.planned.cell, []).extend([result.record] if result.record else [])
    rows = []
    for cell, records in cells.items():
        row: Row = {**dict(cell), "runs": len(records)}
        for name in experiment.table or experiment.quantities:
            quantity = experiment.quantities[name]
            values = [reading(record, quantity, experiment.samples) for record in records]
            numbers = tuple(value for value in values if isinstance(value, Reading))
            texts = sorted({value for value in values if isinstance(value, str)})
            row[name] = Estimate(numbers) if numbers else "/".join(texts)
        rows.append(row)
    return rows


def _write_table(rows: Sequence[Row], file: Path) -> None:
    rows = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _flat(row: Row) -> Row:
    """A row with mean and margin of every estimate in columns of their own."""
    flat: Row = {}
    for name, value in row.items():
        flat |= {name: value.mean, f"{name}, margin": value.margin} if isinstance(value, Estimate) else {name: value}
    return flat


def _verdict_row(verdict: Verdict) -> Row:
    numbers = {
        name: {
            "values": list(map(_finite, one.values)),
            "mean": _finite(one.mean),
            "low": _finite(one.low),
            "high": _finite(one.high),
        }
        for name, one in verdict.numbers.items()
    }
    claim = verdict.claim
    return {"claim": claim.text, "verdict": verdict.verdict, "bounds": verdict.bounds, "numbers": numbers}


def _finite(number: float) -> float | None:
    """A number for JSON, which has neither NaN nor infinity; null for these."""
    return number if math.isfinite(number) else None


def _comparison_row(one: Comparison) -> Row:
    return {
        "quantity": one.published.quantity,
        "runs": one.runs,
        "ours": one.ours.mean if one.ours else "",
        "paper": one.published.value,
        "tolerance": "chance" if one.published.tolerance is None else one.published.tolerance,
        "verdict": one.verdict,
        "source": one.published.source,
    }
