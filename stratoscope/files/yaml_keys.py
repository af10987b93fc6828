"""Keys of YAML files: those that stand twice, of which YAML silently takes the last, and those that mean nothing."""

from collections.abc import Iterator

import yaml

from stratoscope.files.bounded import yaml_nodes

ANCHORS = "x-"  # how keys begin that hold parts of YAML to be repeated, and mean nothing themselves


def doubled_key(text: str) -> str | None:
    """The first duplicate key of a mapping of a YAML file, and where; None if there is none."""
    return next(_twice(yaml_nodes(text), set()), None)


def _twice(node: yaml.Node | None, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # it stands in many places
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if (name := str(key.value)) in lines:
                yield f"duplicate key {name}, in lines {lines[name]} and {line}"
            lines[name] = line
            yield from _twice(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twice(value, seen)
