"""Does an epoch of a long run cost more than an early one; and how long do commands take that read many runs?

    python scripts/bench/growth.py [--quick] [--data FOLDER] [--epochs 2000] [--runs 1000]

A perceptron with ten probed layers on 100 images, as the command line trains it, with probes and a checkpoint at every
epoch. Its learning rate is 0, so that every epoch has the same work to do; CPU time, one thread. The runs are copies of
a small one of the same kind, in a process that has imported everything.
"""

import contextlib
import io
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from options import images, parser, sized

from stratoscope import load_runs
from stratoscope.commands.runs import best, ls
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.plan_file import write_plan
from stratoscope.experiments.report.writing import write_report
from stratoscope.fit.command import build

IMAGES = 100
MOST = 1.2  # times what an epoch costs in the first tenth
MOST_SECONDS = 5.0  # for a thousand runs


class Clock(Callback):
    """CPU seconds of every epoch, with all that is done between it and the next."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time."""
        self.marks.append(time.process_time())

    @property
    def seconds(self) -> list[float]:
        """By epoch; the last one has no end."""
        return [after - before for before, after in zip(self.marks, self.marks[1:], strict=False)]


def train(folder: Path, name: str, epochs: int, data: str | None) -> Clock:
    """Train and probe, as `stratoscope fit` does."""
    subset = {"class_path": "RandomSubset", "init_args": {"n": IMAGES}}
    shapes = {"train_size": IMAGES, "test_size": IMAGES, "size": 28}
    config = {
        "seed_everything": 0,
        "runs": str(folder),
        "run": name,
        "trainer": {
            "max_epochs": epochs,
            "accelerator": "cpu",
            "callbacks": [{"class_path": "LinearProbes", "init_args": {"taps": "all", "width": 16, "ridge": 0.1}}],
            "enable_model_summary": False,
        },
        "model": {
            "class_path": "MLP",
            "init_args": {"width": 8, "depth": 4, "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.0}}},
        },
        "data": {
            "class_path": "CIFAR10" if data else "Shapes",
            "init_args": {"batch_size": 50, **({"root": data, "corruption": [subset]} if data else shapes)},
        },
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    clock = Clock()
    with contextlib.redirect_stdout(io.StringIO()):
        command = build(["fit", "--config", str(file)])
        command.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        command.start()
    return clock


def growth(folder: Path, epochs: int, data: str | None) -> list[str]:
    """Train once, and compare the last tenth of the epochs with the first."""
    seconds = train(folder, "long", epochs, data).seconds
    tenth = max(1, len(seconds) // 10)
    first, last = seconds[1 : 1 + tenth], seconds[-tenth:]  # the very first makes and compiles things
    ratio = mean(last) / mean(first)
    rows = len((folder / "long" / "probes.csv").read_text().splitlines()) - 1
    size = (folder / "long" / "checkpoints" / "last.ckpt").stat().st_size / 1e6
    return [
        "| epochs | rows of probes | checkpoint, MB | first tenth, ms | last tenth, ms | ratio | at most |",
        "|---|---|---|---|---|---|---|",
        f"| {epochs:,} | {rows:,} | {size:.2f} | {1000 * mean(first):.1f} (median {1000 * median(first):.1f}) "
        f"| {1000 * mean(last):.1f} (median {1000 * median(last):.1f}) | {ratio:.2f} | {MOST} |",
    ]


def many(folder: Path, count: int, data: str | None) -> list[str]:
    """Read many runs in every way there is."""
    import matplotlib.figure  # noqa: F401 - here and not within what is measured
    import pandas as pd  # noqa: F401

    train(folder, "small", 3, data)
    file = folder / "many.yaml"
    content = {
        "title": "Many",
        "source": "nobody",
        "options": {"model": "MLP", "data": "Digits"},
        "axes": {"draw": {seed: {"seed_everything": seed} for seed in range(count)}},
        "runs": [{"draw": "all"}],
        "quantities": {"error": {"metric": "test/accuracy", "error": True}},
        "figures": {"errors": {"title": "Errors", "kind": "points", "quantity": "error", "x": "draw"}},
        "table": ["error"],
    }
    file.write_text(yaml.safe_dump(content))
    experiment = read_experiment(str(file))
    runs = planned_runs(experiment, "full", str(folder / "runs"))
    for run in runs:
        shutil.copytree(folder / "small", run.path, ignore=shutil.ignore_patterns("*.ckpt*", "*.png"))
    write_plan(experiment, str(file), "full", runs)
    lines = ["| command | runs | CPU s | at most |", "|---|---|---|---|"]
    place = str(folder / "runs")
    commands: dict[str, Callable[[], object]] = {
        "ls": lambda: ls(["ls", place]),
        "best": lambda: best(["best", "test/accuracy", place]),
        "load_runs": lambda: load_runs(place),
        "report": lambda: write_report(runs[0].folder),
    }
    for name, do in commands.items():
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            do()
        took = time.process_time() - began
        lines.append(f"| {name} | {count:,} | {took:.1f} | {MOST_SECONDS * count / 1000:g} |")
    return lines


def main() -> None:
    """Measure, and print the tables."""
    made = parser(__doc__, "100 epochs, 100 runs")
    made.add_argument("--epochs", type=int)
    made.add_argument("--runs", type=int)
    options = made.parse_args()
    epochs, runs = sized(options, (2000, 1000), (100, 100), (11, 2))
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if options.data:
        images(options.data, IMAGES)  # or there are none
    with tempfile.TemporaryDirectory() as folder:
        grown = growth(Path(folder), options.epochs or epochs, options.data)
        print("\n".join([*grown, "", *many(Path(folder), options.runs or runs, options.data)]))
    print(f"\ntorch {torch.__version__}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
