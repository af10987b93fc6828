"""Every script under scripts/bench works: as small as can be, in a process forked from this one."""

import runpy
import sys
import traceback
from multiprocessing import forkserver
from pathlib import Path

import pytest

from tests.forked_runs import finish, forked, said

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
SCRIPTS = sorted(file.stem for file in BENCH.glob("*.py") if '__name__ == "__main__"' in file.read_text())
DEAR = {"probes", "launch", "training", "startup"}  # even so: five seconds to half a minute
# the other parts of gpu are in a test of their own
FEW = {"gpu": ["--parts", "lrn"], "launch": ["--runs", "2"], "growth": ["--epochs", "3", "--runs", "1"]}


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # else training.py begins anew to have it so


def script(name: str, *words: str) -> int:
    """The exit code of a script with these words."""

    def child() -> None:
        # a fork knows this process's server, but must not wait for it
        forkserver._forkserver.__init__()  # type: ignore[misc]
        sys.argv = [f"{name}.py", *words]
        sys.path.insert(0, str(BENCH))
        try:
            runpy.run_path(str(BENCH / f"{name}.py"), run_name="__main__")
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None

    return finish(forked(child))


def test_there_are_scripts() -> None:
    """Found by how they end, not listed: a new one cannot be forgotten."""
    assert {"training", "lrn", "probes", "launch", "resume"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in DEAR else []) for n in SCRIPTS])
def test_a_script_rehearses(name: str) -> None:
    """It measures everything once and prints a table."""
    assert script(name, "--rehearse", *FEW.get(name, [])) == 0, said()
    assert "|---|---|" in said()
    assert "Traceback" not in said()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_takes_the_options_of_all(name: str) -> None:
    """--quick and --data FOLDER are in its help."""
    assert script(name, "--help") == 0, said()
    assert "--quick" in said()
    assert "--data FOLDER" in said()


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"gpu", "launch"}))  # whose parts are processes of their own
def test_a_script_looks_for_the_data_it_is_given(name: str) -> None:
    """And ends if they are not there."""
    assert script(name, "--rehearse", "--data", "nowhere") != 0
    assert "no CIFAR-10 in nowhere" in said()
