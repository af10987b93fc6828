"""Tests of docs/_ext/gallery.py; that its commands run is tested with the site, in test_generated.py."""

import shlex
import subprocess
from pathlib import Path

import pytest

from docs._ext.gallery import EXPERIMENT, FIT, SAID, run
from stratoscope.callbacks.instruments.measures import MEASURES
from stratoscope.experiments.experiment import KINDS
from stratoscope.experiments.experiment_file import read_experiment


def test_there_is_a_picture_of_every_kind() -> None:
    """Of figures of experiments, and of measures."""
    drawn = [figure.kind for figure in read_experiment(str(EXPERIMENT)).figures.values()]
    assert {*drawn} == {*SAID} == KINDS
    words = shlex.split(FIT)
    measures = words[words.index("--trainer.callbacks.measures") + 1]
    assert {*measures.strip("[]").split(", ")} == {*MEASURES}


def test_a_command_that_fails_is_not_passed_over(tmp_path: Path) -> None:
    """What it says is shown, and the site is not built."""
    with pytest.raises(subprocess.CalledProcessError):
        run("stratoscope nothing", tmp_path)
