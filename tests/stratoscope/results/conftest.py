"""Three runs, made once, and what is said of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.table import main

SMALL = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.enable_progress_bar false"
PROBES = "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu* --trainer.callbacks.train_samples 300"
MANY = "--trainer.callbacks.ridge [0.001,0.1] --trainer.callbacks.held_out 100 --trainer.callbacks.measures [rank]"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs: one probed on random labels, one deep down with other settings, one of `validate`."""
    from tests.pictures import draw_nothing  # which imports Lightning

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch.setattr)
        patch.chdir(folder)
        patch.setenv("STRATOSCOPE_RUN", "")  # which every run sets: put back in the end
        main(f"{SMALL} {PROBES} {MANY} --data.corruption RandomLabels --trainer.max_epochs 2 --run random".split())
        main(f"{SMALL} --model.depth 2 --trainer.max_epochs 3 --runs runs/größe/δ --run true".split())
        main(["validate", "--ckpt_path", "runs/random/checkpoints/last.ckpt", "--run", "checked"])
    return folder / "runs"


@pytest.fixture
def runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in `runs` of the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Path(shutil.copytree(made, "runs"))


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Gives what a command line prints."""

    def run(line: str) -> str:
        capsys.readouterr()
        main(line.split())
        return capsys.readouterr().out

    return run


@pytest.fixture
def record() -> Callable[..., None]:
    """Changes a run's record."""

    def change(run: Path, **changes: Any) -> None:
        file = run / "run.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change
