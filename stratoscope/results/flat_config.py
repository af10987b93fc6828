"""A run's config as a flat mapping, under the keys its options have on the command line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def short_config(config: Mapping[str, Any], asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Flatten a config: `model.init_args.depth` becomes `model.depth`, and `model` the name of its class.

    Of a list of classes the key holds all names, and their arguments come under each name
    (`trainer.callbacks.LinearProbes.ridge`, and of a second one `trainer.callbacks.LinearProbes-2.ridge`); other lists
    are written as JSON, so that every value can be compared.

    Args:
        config: What `config.yaml` holds.
        asked: What `run.json` holds as `asked`: the command, and the checkpoint it was given.

    Raises:
        ValueError: If a class's arguments are no mapping.
    """
    return dict(_entries("", {**(asked or {}), **config}))


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys with different values among the configs that have them, in order of appearance.

    A key that only some have, with one value, is left out: the class it belongs to tells them apart.

    Args:
        configs: As `short_config` makes them.
    """
    values: dict[str, set[str]] = {}
    for config in configs:
        for key, value in config.items():
            values.setdefault(key, set()).add(repr(value))
    return [key for key, found in values.items() if len(found) > 1]


def _entries(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and "class_path" in value:
        yield key, _name(value)
        yield from _arguments(key, value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _entries(f"{key}.{name}".strip("."), inner)
    elif isinstance(value, list) and value and all(isinstance(part, dict) and "class_path" in part for part in value):
        yield key, ", ".join(map(_name, value))
        names = [_name(part) for part in value]
        for number, (name, part) in enumerate(zip(names, value, strict=True)):
            again = names[:number].count(name)  # two of one class
            yield from _arguments(f"{key}.{name}{f'-{again + 1}' if again else ''}", part)
    else:
        yield key, json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list) else value


def _name(part: Mapping[str, Any]) -> str:
    return str(part["class_path"]).rpartition(".")[2]


def _arguments(key: str, part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for kind in ("init_args", "dict_kwargs"):
        given = part.get(kind) or {}
        if not isinstance(given, dict):
            raise ValueError(f"{kind} of {key} must have names and values, got {str(given)[:60]}")
        for name, value in given.items():
            yield from _entries(f"{key}.{name}", value)
