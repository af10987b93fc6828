"""`experiment.json`: what the runs in a folder are runs of, and the bounds that stood before the first of them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Claim, Experiment, Published, Quantity
from stratoscope.experiments.experiment_file import file_of, read_experiment
from stratoscope.experiments.grid import PlannedRun, planned_runs
from stratoscope.files.atomic import replacing
from stratoscope.files.bounded import read_json

PLAN = "experiment.json"
WORDS = ("basis", "paper", "source")  # in a claim, or beside a published number


def write_plan(experiment: Experiment, name: str, scale: str, runs: Sequence[PlannedRun]) -> None:
    """Write down which experiment the runs of a folder are of, and the bounds that stood when it was begun.

    Args:
        experiment: The experiment.
        name: As it was asked for: its name, or a file.
        scale: The scale of the runs.
        runs: All of them.

    Raises:
        Refused: If the folder has the runs of another experiment, whose file has the same name.
    """
    folder = runs[0].folder
    place = str(Path(name).resolve()) if name.endswith((".yaml", ".yml")) else experiment.name
    _check_same(folder, place)
    bounds = _bounds(experiment)
    with suppress(OSError, ValueError, TypeError, AttributeError):  # those of the first time are kept
        bounds = read_json(folder / PLAN).get("bounds", bounds)
    plan: dict[str, Any] = {
        "bounds": bounds,
        "experiment": place,
        "scale": scale,
        "runs": {run.name: dict(run.labels) for run in runs},
    }
    with replacing(folder / PLAN) as part:
        part.write_text(json.dumps(plan, indent=2) + "\n")


def read_plan(folder: Path) -> tuple[Experiment, str, list[PlannedRun]]:
    """The experiment whose runs are in a folder, its scale and its runs.

    Args:
        folder: Of the runs of one experiment at one scale.

    Raises:
        Refused: If it is none.
    """
    try:
        plan = read_json(folder / PLAN)
        name, scale = plan["experiment"], plan["scale"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"report: {folder} has no runs of an experiment (no {PLAN})") from error
    if not isinstance(name, str) or not isinstance(scale, str):
        raise Refused(f"report: {folder / PLAN} is damaged: experiment and scale must be names")
    experiment = read_experiment(name)
    runs = planned_runs(experiment, scale, str(folder.parent.parent))
    return experiment, scale, [replace(run, folder=folder) for run in runs]  # which may have been moved, or be `.`


def as_begun(experiment: Experiment, name: str, scale: str, runs: str) -> Experiment:
    """The experiment under the name by which its runs were begun, if that was before names came from a file's place.

    Args:
        experiment: The experiment.
        name: As it was asked for: its name, or a file.
        scale: The scale of the runs.
        runs: Folder of all runs.
    """
    typed = "/".join(Path(name).with_suffix("").parts[-2:])  # which was the name
    try:
        plan = read_json(Path(runs).expanduser() / typed.replace("/", "_") / scale / PLAN)
        same = name.endswith((".yaml", ".yml")) and plan["experiment"] == str(Path(name).resolve())
    except (OSError, ValueError, KeyError, TypeError):
        return experiment
    return replace(experiment, name=typed) if same else experiment


def bounds_stand(folder: Path, experiment: Experiment) -> bool:
    """Whether claims and published numbers are those that stood when the experiment was begun.

    Args:
        folder: Of its runs.
        experiment: As it is now.
    """
    begun = read_json(folder / PLAN).get("bounds")
    return begun is None or _judged_by(begun) == _judged_by(_bounds(experiment))


def _check_same(folder: Path, place: str) -> None:
    """See to it that a folder is new, or has the runs of this experiment.

    Raises:
        Refused: If it has those of another file of the same name.
    """
    try:
        other = read_json(folder / PLAN)["experiment"]
        there = file_of(other)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    if there.is_file() and there.resolve() != file_of(place).resolve():  # it may also have been moved
        raise Refused(f"reproduce: {folder} has the runs of {other}: give another --runs, or the file another name")


def _bounds(experiment: Experiment) -> list[Any]:
    claims, published = ([_given(one) for one in part] for part in (experiment.claims, experiment.published))
    quantities = {name: _given(one) for name, one in experiment.quantities.items()}
    read: list[Any] = json.loads(json.dumps([claims, published, quantities]))
    return read


def _judged_by(bounds: Any) -> Any:
    """Bounds without the words, and the numbers beside them, that no verdict depends on."""

    def left(one: Any) -> Any:
        return {name: value for name, value in one.items() if name not in WORDS} if isinstance(one, dict) else one

    parts = bounds if isinstance(bounds, list) else [bounds]
    return [[left(one) for one in part] if isinstance(part, list) else part for part in parts]


def _given(part: Claim | Published | Quantity) -> dict[str, Any]:
    """What differs from the defaults, so that later releases may know more keys."""
    defaults = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(part)
    }
    return {name: value for name, value in asdict(part).items() if value != defaults[name]}
