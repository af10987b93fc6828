"""The file an experiment is read from: `configs/experiments/<paper>/<figure>.yaml`.

The file says everything before the first run: which runs, what is read off them, the published numbers, the claims and
the bounds that decide on them, and the figures. `docs/reference/experiments.md` explains it by an example.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import stratoscope
from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Claim, Experiment, Figure, Options, Published, Quantity, Scale
from stratoscope.experiments.experiment_check import check_experiment
from stratoscope.files.bounded import read_text, yaml_value
from stratoscope.files.yaml_keys import ANCHORS, doubled_key


def experiments_folder() -> Path:
    """Where the experiments that come with the package are."""
    root = Path(stratoscope.__file__).resolve().parent  # a wheel, or else a clone
    return next((one for one in (root, root.parent) if (one / "configs").is_dir()), root) / "configs" / "experiments"


def experiment_names() -> list[str]:
    """Names of the experiments that come with the package."""
    folder = experiments_folder()
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.glob("*/*.yaml"))


def file_of(name: str) -> Path:
    """The file of an experiment.

    Args:
        name: `<paper>/<figure>` of one that comes with the package, or a file.
    """
    return Path(name) if name.endswith((".yaml", ".yml")) else experiments_folder() / f"{name}.yaml"


def read_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: `<paper>/<figure>` of one that comes with the package, or a file.

    Raises:
        Refused: If there is none, or it is not what it should be.
    """
    file = file_of(name)
    if not file.is_file():
        close = get_close_matches(name, experiment_names(), n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(experiment_names())}"
        raise Refused(f"no experiment {name}{hint}")
    try:
        text = read_text(file)
        if twice := doubled_key(text):
            raise Refused(f"{file}: {twice}")
        content = yaml_value(text)
    except ValueError as error:
        raise Refused(f"{file} is no valid YAML: {error}") from error
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if not str(key).startswith(ANCHORS)}
    if isinstance(content, dict) and isinstance(content.get("published"), list):
        content["published"] = [one for entry in content["published"] for one in _series(entry)]
    experiment: Experiment = _made(Experiment, content, str(file), name=name_of(file))
    check_experiment(experiment, str(file))
    return experiment


def name_of(file: Path) -> str:
    """The name of an experiment, `<folder>/<file>`, from its true place: the same however it was typed.

    Args:
        file: Its file.
    """
    parts = file.resolve().with_suffix("").parts[-2:]
    return "/".join(filter(None, (re.sub(r"[^\w.+-]+", "-", part).strip("-.") for part in parts)))


def _series(entry: Any) -> list[Any]:
    """The numbers of a series; anything else as it is."""
    if not isinstance(entry, dict) or not {"along", "values"} <= entry.keys() or not isinstance(entry["values"], dict):
        return [entry]
    rest = {key: value for key, value in entry.items() if key not in {"along", "values"}}
    of = rest.get("of") or {}
    return [{**rest, "of": {**of, entry["along"]: label}, "value": value} for label, value in entry["values"].items()]


def _made(kind: type[Any], content: Any, where: str, **more: Any) -> Any:
    """A dataclass from a mapping, with the dataclasses in it.

    Raises:
        Refused: If a key is unknown or missing, or a value is of another type.
    """
    if not isinstance(content, Mapping):
        raise Refused(f"{where} must have keys and values, got {content!r}")
    content = {key: value for key, value in content.items() if value is not None}  # a key without a value is not there
    known = {part.name: part for part in fields(kind)}
    for key in content:
        if key not in known or key in more:
            close = get_close_matches(str(key), known, n=1)
            raise Refused(f"{where}: no key {key}" + (f"; did you mean {close[0]}?" if close else ""))
    for name, part in known.items():
        if part.default is MISSING and part.default_factory is MISSING and name not in {**content, **more}:
            raise Refused(f"{where}: {name} is missing")
    for name, wanted in get_type_hints(kind).items():
        if name in content and not _fits(content[name], wanted):
            raise Refused(f"{where}: {name} must be {_told(wanted)}, got {content[name]!r}"[:300])
    inner = {"quantities": Quantity, "figures": Figure, "scales": Scale, "published": Published, "claims": Claim}
    values: dict[str, Any] = {}
    for key, value in content.items():
        inside = inner.get(key) if kind is Experiment else None
        if inside and isinstance(value, Mapping):
            values[key] = {name: _made(inside, one, f"{where}: {key}: {name}") for name, one in value.items()}
        elif inside:
            values[key] = [_made(inside, one, f"{where}: {key}, entry {i}") for i, one in enumerate(value, 1)]
        else:
            values[key] = value
    return kind(**values, **more)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of the type a field has; where options may be, there may be nothing."""
    origin, inside = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin is UnionType:
        return any(_fits(value, one) for one in inside)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, inside[0]) and (_fits(one, inside[1]) or (one is None and inside[1] == Options))
            for key, one in value.items()
        )
    if origin is list:
        return isinstance(value, list) and all(_fits(one, inside[0]) for one in value)
    if is_dataclass(wanted):
        return True  # is looked at when it is made
    number = isinstance(value, int) and not isinstance(value, bool)
    return number if wanted is int else number or isinstance(value, float) if wanted is float else type(value) is wanted


def _told(wanted: Any) -> str:
    """A field's type in words."""
    origin, inside = get_origin(wanted), [one for one in get_args(wanted) if one is not NoneType]
    if origin is UnionType:
        return " or ".join(map(_told, inside))
    if origin is list:
        return "a list" if inside == [Any] else f"a list of {_told(inside[0])}"
    if origin is dict or is_dataclass(wanted):
        return "keys and values" + (f", each of them {_told(inside[1])}" if inside and inside[1] is not Any else "")
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[wanted]
