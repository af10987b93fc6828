"""Runs that several files of tests begin with; each is made once."""

import contextlib
import signal
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run called whole."""
    from tests.forked_runs import said  # which imports Lightning
    from tests.interrupted_runs import FIT, run

    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        assert run(f"{FIT} --run whole") == 0, said()
    return folder / "runs" / "whole"


@pytest.fixture
def beside_whole(whole: Path) -> None:
    """That run is in the working directory, too."""
    Path("runs").mkdir()
    Path("runs/whole").symlink_to(whole)


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run called damaged that was killed in its third epoch."""
    from tests.forked_runs import said
    from tests.interrupted_runs import FIT, At, run

    folder = tmp_path_factory.mktemp("killed")
    with contextlib.chdir(folder):
        assert run(f"{FIT} --run damaged", At("on_train_batch_start", 2, 3)) == -signal.SIGKILL, said()
    return folder / "runs" / "damaged"
