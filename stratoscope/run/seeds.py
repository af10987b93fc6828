"""Which seed decides what in a run, and so in what the repetitions of an experiment differ."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stratoscope.files.bounded import yaml_value

Seeds = Mapping[str, int | str]
WEIGHTS, ORDER, IMAGES = "weights and dropout", "order and augmentation of the samples", "generated images"
NOTHING_DRAWN = ("BrightnessLabels", "EdgeLabels", "HumanLabels")  # corruptions that are functions of the data alone


def seeds_of(settings: Mapping[str, Any]) -> dict[str, int | str]:
    """The seed of everything in a run that is drawn, by what it decides; what is no whole number as it stands.

    Args:
        settings: The run's options, as `short_config` gives them. A corruption without a seed of its own has the run's.
    """
    run = _seed(settings.get("seed_everything") or 0)
    order = settings.get("data.seed")
    seeds = {WEIGHTS: run, ORDER: run if order is None else _seed(order)}
    if settings.get("data.data_seed") is not None:
        seeds[IMAGES] = _seed(settings["data.data_seed"])
    names = str(settings.get("data.corruption") or "").split(", ")
    for place, name in enumerate(names):
        again = names[:place].count(name)  # two of one class
        one = f"{name}-{again + 1}" if again else name
        # of a single one that is not in a list the arguments have no name before them
        own = settings.get(f"data.corruption.{one}.seed", settings.get("data.corruption.seed"))
        if name and name != "[]" and name not in NOTHING_DRAWN:
            seeds[one] = run if own is None else _seed(own)
    return seeds


def told_seeds(seeds: Seeds) -> str:
    """What every seed decides, in words.

    Args:
        seeds: As `seeds_of` gives them.
    """
    parts = [
        f"{seed}: {', '.join(what for what, one in seeds.items() if one == seed)}"
        for seed in dict.fromkeys(seeds.values())
    ]
    return "; ".join(parts)


def told_repetitions(groups: Iterable[Sequence[Mapping[str, Any]]]) -> str:
    """In what repetitions differ, and what that is drawn is the same in all of them; empty if nothing is repeated.

    Args:
        groups: The runs that are repetitions of each other, by their options, as a file has them.
    """
    return told_differences([seeds_of(_settings(options)) for options in runs] for runs in groups)


def told_differences(groups: Iterable[Sequence[Seeds]]) -> str:
    """The same of runs that are there.

    Args:
        groups: The runs that are repetitions of each other, by what `seeds_of` gives.
    """
    differ: dict[str, None] = {}
    same: dict[str, None] = {}
    repeated = [runs for runs in groups if len(runs) > 1]
    for group in repeated:
        for what in dict.fromkeys(name for seeds in group for name in seeds):
            drawn = {seeds.get(what) for seeds in group}
            (differ if len(drawn) > 1 else same)[what] = None
    if not repeated:
        return ""
    parts = [f"repetitions differ in {_listed(differ)}"] if differ else ["repetitions do not differ"]
    if alike := [what for what in same if what not in differ]:
        parts.append(f"the same in all: {_listed(alike)}")
    if mixed := [what for what in same if what in differ]:
        parts.append(f"the same in some: {_listed(mixed)}")
    return "; ".join(parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _seed(given: object) -> int | str:
    try:
        return int(str(given))
    except ValueError:
        return str(given)


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as `short_config` gives them; without corruptions that are not written as `fit` takes them."""
    settings = {name: value for name, value in options.items() if name != "data.corruption"}
    corruption = options.get("data.corruption")
    if isinstance(corruption, str) and corruption.startswith(("[", "{")):
        try:
            corruption = yaml_value(corruption)
        except ValueError:
            corruption = None
    names: list[str] = []
    for one in corruption if isinstance(corruption, list) else [corruption]:
        given = {"class_path": one} if isinstance(one, str) else one if isinstance(one, Mapping) else {}
        name = str(given.get("class_path", "")).rpartition(".")[2]
        again = names.count(name)
        names += [name] if name else []
        arguments = given.get("init_args")
        for argument, value in arguments.items() if isinstance(arguments, Mapping) else ():
            settings[f"data.corruption.{name}{f'-{again + 1}' if again else ''}.{argument}"] = value
    return {**settings, "data.corruption": ", ".join(names)}
