"""Tests of stratoscope/fit/arguments.py and of what callbacks refuse: numbers that mean nothing, or end nowhere."""

from pathlib import Path
from typing import Any

import pytest

from stratoscope.callbacks import LinearProbes
from stratoscope.errors import Refused
from stratoscope.fit.command import build

SMALL = (
    "--model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 64 "
    "--data.batch_size 32 --trainer.accelerator cpu --trainer.max_epochs 1"
)
PROBES = f"{SMALL} --trainer.callbacks LinearProbes --trainer.callbacks"
TRAINER = f"{SMALL} --trainer"
LINES = [
    (f"{SMALL} --data.batch_size 99999999999999999999", "--data.batch_size is too large a number, of 20 digits"),
    (f"{SMALL} --data.seed -99999999999999999999", "--data.seed is too large a number"),
    (f"{SMALL} --model.optimizer SGD --model.optimizer.lr .nan", "--model.optimizer.lr must be a finite number"),
    (f"{SMALL} --model.optimizer SGD --model.optimizer.lr 1e300", "--model.optimizer.lr must be a finite number"),
    (f"{SMALL} --model.depth 1000000000", "depth must be from 0 to 10,000 layers"),
    (f"{SMALL} --model.width 1000000000", "this takes more memory than there is"),
    (f"{SMALL} --threads 99999999", "--threads must be at most 1024"),
    (f"{SMALL} --run {'x' * 201}", "at most 200"),
    (f"{TRAINER}.max_steps 0", "--trainer.max_steps must be 1 or more, or -1"),
    (f"{TRAINER}.max_steps -2", "--trainer.max_steps must be 1 or more, or -1"),
    (f"{TRAINER}.max_time 0", "--trainer.max_time must be above 0"),
    (f"{TRAINER}.max_time 00:00:00:00", "--trainer.max_time must be above 0"),
    (f'{TRAINER}.max_time {{"seconds":0}}', "--trainer.max_time must be above 0"),
    (f"{TRAINER}.gradient_clip_val -1", "--trainer.gradient_clip_val must be 0 or more"),
    (f"{TRAINER}.log_every_n_steps -4", "--trainer.log_every_n_steps must be 0 or more"),
    (f"{TRAINER}.num_sanity_val_steps -5", "--trainer.num_sanity_val_steps must be 0 or more, or -1"),
    (f"{TRAINER}.min_epochs 5", "--trainer.min_epochs is 5, but --trainer.max_epochs is 1"),
    (f"{TRAINER}.num_nodes 0", "--trainer.num_nodes must be 1 or more"),
    (f"{TRAINER}.num_nodes 3", "nothing says which node this is"),
    (f"{TRAINER}.val_check_interval 0", "a share of the batches in (0, 1] or a number of batches"),
    (f"{TRAINER}.val_check_interval 1.5", "a share of the batches in (0, 1] or a number of batches"),
    (f"{TRAINER}.val_check_interval 3", "more than the 2 batches of an epoch"),
    (f"{PROBES}.memory 1e-9", "memory of 1e-09 GiB is too little"),
    (f"{PROBES}.held_out 63", "cannot take 63 held-out samples from 64: two or more must be left"),
    (f"{PROBES}.train_samples 1", "two or more must be left"),
    (f"{PROBES}.measures [rank,rank]", "measures has rank twice"),
    (f"{PROBES}.ridge [1,1]", "ridge has 1.0 twice"),
    (f"{PROBES}.ridge 1e-300", "ridge must be 1e-12 or more"),
    (f"{PROBES}.tolerance 1e-300", "tolerance must be 1e-13 nats or more"),
    (f"{PROBES}.seed -1", "seed must be 0 or more"),
    (f"{SMALL} --trainer.callbacks OnlineProbes --trainer.callbacks.classes 999999999999", "classes must be at most"),
    ("--model MLP --data Shapes --data.train_size 999999999999", "more than 16 GiB of images"),
]


@pytest.mark.parametrize(("line", "part"), LINES, ids=[line[-40:] for line, _ in LINES])
def test_numbers_out_of_range_are_refused(
    line: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written, with the option."""
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "MASTER_ADDR", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Refused) as raised:
        build(["fit", *line.split(" ")])
    assert part in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_few_samples_are_probed_with_a_line_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than there are classes; an interval over epochs, and the last number that is right, are taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)
    command = build(["fit", *f"{PROBES}.held_out 59".split()])
    assert "LinearProbes fits 5 samples, fewer than there are classes" in command.notes
    build(["fit", *f"{TRAINER}.val_check_interval 3 --trainer.check_val_every_n_epoch null".split()])
    build(["fit", *f"{TRAINER}.val_check_interval 2 --trainer.max_time 00:00:01:00 --trainer.num_nodes 1".split()])


def test_probes_of_pythons_are_checked_alike() -> None:
    """The same numbers given in Python."""
    wrong: list[dict[str, Any]] = [
        {"tolerance": 1e-300},
        {"tolerance": float("nan")},
        {"ridge": [1e-3, 1e-3]},
        {"ridge": 1e-300},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=r"tolerance must be|ridge"):
            LinearProbes(**options)
