"""The page of an experiment: one file that needs no network and can be read on a telephone."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stratoscope.experiments.claims import FAILS, HOLDS, Comparison, Verdict, told_chance
from stratoscope.experiments.experiment import Experiment, Figure
from stratoscope.experiments.quantities import Cell, Estimate, Result, brief
from stratoscope.pages.template import Inside, rendered
from stratoscope.run.seeds import Seeds, seeds_of, told_differences

KINDS = {HOLDS: "holds", FAILS: "fails"}


@dataclass(frozen=True)
class Drawn:
    """A picture in the report.

    Attributes:
        figure: What it shows.
        files: The picture itself, as PNG, then others of it.
        maps: Heat maps that stand for it, with what each is of, as `Markup`.
    """

    figure: Figure
    files: Sequence[Inside]
    maps: Sequence[tuple[str, str]] = ()


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
        files: Further files that are in the page.
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
    files: Sequence[Inside] = ()


class _Run(NamedTuple):
    name: str
    state: str
    command: str
    facts: list[tuple[str, str]]


def page(content: Content) -> str:
    """The page.

    Args:
        content: What is in it.
    """
    experiment, columns = content.experiment, list(content.table[0]) if content.table else []
    units = {name: quantity.unit for name, quantity in experiment.quantities.items()}
    differing = _differing(content.results)
    return rendered(
        "experiment.html",
        title=experiment.title,
        refresh=None,
        experiment=experiment,
        label=content.label,
        finished=sum(result.record is not None for result in content.results),
        verdicts=[(one, _found(one)) for one in content.verdicts],
        kinds=KINDS,
        bounds_stand=content.bounds_stand,
        pictures=content.pictures,
        comparisons=[(one, *_beside(one)) for one in content.comparisons],
        heads=[f"{name}, {units[name]}" if units.get(name) else name for name in columns],
        rows=[[str(row[name]) or "-" for name in columns] for row in content.table],
        numeric={
            place
            for place, name in enumerate(columns)
            if any(isinstance(row[name], (Estimate, int)) for row in content.table)
        },
        differing=f" {differing[:1].upper()}{differing[1:]}." if differing else "",
        runs=list(map(_run, content.results)),
        files=content.files,
    )


def _found(verdict: Verdict) -> str:
    """The numbers that a verdict rests on, and what is not known of them."""
    found = "; ".join(f"{name}: {value}".removeprefix(": ") for name, value in verdict.numbers.items())
    if any(len(value.values) == 1 for value in verdict.numbers.values()) and not verdict.claim.correlation:
        found += " (one run each: of how runs differ nothing is known, and nothing is in the interval)"
    if any(math.isnan(value.margin) for value in verdict.numbers.values()):
        found += " (?: it is not known how many test samples this was measured on, or how far it varies)"
    return f"{found} ({verdict.missing} runs are missing)" if verdict.missing else found


def _beside(one: Comparison) -> tuple[str, str]:
    """The paper's number, and how far ours is from it."""
    published = one.published
    margin = f" ± {brief(published.tolerance or 0)}"
    paper = brief(published.value) + (margin if published.chance is None else f", {told_chance(published.chance)}")
    return paper, f"{one.ours.mean - published.value:+.3g}" if one.ours else "-"


def _differing(results: Sequence[Result]) -> str:
    """In what the repetitions differ that are there."""
    repeated: dict[Cell, list[Seeds]] = {}
    for result in results:
        if result.record:
            repeated.setdefault(result.planned.cell, []).append(seeds_of(result.record.settings))
    return told_differences(repeated.values())


def _run(result: Result) -> _Run:
    """With what a run was made, or is going to be."""
    planned, record = result.planned, result.record
    about = record.record if record else {}
    command = (about.get("commands") or [shlex.join(["stratoscope", *planned.words()])])[-1]
    if record is None:
        return _Run(planned.name, "not finished", command, [])
    code, data = about.get("code") or {}, about.get("data") or {}
    changed = ", changed" if code.get("changed") else ""
    facts = {
        "started": about.get("started"),
        "ended": about.get("ended"),
        "seed": record.config.get("seed_everything"),
        "code": f"{code['commit']}{changed}" if code else None,
        "data": ", ".join(f"{name} {digest[:16]}" for name, digest in data.items()) or None,
        "versions": ", ".join(f"{name} {version}" for name, version in (about.get("versions") or {}).items()),
    }
    known = [(name, str(value)) for name, value in facts.items() if value is not None]
    return _Run(planned.name, "finished", command, known)
