"""Installs a wheel into a fresh environment outside the clone, and does there what a first user does.

    python scripts/try_wheel.py dist/stratoscope-0.1.0-py3-none-any.whl

The fresh environment sees the packages of the one that runs this script, so that torch is not downloaded again, but not
the clone: `stratoscope` is the wheel's.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ABOUT = """
from importlib.resources import files
import stratoscope
assert (files("stratoscope") / "py.typed").is_file(), "no py.typed: type checkers would see no types"
print(stratoscope.__version__, stratoscope.__file__)
"""
NUMBERS = """
from stratoscope import load_runs
runs = load_runs("runs/")
assert {"metrics", "probes"} <= {*runs.source}, runs
print(len(runs), "numbers of", runs.run.nunique(), "run")
"""


def installed(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel in it; the folder of its commands."""
    venv.create(folder, with_pip=False)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    python = str(commands / "python")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    # before the other packages are seen, among which the clone itself may be
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    (Path(own.stdout.strip()) / "packages_of_the_clone.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return commands


def main(words: Sequence[str]) -> None:
    """Install it, and try it.

    Args:
        words: The wheel.

    Raises:
        SystemExit: If something does not do what it should.
    """
    (wheel,) = words
    with TemporaryDirectory() as place:
        commands = installed(Path(wheel).resolve(), Path(place) / "environment")
        python, stratoscope = str(commands / "python"), str(commands / "stratoscope")
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

        def run(*command: str) -> str:
            print("$", " ".join([Path(command[0]).name, *command[1:]]), flush=True)
            done = subprocess.run(command, cwd=place, env=clean, text=True, stdout=subprocess.PIPE, check=False)
            print(done.stdout, end="", flush=True)
            if done.returncode:
                raise SystemExit(f"try_wheel: exit code {done.returncode}")
            return done.stdout

        if str(Path(place).resolve()) not in run(python, "-c", ABOUT):
            raise SystemExit("try_wheel: another stratoscope than the wheel's was imported")
        run(stratoscope, "fit", "--config", "configs/quickstart.yaml")
        run(stratoscope, "report", "_")  # a part of the name of the one run
        run(stratoscope, "reproduce", "alain2016/skip", "--scale", "digits", "--dry-run")
        run(python, "-c", NUMBERS)


if __name__ == "__main__":
    main(sys.argv[1:])
