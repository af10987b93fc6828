"""Files that may be anybody's, read with bounds: no pipe or device, not too large, not too deep, no value without end.

YAML lets a value stand in many places (`&a` and `*a`), in itself too: a few lines can stand for more than any memory
holds. What they stand for is counted before anything is made of it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any

import yaml
from yaml.resolver import Resolver

MOST_BYTES = 2**26  # of a file that is read whole (64 MiB)
MOST_VALUES = 200_000
DEEPEST = 100
SIMPLE = (str, int, float, bool, type(None))
TEXT, LIST, MAPPING, *OTHERS = (f"tag:yaml.org,2002:{kind}" for kind in "str seq map int float bool null".split())
KEYS = {TEXT, *OTHERS}  # no merge, nor what cannot be a key
LONG = 100  # characters of what is not kept for the next file
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times faster
_resolved: Any = lru_cache(2**12)(Resolver().resolve)


class Loader(_Fast):  # type: ignore[misc]  # mypy knows one of the two
    """PyYAML's safe one, which has to find out only once what a text stands for."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        """The tag of a node."""
        if value is not None and len(value) > LONG:
            return str(super().resolve(kind, value, implicit))
        return str(_resolved(kind, value, implicit))


def read_text(file: Path) -> str:
    """The text of a file.

    Args:
        file: A plain file, UTF-8.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is too large, no plain file or no UTF-8.
    """
    with open_plain(file) as text:
        content = text.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{file.name} is larger than {MOST_BYTES // 2**20} MiB")
    return content


@contextmanager
def open_plain(file: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """Open a file to be read, unless reading it might never end.

    Args:
        file: A plain file, UTF-8.
        newline: As for `open`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is a pipe, a device or the like.
    """
    if not S_ISREG(file.stat().st_mode):
        raise ValueError(f"{file.name} is no plain file")
    with file.open(newline=newline, encoding="utf-8") as text:
        yield text


def read_json(file: Path) -> Any:
    """The value in a JSON file.

    Args:
        file: The file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not JSON, or out of bounds.
    """
    return json_value(read_text(file))


def json_value(text: str | bytes) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.

    Raises:
        ValueError: If it is not JSON, or out of bounds.
    """
    try:
        return plain(json.loads(text))
    except RecursionError as error:
        raise ValueError("too deep") from error


def read_yaml(file: Path) -> Any:
    """The value in a YAML file.

    Args:
        file: The file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not YAML, or out of bounds.
    """
    return yaml_value(read_text(file))


def yaml_value(text: str) -> Any:
    """The value of a YAML text.

    Args:
        text: The text.

    Raises:
        ValueError: If it is not YAML, or out of bounds.
    """
    with _loaded(text) as (loader, node):
        if "*" in text:  # or nothing stands in two places
            _count(node, {}, 0)
        return None if node is None else _value(loader, node, count(1), 0)


def yaml_nodes(text: str) -> yaml.Node | None:
    """The nodes of a YAML text, with keys that stand twice; None if it is empty.

    Args:
        text: The text.

    Raises:
        ValueError: If it is not YAML, or out of bounds.
    """
    with _loaded(text) as (_, node):
        _count(node, {}, 0)
        return node


def plain(value: Any) -> Any:
    """A copy of a value that consists of mappings, lists, texts, numbers, true, false and null alone.

    Args:
        value: Anything.

    Raises:
        ValueError: If it holds anything else, is deeper than DEEPEST or has more than MOST_VALUES values.
    """
    left = MOST_VALUES

    def copied(part: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEEPEST or left < 0:
            raise ValueError("too deep, or in itself" if depth > DEEPEST else f"more than {MOST_VALUES:,} values")
        if type(part) in SIMPLE:
            return part
        if isinstance(part, dict):
            return {copied(key, depth + 1): copied(inner, depth + 1) for key, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return [copied(inner, depth + 1) for inner in part]
        raise ValueError(f"{str(part)[:60]!r} is neither text nor number ({type(part).__name__})")

    return copied(value, 0)


def _value(loader: Any, node: yaml.Node, number: Iterator[int], depth: int) -> Any:
    """What a node stands for, as `plain` has it; in less than half the time that making and copying it take.

    Args:
        loader: Makes numbers and the like, and whatever is rare.
        node: The node.
        number: That of this value, and of those behind it.
        depth: How deep it is.

    Raises:
        ValueError: If there are too many, it is too deep, or neither text nor number.
    """
    if depth > DEEPEST or next(number) > MOST_VALUES:
        raise ValueError("too deep, or in itself" if depth > DEEPEST else f"more than {MOST_VALUES:,} values")
    kind, inner = node.tag, node.value
    if kind == TEXT and isinstance(node, yaml.ScalarNode):
        return inner
    if kind == LIST and isinstance(node, yaml.SequenceNode):
        return [_value(loader, part, number, depth + 1) for part in inner]
    if kind == MAPPING and isinstance(node, yaml.MappingNode) and all(key.tag in KEYS for key, _ in inner):
        return {_value(loader, k, number, depth + 1): _value(loader, v, number, depth + 1) for k, v in inner}
    if kind in OTHERS and isinstance(node, yaml.ScalarNode) and len(inner) <= LONG:
        return _scalar(kind, inner)
    value = loader.construct_object(node, deep=True)
    return value if type(value) in SIMPLE else plain(value)


@lru_cache(2**12)
def _scalar(kind: str, text: str) -> Any:
    """A number, true, false or null."""
    return Loader("").construct_object(yaml.ScalarNode(kind, text))


@contextmanager
def _loaded(text: str) -> Iterator[tuple[Any, yaml.Node | None]]:
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            yield loader, node
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).replace('in "<unicode string>", ', "").split())) from error
    except (RecursionError, OverflowError, TypeError, LookupError, AttributeError) as error:
        # a mapping as a key in a set, a year without end, `!!bool x`, `!!int ""`, `!!timestamp x`
        raise ValueError(f"too deep, or no value: {error}") from error


def _count(node: yaml.Node | None, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for, all its aliases resolved.

    Raises:
        ValueError: If there are too many, or it is in itself.
    """
    if depth > DEEPEST:
        raise ValueError("too deep, or in itself")
    if id(node) not in known:
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_count(part, known, depth + 1) for part in parts)
    if known[id(node)] > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    return known[id(node)]
