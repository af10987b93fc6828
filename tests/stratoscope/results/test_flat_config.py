"""Tests of stratoscope/results/flat_config.py: a config under the names of its options."""

import pytest

from stratoscope.results.flat_config import differing, short_config


def test_a_config_is_flat_under_its_options_names() -> None:
    """Classes by name, lists of classes by all names, other lists as JSON."""
    config = {
        "seed_everything": 3,
        "trainer": {"callbacks": [{"class_path": "a.B", "init_args": {"epochs": [0, 1]}}, {"class_path": "c.D"}]},
        "model": {"class_path": "m.Net", "init_args": {"optimizer": {"class_path": "o.SGD", "init_args": {"lr": 0.1}}}},
        "data": {"class_path": "Digits", "init_args": {"corruption": None}},
    }
    short = {
        "command": "fit",
        "seed_everything": 3,
        "trainer.callbacks": "B, D",
        "trainer.callbacks.B.epochs": "[0, 1]",
        "model": "Net",
        "model.optimizer": "SGD",
        "model.optimizer.lr": 0.1,
        "data": "Digits",
        "data.corruption": None,
    }
    assert short_config(config, {"command": "fit"}) == short
    assert differing([short, {**short, "model.optimizer.lr": 1, "more": 2}]) == ["model.optimizer.lr"]


def test_a_second_one_of_a_class_has_a_number() -> None:
    """So have all that follow; arguments that no signature names are found too."""
    same = {"class_path": "a.B", "init_args": {"x": 1}}
    config = {"callbacks": [same, {"class_path": "c.B", "dict_kwargs": {"y": {"class_path": "d.E"}}}, same]}
    assert short_config(config) == {
        "callbacks": "B, B, B",
        "callbacks.B.x": 1,
        "callbacks.B-2.y": "E",
        "callbacks.B-3.x": 1,
    }


@pytest.mark.parametrize("value", ["x", [1], 3])
def test_arguments_without_names_are_an_error(value: object) -> None:
    """The option is named."""
    with pytest.raises(ValueError, match="init_args of model must have names and values, got"):
        short_config({"model": {"class_path": "m.Net", "init_args": value}})


def test_what_differs_is_in_order_of_appearance() -> None:
    """1 and 1.0 differ, as do null and none; a key that only some have, with one value, does not."""
    first, second = {"b": 1, "a": None, "same": [1], "own": 1}, {"a": "none", "b": 1.0, "same": [1]}
    assert differing([first, second]) == ["b", "a"]
    assert differing([first]) == differing([]) == []
