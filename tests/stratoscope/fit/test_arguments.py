"""Tests of stratoscope/fit/arguments.py and of what callbacks refuse: numbers that mean nothing, or end nowhere."""

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace

from stratoscope.callbacks import LinearProbes, OnlineProbes
from stratoscope.errors import Refused
from stratoscope.fit.arguments import LAUNCHED, check_numbers
from stratoscope.fit.command import build

SMALL = (
    "--model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 64 "
    "--data.batch_size 32 --trainer.accelerator cpu --trainer.max_epochs 1"
)
PROBES = f"{SMALL} --trainer.callbacks LinearProbes --trainer.callbacks"
TRAINER = f"{SMALL} --trainer"
LINES = [
    (f"{SMALL} --data.batch_size 99999999999999999999", "--data.batch_size is too large a number, of 20 digits"),
    (f"{SMALL} --model.optimizer SGD --model.optimizer.lr .nan", "--model.optimizer.lr must be a finite number"),
    (f"{SMALL} --model.depth 1000000000", "depth must be from 0 to 10,000 layers"),
    (f"{SMALL} --model.width 1000000000", "this takes more memory than there is"),
    (f"{SMALL} --run {'x' * 201}", "at most 200"),
    (f"{TRAINER}.max_time 0", "--trainer.max_time must be above 0"),
    (f'{TRAINER}.max_time {{"seconds":0}}', "--trainer.max_time must be above 0"),
    (f"{TRAINER}.val_check_interval 3", "more than the 2 batches of an epoch"),
    (f"{PROBES}.memory 1e-9", "memory of 1e-09 GiB is too little"),
    (f"{PROBES}.held_out 63", "cannot take 63 held-out samples from 64: two or more must be left"),
    (f"{PROBES}.measures [rank,rank]", "measures has rank twice"),
    ("--model MLP --data Shapes --data.train_size 999999999999", "more than 16 GiB of images"),
]


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", *LAUNCHED):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("line", "part"), LINES, ids=[line[-40:] for line, _ in LINES])
def test_numbers_out_of_range_are_refused(line: str, part: str, tmp_path: Path) -> None:
    """Before anything is written, with the option."""
    with pytest.raises(Refused) as raised:
        build(["fit", *line.split(" ")])
    assert part in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def parsed() -> Namespace:
    """The options of a run as they are parsed."""
    command = build(["fit", *SMALL.split()])
    whole: Namespace = command.config["fit"]
    return whole


NUMBERS: list[tuple[str, Any, str]] = [
    ("data.init_args.seed", -(10**20), "--data.seed is too large a number, of 21 digits"),
    ("data.init_args.batch_size", 2**63, "--data.batch_size is too large a number"),
    ("model.init_args.optimizer.init_args.lr", math.nan, "--model.optimizer.lr must be a finite number"),
    ("model.init_args.optimizer.init_args.lr", 1e300, "--model.optimizer.lr must be a finite number"),
    ("model.init_args.optimizer.init_args.lr", -math.inf, "--model.optimizer.lr must be a finite number"),
    ("seed_everything", -1, "--seed_everything must be a whole number from 0, got -1"),
    ("seed_everything", True, "--seed_everything must be a whole number from 0, got True"),
    ("threads", 0, "--threads must be 1 or more, got 0"),
    ("threads", 99_999_999, "--threads must be at most 1024, got 99999999"),
    ("trainer.max_steps", 0, "--trainer.max_steps must be 1 or more, or -1"),
    ("trainer.max_steps", -2, "--trainer.max_steps must be 1 or more, or -1"),
    ("trainer.max_time", "00:00:00:00", "--trainer.max_time must be above 0"),
    ("trainer.max_time", "1:30", "--trainer.max_time must be above 0, as days, hours, minutes and seconds"),
    ("trainer.max_time", {"seconds": -1, "minutes": 1}, "--trainer.max_time must be above 0"),
    ("trainer.max_time", {"eons": 1}, "--trainer.max_time must be above 0"),
    ("trainer.max_time", timedelta(0), "--trainer.max_time must be above 0"),
    ("trainer.gradient_clip_val", -1, "--trainer.gradient_clip_val must be 0 or more"),
    ("trainer.log_every_n_steps", -4, "--trainer.log_every_n_steps must be 0 or more"),
    ("trainer.num_sanity_val_steps", -5, "--trainer.num_sanity_val_steps must be 0 or more, or -1"),
    ("trainer.min_epochs", 5, "--trainer.min_epochs is 5, but --trainer.max_epochs is 1"),
    ("trainer.min_epochs", -1, "--trainer.min_epochs must be 0 or more"),
    ("trainer.num_nodes", 0, "--trainer.num_nodes must be 1 or more"),
    ("trainer.num_nodes", 3, "nothing says which node this is"),
    ("trainer.val_check_interval", 0, "a share of the batches in (0, 1] or a number of batches"),
    ("trainer.val_check_interval", 1.5, "a share of the batches in (0, 1] or a number of batches"),
    ("trainer.max_epochs", 0, "--trainer.max_epochs must be 1 or more (or -1, without end), got 0"),
    ("trainer.max_epochs", -2, "--trainer.max_epochs must be 1 or more (or -1, without end), got -2"),
    ("trainer.max_epochs", None, "--trainer.max_epochs is null: training needs an end, or -1 to have none"),
    ("trainer.accumulate_grad_batches", 0, "--trainer.accumulate_grad_batches must be 1 or more, got 0"),
    ("trainer.check_val_every_n_epoch", 0, "--trainer.check_val_every_n_epoch must be 1 or more, got 0"),
    ("trainer.limit_train_batches", 0, "--trainer.limit_train_batches is 0"),
    ("trainer.devices", 0, "--trainer.devices must be 1 or more, got 0"),
    ("trainer.devices", "9999", "--trainer.devices is 9999 processes, at most"),
]


@pytest.mark.parametrize(("name", "value", "said"), NUMBERS, ids=[f"{name} {value}" for name, value, _ in NUMBERS])
def test_every_number_has_its_range(name: str, value: Any, said: str, parsed: Namespace) -> None:
    """The message has the option and what it takes."""
    config = parsed.clone()
    check_numbers(config)
    config[name] = value
    with pytest.raises(Refused) as raised:
        check_numbers(config)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trainer.max_steps", -1),
        ("trainer.max_time", "00:01:30:00"),
        ("trainer.max_time", {"hours": 2}),
        ("trainer.max_time", timedelta(hours=2)),
        ("trainer.min_epochs", 1),
        ("trainer.val_check_interval", 1.0),
        ("trainer.val_check_interval", 7),
        ("trainer.max_epochs", -1),
        ("trainer.num_sanity_val_steps", -1),
        ("trainer.check_val_every_n_epoch", None),
        ("trainer.devices", "auto"),
        ("threads", 1024),
        ("model.init_args.optimizer.init_args.lr", 0.0),
    ],
)
def test_the_last_numbers_that_are_right_are_taken(name: str, value: Any, parsed: Namespace) -> None:
    """At the ends of their ranges."""
    config = parsed.clone()
    config[name] = value
    check_numbers(config)


def test_a_run_of_several_nodes_is_told_which_it_is_by_its_launcher(
    parsed: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or by whoever sets the variable."""
    config = parsed.clone()
    config.trainer.num_nodes = 2
    monkeypatch.setenv("NODE_RANK", "1")
    check_numbers(config)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"held_out": -1}, "held_out"),
        ({"train_samples": 0}, "train_samples"),
        ({"ridge": [1.0, 1.0]}, "ridge has 1.0 twice"),
        ({"ridge": 1e-300}, "ridge must be 1e-12 or more"),
        ({"ridge": 0}, "ridge must be above 0"),
        ({"tolerance": 1e-300}, "tolerance must be 1e-13 nats or more"),
        ({"tolerance": math.nan}, "tolerance must be"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_probes_of_pythons_are_checked_alike(options: dict[str, Any], part: str) -> None:
    """The same numbers given in Python."""
    with pytest.raises(ValueError, match=part):
        LinearProbes(**options)


def test_few_samples_are_probed_with_a_line_that_says_so() -> None:
    """Fewer than there are classes; an interval over epochs, and the last number that is right, are taken."""
    command = build(["fit", *f"{PROBES}.held_out 59".split()])
    assert "LinearProbes fits 5 samples, fewer than there are classes" in command.notes
    build(["fit", *f"{TRAINER}.val_check_interval 3 --trainer.check_val_every_n_epoch null".split()])
    build(["fit", *f"{TRAINER}.val_check_interval 2 --trainer.max_time 00:00:01:00 --trainer.num_nodes 1".split()])


def test_online_probes_have_as_many_classes_as_there_can_be() -> None:
    """Not as many as somebody types."""
    with pytest.raises(ValueError, match="classes must be at most"):
        OnlineProbes(classes=999_999_999_999)
