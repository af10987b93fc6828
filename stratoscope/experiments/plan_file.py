"""`experiment.json`: what the runs in a folder are runs of, and the bounds that stood before the first of them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

from stratoscope.callbacks.atomic import replacing
from stratoscope.experiments.grid import PlannedRun, planned_runs
from stratoscope.experiments.specification import Claim, Experiment, Published, Quantity, read_experiment
from stratoscope.refusal import Refused

PLAN = "experiment.json"


def write_plan(experiment: Experiment, name: str, scale: str, runs: Sequence[PlannedRun]) -> None:
    """Write down which experiment the runs of a folder are of, and the bounds that stood when it was begun.

    Args:
        experiment: The experiment.
        name: As it was asked for: its name, or a file.
        scale: The scale of the runs.
        runs: All of them.
    """
    folder = runs[0].folder
    place = str(Path(name).resolve()) if name.endswith((".yaml", ".yml")) else experiment.name
    bounds = _bounds(experiment)
    with suppress(OSError, ValueError, TypeError, AttributeError):  # those of the first time are kept
        bounds = json.loads((folder / PLAN).read_text()).get("bounds", bounds)
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
        plan = json.loads((folder / PLAN).read_text())
        name, scale = plan["experiment"], plan["scale"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"report: {folder} has no runs of an experiment (no {PLAN})") from error
    experiment = read_experiment(name)
    runs = planned_runs(experiment, scale, str(folder.parent.parent))
    return experiment, scale, [replace(run, folder=folder) for run in runs]  # which may have been moved, or be `.`


def bounds_stand(folder: Path, experiment: Experiment) -> bool:
    """Whether claims and published numbers are those that stood when the experiment was begun.

    Args:
        folder: Of its runs.
        experiment: As it is now.
    """
    return json.loads((folder / PLAN).read_text()).get("bounds") in (None, _bounds(experiment))


def _bounds(experiment: Experiment) -> list[Any]:
    claims, published = ([_given(one) for one in part] for part in (experiment.claims, experiment.published))
    quantities = {name: _given(one) for name, one in experiment.quantities.items()}
    read: list[Any] = json.loads(json.dumps([claims, published, quantities]))
    return read


def _given(part: Claim | Published | Quantity) -> dict[str, Any]:
    """What differs from the defaults, so that later releases may know more keys."""
    defaults = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory() for one in fields(part)
    }
    return {name: value for name, value in asdict(part).items() if value != defaults[name]}
