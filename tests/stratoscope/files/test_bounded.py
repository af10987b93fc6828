"""Tests of stratoscope/files/bounded.py: whatever a file holds, reading it ends, and gives plain values or an error."""

import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.files import bounded
from stratoscope.files.bounded import (
    json_value,
    open_plain,
    plain,
    read_json,
    read_text,
    read_yaml,
    yaml_nodes,
    yaml_value,
)


def test_aliases_may_be_used(tmp_path: Path) -> None:
    """Anchors, aliases and merges within bounds are what YAML says."""
    (tmp_path / "x.yaml").write_text("a: &a {x: 1, y: [2]}\nb: *a\nc: {<<: *a, x: 3}\n")
    assert read_yaml(tmp_path / "x.yaml") == {
        "a": {"x": 1, "y": [2]},
        "b": {"x": 1, "y": [2]},
        "c": {"x": 3, "y": [2]},
    }
    assert yaml_value("") is None
    assert json_value('{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match="neither text nor number"):
        plain({"a": object()})


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1.5, true, null, ~, 'x', \"1\"]\n",
        "- {a: 0x1F, b: 1_000, c: .inf, d: 1e3, e: 1.0e+3, f: yes, g: off}\n",
        f"long: {'x' * 200}\n1: number\ntrue: truth\n",
        "text: |\n  two\n  lines\nnothing:\n",
        "[]",
        "3",
    ],
)
def test_yaml_is_read_as_its_own_loader_reads_it(text: str) -> None:
    """The short way to plain values gives the same."""
    assert repr(yaml_value(text)) == repr(yaml.safe_load(text))


ENDLESS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    "in itself": "a: &a [*a]\n",
    "as a key of itself": "&a {*a : 1}\n",
    "more than memory holds": ENDLESS,
    "too deep": "[" * 102 + "]" * 102,
    "cut off": "a: [",
    "a key that is a list": "? [a, b]\n: c\n",
    "a date": "a: 2001-01-01\n",
    "no truth": "a: !!bool x\n",
    "no number": 'a: !!int ""\n',
    "an object": "a: !!python/name:os.system\n",
    "a set": "a: !!set {x}\n",
}


@pytest.mark.parametrize("what", BAD)
def test_other_yaml_is_an_error(what: str) -> None:
    """A ValueError, whatever the parser happens to raise; never a value without end."""
    with pytest.raises(ValueError, match=r"\S"):
        yaml_value(BAD[what])


def test_depth_and_number_of_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is just within them is read."""
    assert yaml_value("[" * 101 + "]" * 101) is not None
    assert json_value("[" * 101 + "]" * 101) is not None
    monkeypatch.setattr(bounded, "MOST_VALUES", 4)
    assert yaml_value("[1, 2, 3]") == json_value("[1, 2, 3]") == plain((1, 2, 3)) == [1, 2, 3]
    for read in (yaml_value, json_value, lambda text: plain(yaml.safe_load(text))):
        with pytest.raises(ValueError, match="more than 4 values"):
            read("[1, 2, 3, 4]")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 10_000, "[" * 102 + "]" * 102])
def test_other_json_is_an_error(text: str) -> None:
    """Not even one that is too deep for Python is another one."""
    with pytest.raises(ValueError, match=r"\S"):
        json_value(text)


def test_nodes_have_keys_that_stand_twice() -> None:
    """Within the same bounds."""
    node = yaml_nodes("a: 1\na: 2\n")
    assert isinstance(node, yaml.MappingNode)
    assert [key.value for key, _ in node.value] == ["a", "a"]
    assert yaml_nodes("") is None
    with pytest.raises(ValueError, match="more than"):
        yaml_nodes(ENDLESS)


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """Reading a pipe or a device might never end."""
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (read_text, read_json, read_yaml):
            with pytest.raises(ValueError, match=f"{file.name} is no plain file"):
                read(file)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nothing")


def test_files_are_bounded_and_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends are those of the file where that is asked for."""
    file = tmp_path / "x.txt"
    file.write_bytes("größe\r\n".encode())
    assert read_text(file) == "größe\n"
    with open_plain(file, newline="") as text:
        assert text.read() == "größe\r\n"
    monkeypatch.setattr(bounded, "MOST_BYTES", 5)
    with pytest.raises(ValueError, match=r"x\.txt is larger than 0 MiB"):
        read_text(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(file)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", date(2001, 1, 1), {"a": [lambda: 0]}, {(1, 2): 3}])
def test_plain_values_are_mappings_lists_and_simple_ones(value: Any) -> None:
    """All else is an error."""
    with pytest.raises((ValueError, TypeError)):
        plain(value)


def test_a_plain_value_is_a_copy() -> None:
    """Tuples become lists."""
    value = {"a": (1, [2]), 3: None}
    copy = plain(value)
    assert copy == {"a": [1, [2]], 3: None}
    copy["a"][1].append(0)
    assert value["a"] == (1, [2])
