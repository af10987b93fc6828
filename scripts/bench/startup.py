"""How long a command takes to start: its CPU seconds as a share of those of `import lightning.pytorch`.

    python scripts/bench/startup.py [--quick] [--data FOLDER]

Processes of their own, one thread each, taking turns: user and system time, with that of the processes they wait for.
What only parses words or reads files may take a quarter of Lightning's import; what builds Lightning's parser, or
imports all there is to be listed, 1.3 of it. A rehearsal leaves Lightning out.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

from options import parser, sized
from ratios import median_interval

import stratoscope
from stratoscope.experiments.experiment_file import experiment_names
from stratoscope.fit.command import build
from stratoscope.fit.quiet import quieten

LIGHT, HEAVY = 0.25, 1.3  # times the import of Lightning, at most
LIGHTNING = ("-c", "import lightning.pytorch")
RUN = "digits"
EPOCHS = 2
COMMANDS = {
    "--help": LIGHT,
    "--version": LIGHT,
    "reproduce": LIGHT,
    "ls": LIGHT,
    f"show {RUN}": LIGHT,
    "best test/accuracy": LIGHT,
    **{f"{name} --help": LIGHT for name in ("resume", "reproduce", "report", "list", "doctor", "workspace")},
    "list": HEAVY,
    "fit --help": HEAVY,
    "fit --model MLP --data Digits --print_config": HEAVY,
}
REHEARSED = ("--help", "ls")


def seconds(words: Sequence[str], folder: Path) -> float:
    """CPU seconds of a Python process.

    Args:
        words: What it is given.
        folder: Where it works.

    Raises:
        SystemExit: If it fails.
    """
    here = str(Path(stratoscope.__file__).parents[1])
    # as after an installation: what is imported is compiled once
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    own |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], cwd=folder, env=own, capture_output=True, text=True, check=False)
    after = getrusage(RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(starts: Sequence[Sequence[str]], folder: Path, rounds: int, warm: bool) -> list[list[float]]:
    """CPU seconds of every start, in rounds that have each of them once, every other one in reverse.

    Args:
        starts: What each process is given.
        folder: Where they work.
        rounds: How many rounds.
        warm: Whether a first one is not counted.

    Returns:
        The seconds of each start, by round.
    """
    times: list[list[float]] = [[] for _ in starts]
    for number in range(rounds + warm):
        order = range(len(starts)) if number % 2 == 0 else reversed(range(len(starts)))
        for which in order:
            times[which].append(seconds(starts[which], folder))
    return [every[warm:] for every in times]


def run_to_be_read(folder: Path, data: str | None) -> None:
    """Train a small perceptron and probe it, so that there is a run to be listed and shown."""
    words = ["fit", "--data", "CIFAR10", "--data.root", data] if data else ["fit", "--data", "Digits"]
    words += ["--model", "MLP", "--model.width", "8", "--data.corruption", "RandomSubset", "--data.corruption.n", "200"]
    words += ["--trainer.max_epochs", str(EPOCHS), "--trainer.accelerator", "cpu", "--threads", "1"]
    words += ["--trainer.callbacks", "LinearProbes", "--runs", str(folder / "runs"), "--run", RUN]
    warnings.filterwarnings("ignore")
    quieten()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        build(words).start()


def table(whats: Sequence[str], most: Sequence[float], theirs: Sequence[float], ours: Sequence[Sequence[float]]) -> str:
    """Markdown table of median times and ratios, and how far these spread.

    Args:
        whats: The commands.
        most: For each the ratio allowed.
        theirs: Seconds of Lightning's import, by round.
        ours: Of each command.

    Returns:
        The table; a command holds unless the whole interval of its ratio lies above what is allowed.
    """
    lines = ["| what | theirs | ours | ratio | at most | holds |", "|---|---|---|---|---|---|"]
    spreads = []
    for what, bound, own in zip(whats, most, ours, strict=True):
        ratios = [our / their for our, their in zip(own, theirs, strict=True)]
        low, high, _ = median_interval(ratios)
        ratio, holds = f"{median(ratios):.3f} [{low:.3f}, {high:.3f}]", "yes" if low <= bound else "no"
        lines.append(f"| `{what}` | {median(theirs):.2f} s | {median(own):.2f} s | {ratio} | {bound:g} | {holds} |")
        spreads.append(f"{min(ratios):.3f} to {max(ratios):.3f}")
    covered = median_interval(theirs)[2]
    lines += ["", f"Medians of {len(theirs)} rounds, in brackets the interval of the median ratio ({covered:.0%}); "]
    lines[-1] += f"single ratios from {'; '.join(spreads)}."
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    asked = parser(__doc__, "3 rounds instead of 7").parse_args()
    rounds = sized(asked, 7, 3, 1)
    most = sized(asked, COMMANDS, COMMANDS, {what: COMMANDS[what] for what in REHEARSED})
    theirs = ("-c", "import json") if asked.rehearse else LIGHTNING
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run_to_be_read(folder, asked.data)
        starts = [theirs, *(("-m", "stratoscope", *what.split()) for what in most)]
        times = measured(starts, folder, rounds, warm=not asked.rehearse)
    print(table(list(most), list(most.values()), times[0], times[1:]))
    print(f"CPU time, one thread; a run of {EPOCHS} epochs is listed, and {len(experiment_names())} experiments.")
    print(f"lightning {version('lightning')}; torch {version('torch')}; ", end="")
    print(f"{os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
