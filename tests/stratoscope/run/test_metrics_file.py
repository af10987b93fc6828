"""Tests of stratoscope/run/metrics_file.py: every step has a row, and a run that goes on has those of another."""

import logging
import time
from pathlib import Path

import pytest

from stratoscope.run.metrics_file import MetricsFile


def test_metrics_of_a_step_are_one_row(tmp_path: Path) -> None:
    """Columns are in the order of their names, whichever was logged first; empty cells are empty."""
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"test/loss": 0.5, "epoch": 1}, step=3)
    logger.log_metrics({"accuracy": 0.25, "epoch": 1}, step=3)
    logger.log_metrics({"train/loss": 1e-9, "epoch": 0})
    logger.finalize("success")
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,step,accuracy,test/loss,train/loss\n0,0,,,1e-09\n1,3,0.25,0.5,\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_nothing_is_written_before_something_is_logged(tmp_path: Path) -> None:
    """No empty table, whose columns nobody would know."""
    MetricsFile(tmp_path).finalize("success")
    assert not list(tmp_path.iterdir())


def test_a_file_is_continued_as_it_stood(tmp_path: Path) -> None:
    """Numbers keep their digits and kinds; a step that is logged again replaces what was there."""
    text = "epoch,step,a,b\n0,0,0.1,\n1,2,1e-05,7\n"
    (tmp_path / "metrics.csv").write_text(text)
    logger = MetricsFile(tmp_path)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == text
    logger.log_metrics({"epoch": 1, "a": 0.3}, step=2)
    logger.log_metrics({"epoch": 2, "a": 0.5}, step=4)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,a,b\n0,0,0.1,\n1,2,0.3,7\n2,4,0.5,\n"


def test_rows_behind_the_place_a_run_goes_on_from_are_forgotten(tmp_path: Path) -> None:
    """With the columns that only they had."""
    logger = MetricsFile(tmp_path)
    for step in range(4):
        logger.log_metrics({"epoch": step, "a" if step < 2 else "late": step}, step=step)
    logger.save()
    logger.go_on_behind(2)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,a\n0,0,0\n1,1,1\n"


def test_a_row_is_completed_at_once_and_not_overwritten(tmp_path: Path) -> None:
    """What was logged before an interruption stays."""
    logger = MetricsFile(tmp_path)
    logger.log_metrics({"epoch": 1, "a": 1}, step=2)
    logger.complete({"epoch": 1, "a": 9, "b": 3}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,a,b\n1,2,1,3\n"


def test_an_epoch_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the accuracies of parts behind the whole; what has no loss or no accuracy is not."""
    logger = MetricsFile(tmp_path)
    train = {"train/loss": 0.5, "train/accuracy": 0.25, "train/accuracy_true": 0.125}
    with caplog.at_level(logging.INFO):
        logger.log_metrics({"epoch": 1, "test/loss": 2.0, "test/accuracy": 1.0, "val/loss": 1.0}, step=3)
        assert not caplog.messages
        logger.log_metrics(train, step=3)
        logger.log_metrics({"train/loss": 0.5}, step=4)
    (line,) = caplog.messages
    assert line.startswith(
        "epoch 1: train loss 0.5000, accuracy 25.0 % (true 12.5); test loss 2.0000, accuracy 100.0 %"
    )


def test_only_new_lines_are_made(tmp_path: Path) -> None:
    """Or saving a long run after every epoch would take longer and longer."""
    logger = MetricsFile(tmp_path)
    for step in range(3000):
        logger.log_metrics({"epoch": step, "a": 0.1}, step=step)
    began = time.process_time()
    logger.save()
    first = time.process_time() - began
    began = time.process_time()
    for _ in range(3):
        logger.save()
    assert time.process_time() - began < 3 * first


def test_the_folder_is_the_runs_own(tmp_path: Path) -> None:
    """Lightning puts checkpoints below save_dir/name/version."""
    logger = MetricsFile(tmp_path)
    assert Path(logger.save_dir, logger.name, logger.version) == tmp_path
