"""Tests of stratoscope/files/yaml_keys.py."""

import pytest

from stratoscope.files.yaml_keys import doubled_key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate key a, in lines 1 and 3"),
        ("a:\n  b: 1\n  b: 1\n", "duplicate key b, in lines 2 and 3"),
        ("- a: 1\n- {c: 1, d: {c: 2, e: 3, c: 4}}\n", "duplicate key c, in lines 2 and 2"),
        ("1: x\n'1': y\n", "duplicate key 1, in lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_is_named(text: str, said: str) -> None:
    """At any depth, with its lines; a number and the same number as text are one key of a command line."""
    assert doubled_key(text) == said


@pytest.mark.parametrize(
    "text", ["", "3", "a: 1\nb: {a: 1}\n", "- a: 1\n- a: 2\n", "x-1: &one {a: 1}\nb: *one\nc: *one\n"]
)
def test_a_key_may_stand_in_several_mappings(text: str) -> None:
    """Also where one mapping stands in several places."""
    assert doubled_key(text) is None


def test_what_is_no_yaml_is_an_error() -> None:
    """Whoever reads the file says which it is."""
    with pytest.raises(ValueError, match="expected"):
        doubled_key("a: [")
