"""The runs of an experiment: every combination of labels, with its options of `fit` and its directory."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from stratoscope.errors import Refused, nearest
from stratoscope.experiments.experiment import FULL, SEED, Experiment, Options, Scale, Where
from stratoscope.files.bounded import read_json

REFERENCE = re.compile(r"\{run:([^}]*)\}")  # in an option: the directory of another run of the experiment
LABEL = re.compile(r"\{label:([^}]*)\}")  # instead of a value: the run's label of an axis


@dataclass(frozen=True)
class PlannedRun:
    """One run of an experiment.

    Attributes:
        labels: Its label on every axis.
        options: Its options of `fit`.
        folder: Where the experiment's runs are.
        name: Name of its directory in there.
        needs: Names of the runs it starts from.
        command: `fit` or `validate`.
    """

    labels: Mapping[str, Any]
    options: Options
    folder: Path
    name: str
    needs: tuple[str, ...] = ()
    command: str = "fit"

    @property
    def path(self) -> Path:
        """Its run directory."""
        return self.folder / self.name

    @property
    def finished(self) -> bool:
        """Whether it has ended as it should."""
        try:
            return bool(read_json(self.path / "run.json")["status"] == "finished")
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def words(self, *more: str) -> list[str]:
        """Its command line, without `stratoscope`.

        Args:
            more: Further words.
        """
        options = [word for name, value in self.options.items() for word in (f"--{name}", _word(value))]
        return [self.command, *options, *more, "--runs", str(self.folder), "--run", self.name]

    @property
    def cell(self) -> tuple[tuple[str, Any], ...]:
        """What it shares with its repetitions: all labels but the seed's."""
        return tuple((axis, label) for axis, label in self.labels.items() if axis != SEED)


def planned_runs(experiment: Experiment, scale_name: str, runs: str) -> list[PlannedRun]:
    """All runs of an experiment, each once, those that others start from first.

    Args:
        experiment: The experiment.
        scale_name: `full`, or one of its scales.
        runs: Folder of all runs.

    Raises:
        Refused: If there is no such scale, there are no runs or two of one name, or a run starts from itself or from
            one that is not in the plan, or a published number is about several groups of runs.
    """
    scale = chosen_scale(experiment, scale_name)
    folder = Path(runs).expanduser() / experiment.name.replace("/", "_") / scale_name
    found: dict[str, PlannedRun] = {}
    for block in experiment.runs:
        for labels in _combinations(experiment, scale, block):
            run = _planned(experiment, scale, labels, folder)
            same = found.setdefault(run.name, run)
            if same.labels != run.labels:
                both = f"{', '.join(map(str, same.labels.values()))} and {', '.join(map(str, run.labels.values()))}"
                raise Refused(f"{experiment.name}: {both} would have one directory, {run.name}; change a label")
    if not found:
        raise Refused(f"{experiment.name}: there are no runs at scale {scale_name}")
    for number in experiment.published:
        cells = {run.cell for run in found.values() if selected(run.labels, number.of)}
        if len(cells) > 1 or (not cells and scale_name == FULL):
            about = f"published: {number.quantity} of {number.of or 'all'}"
            raise Refused(f"{experiment.name}: {about} is about {len(cells)} groups of runs, must be one")
    for run in found.values():
        for name in run.needs:
            if name not in found:
                raise Refused(f"{experiment.name}: run {run.name} starts from {name}, which is not in the plan")
    return sorted(found.values(), key=lambda run: _depth(run, found, (run.name,)))


def chosen_scale(experiment: Experiment, name: str) -> Scale:
    """A scale by its name; the full one changes nothing.

    Raises:
        Refused: If there is none.
    """
    if name != FULL and name not in experiment.scales:
        raise Refused(f"--scale {name}: {experiment.name} has {', '.join([FULL, *experiment.scales])}")
    return experiment.scales.get(name, Scale(""))


def repetitions(runs: Sequence[PlannedRun]) -> list[list[Options]]:
    """The options of the runs that are repetitions of each other, group by group.

    Args:
        runs: Runs of one experiment.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[Options]] = {}
    for run in runs:
        groups.setdefault(run.cell, []).append(run.options)
    return list(groups.values())


def selected(labels: Mapping[str, Any], where: Where | None) -> bool:
    """Whether a run with these labels is among those meant."""
    return all(wanted == "all" or labels.get(axis) in _listed(wanted) for axis, wanted in (where or {}).items())


def _combinations(experiment: Experiment, scale: Scale, block: Where) -> Iterator[dict[str, Any]]:
    choices = []
    for axis, labels in experiment.axes.items():
        wanted = block[axis]
        wanted = list(labels) if wanted == "all" else _listed(wanted)
        choices.append([label for label in wanted if label in scale.only.get(axis, wanted)])
    return (dict(zip(experiment.axes, combination, strict=True)) for combination in product(*choices))


def _planned(experiment: Experiment, scale: Scale, labels: dict[str, Any], folder: Path) -> PlannedRun:
    options = dict(experiment.options)
    for axis, label in labels.items():
        _merge(options, experiment.axes[axis][label] or {})
    _merge(options, scale.options)
    for axis, label in labels.items():
        _merge(options, scale.axes.get(axis, {}).get(label) or {})
    needs: list[str] = []

    def own(axis: str) -> Any:
        if axis not in labels:
            raise Refused(f"{experiment.name}: {{label:{axis}}}: no axis {axis}{nearest(axis, labels)}")
        return labels[axis]

    def referred(match: re.Match[str]) -> str:
        changed = {axis.strip(): label.strip() for axis, _, label in (p.partition("=") for p in match[1].split(","))}
        for axis in changed:
            if axis not in labels and match[1]:
                raise Refused(f"{experiment.name}: {match[0]}: no axis {axis}{nearest(axis, labels)}")
        other = {axis: _label(experiment, axis, changed.get(axis, label)) for axis, label in labels.items()}
        needs.append(run_name(other))
        return str(folder / needs[-1])

    command = str(options.pop("command", experiment.command))
    filled = {name: _filled(value, referred, own) for name, value in options.items()}
    return PlannedRun(labels, filled, folder, run_name(labels), tuple(dict.fromkeys(needs)), command)


def _label(experiment: Experiment, axis: str, text: Any) -> Any:
    return next((label for label in experiment.axes[axis] if str(label) == str(text)), text)


def _merge(options: Options, more: Options) -> None:
    """Add options; `name+` adds to a list instead of replacing it."""
    for name, value in more.items():
        if name.endswith("+"):
            options[name[:-1]] = [*_listed(options.get(name[:-1], [])), *_listed(value)]
        else:
            options[name] = value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _filled(value: Any, referred: Callable[[re.Match[str]], str], own: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        whole = LABEL.fullmatch(value)
        return own(whole[1]) if whole else REFERENCE.sub(referred, value)
    if isinstance(value, list):
        return [_filled(one, referred, own) for one in value]
    return {key: _filled(one, referred, own) for key, one in value.items()} if isinstance(value, dict) else value


def _depth(run: PlannedRun, runs: Mapping[str, PlannedRun], above: tuple[str, ...]) -> int:
    for name in run.needs:
        if name in above:
            raise Refused(f"run {above[0]} starts, by way of {', '.join(above)}, from itself")
    return 1 + max((_depth(runs[name], runs, (*above, name)) for name in run.needs), default=0)


def run_name(labels: Mapping[str, Any]) -> str:
    """The name of a run's directory: its labels, in what names may have."""
    return "__".join(re.sub(r"[^A-Za-z0-9.]+", "-", str(label)).strip("-.") or "x" for label in labels.values())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
