"""The page of an experiment: one file that needs no network and can be read on a telephone."""

import base64
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from stratoscope.experiments.claims import FAILS, HOLDS, Comparison, Verdict, told_chance
from stratoscope.experiments.experiment import Experiment, Figure
from stratoscope.experiments.quantities import Cell, Estimate, Result, brief
from stratoscope.run.seeds import Seeds, seeds_of, told_differences

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1rem;
  max-width: 60rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.scale { background: #fff4d6; border-left: 4px solid #e69f00; padding: .5rem .8rem; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: .9rem; }
div.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.holds { color: #00734f; } .fails { color: #b03a00; } .other { color: #666; } td.verdict { white-space: nowrap; }
code, pre { font-size: .85rem; background: #f5f5f5; } pre { padding: .6rem; overflow-x: auto; }
details { margin: .3rem 0; } summary { cursor: pointer; } small { color: #555; }
"""


@dataclass(frozen=True)
class Drawn:
    """A picture in the report.

    Attributes:
        name: Its name.
        figure: What it shows.
        png: The picture.
    """

    name: str
    figure: Figure
    png: bytes


@dataclass(frozen=True)
class Content:
    """All that is in a report.

    Attributes:
        experiment: The experiment.
        label: What is smaller than in the paper; empty at full scale.
        folder: Where the runs are.
        results: The runs.
        verdicts: On the claims.
        comparisons: With the paper's numbers.
        pictures: The figures.
        table: Quantities by group of runs.
        bounds_stand: Whether the bounds are those of before the runs.
    """

    experiment: Experiment
    label: str
    folder: Path
    results: Sequence[Result]
    verdicts: Sequence[Verdict]
    comparisons: Sequence[Comparison]
    pictures: Sequence[Drawn]
    table: Sequence[Mapping[str, Any]]
    bounds_stand: bool = True


def page(content: Content) -> str:
    """The page.

    Args:
        content: What is in it.
    """
    experiment = content.experiment
    finished = sum(result.record is not None for result in content.results)
    parts = [
        f"<h1>{escape(experiment.title)}</h1>",
        f"<p>{escape(experiment.source)}. {finished} of {len(content.results)} runs finished.</p>",
        f'<p class="scale"><b>Not the paper\'s experiment</b>, but a smaller one: {escape(content.label)}.</p>'
        if content.label
        else "",
        f"<p>{escape(experiment.note)}</p>" if experiment.note else "",
        _verdicts(content.verdicts, content.bounds_stand),
        *map(_picture, content.pictures),
        _comparisons(content.comparisons),
        _numbers(content),
        _runs(content.results),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    title = f"<title>{escape(experiment.title)}</title>"
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}{title}</head>\n<body>\n{body}\n</body></html>\n'


def _verdicts(verdicts: Sequence[Verdict], bounds_stand: bool) -> str:
    rows = []
    for one in verdicts:
        found = "; ".join(f"{name}: {value}".removeprefix(": ") for name, value in one.numbers.items())
        if any(len(value.values) == 1 for value in one.numbers.values()):
            found += " (one run each: of how runs differ nothing is known, and nothing is in the interval)"
        if any(math.isnan(value.margin) for value in one.numbers.values()):
            found += " (?: it is not known how many test samples this was measured on, or how far it varies)"
        if one.missing:
            found += f" ({one.missing} runs are missing)"
        source = f"<br><small>{escape(one.claim.source)}</small>" if one.claim.source else ""
        text = f"{escape(one.claim.text)}{source}"
        rows.append([_verdict(one.verdict), text, escape(one.claim.quantity), escape(one.bounds), escape(found)])
    changed = "Bounds, published numbers or quantities were changed after the experiment was begun."
    note = "The bounds stood before the runs." if bounds_stand else f'<b class="fails">{changed}</b>'
    return _table("Verdicts", ["", "claim", "what counts", "must be", "is"], rows, note)


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    rows = []
    for one in comparisons:
        published = one.published
        difference = f"{one.ours.mean - published.value:+.3g}" if one.ours else "-"
        over = f" / {escape(', '.join(map(str, published.over.values())))}" if published.over else ""
        quantity = f"{escape(published.quantity)}<br><small>{escape(published.source)}</small>"
        runs = f"{escape(one.runs)}{over}"
        by_chance = f"{brief(published.value)}, {told_chance(published.chance)}" if published.chance is not None else ""
        paper = by_chance or f"{brief(published.value)} ± {brief(published.tolerance or 0)}"
        rows.append([runs, quantity, str(one.ours or "-"), paper, difference, _verdict(one.verdict)])
    heads = ["runs", "quantity", "ours", "paper", "difference", "within tolerance"]
    note = "± of ours is half its 95 % interval, all of which has to be within that of the paper: the tolerance."
    return _table("Beside the paper", heads, rows, note, {2, 3, 4})


def _numbers(content: Content) -> str:
    columns = list(content.table[0]) if content.table else []
    units = {name: quantity.unit for name, quantity in content.experiment.quantities.items()}
    heads = [f"{escape(name)}{f', {escape(units[name])}' if units.get(name) else ''}" for name in columns]
    rows = [[escape(str(row[name]) or "-") for name in columns] for row in content.table]
    numeric = {
        i for i, name in enumerate(columns) if any(isinstance(row[name], (Estimate, int)) for row in content.table)
    }
    note = (
        "Mean ± half its 95 % interval: the error of the test set, which is a sample (of differences as of independent "
        "samples, as single images are not stored), the rounding of epochs to whole ones that were looked at, and, "
        "of several repetitions, Student's t."
    )
    repeated: dict[Cell, list[Seeds]] = {}
    for result in content.results:
        if result.record:
            repeated.setdefault(result.planned.cell, []).append(seeds_of(result.record.settings))
    if differing := told_differences(repeated.values()):
        note += f" {escape(differing[:1].upper() + differing[1:])}."
    return _table("All numbers", heads, rows, note, numeric)


def _runs(results: Iterable[Result]) -> str:
    parts = ["<h2>Runs</h2>"]
    for result in results:
        planned, record = result.planned, result.record
        state = "finished" if record else "not finished"
        about = record.record if record else {}
        command = (about.get("commands") or [shlex.join(["stratoscope", *planned.words()])])[-1]
        lines = [f"<pre>{escape(command)}</pre>"]
        if record:
            versions = ", ".join(f"{name} {version}" for name, version in (about.get("versions") or {}).items())
            code, data = about.get("code") or {}, about.get("data") or {}
            changed = ", changed" if code.get("changed") else ""
            facts = {
                "started": about.get("started"),
                "ended": about.get("ended"),
                "seed": record.config.get("seed_everything"),
                "code": f"{code['commit']}{changed}" if code else None,
                "data": ", ".join(f"{name} {digest[:16]}" for name, digest in data.items()) or None,
                "versions": versions,
            }
            known = "<br>".join(f"{name}: {escape(str(value))}" for name, value in facts.items() if value is not None)
            lines.append(f"<p><small>{known}</small></p>")
        parts.append(f"<details><summary>{escape(planned.name)} ({state})</summary>{''.join(lines)}</details>")
    return "\n".join(parts)


def _picture(drawn: Drawn) -> str:
    data = base64.b64encode(drawn.png).decode()
    files = " ".join(f'<a href="report/{drawn.name}.{kind}">{kind}</a>' for kind in ("png", "pdf", "csv"))
    title = escape(drawn.figure.title)
    image = f'<img alt="{title}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(drawn.figure.caption)} <small>{files}</small></figcaption></figure>"


def _verdict(verdict: str) -> str:
    kind = {HOLDS: "holds", FAILS: "fails"}.get(verdict, "other")
    return f'<b class="{kind}">{escape(verdict)}</b>'


def _table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], note: str, numeric: Iterable[int] = ()
) -> str:
    if not rows:
        return ""
    numbers = set(numeric)

    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{kind} class="number">{cell}</{kind}>' if at in numbers else f"<{kind}>{cell}</{kind}>"
            for at, cell in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<tr>{cells('th', heads)}</tr>"
    return f'<h2>{title}</h2>\n<div class="wide"><table>{head}\n{body}</table></div>\n<p><small>{note}</small></p>'
