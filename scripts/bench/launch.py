"""How many times faster an experiment's runs are done several at a time than one after the other.

    python scripts/bench/launch.py [--quick] [--data FOLDER] [--runs 4] [--jobs 2]

Runs of a perceptron on digits, one thread each, started by the launcher of `stratoscope reproduce`; wall-clock time, so
the machine must have nothing else to do. With --data SmallAlexNet on CIFAR-10; on a GPU: --jobs 4 --data FOLDER.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from options import parser, sized
from ratios import compare, table

from stratoscope.experiments.grid import PlannedRun
from stratoscope.experiments.launcher import FINISHED, Launcher


def launch(options: dict[str, Any], runs: int, jobs: int) -> None:
    """Do some runs, so many at a time.

    Raises:
        SystemExit: If one does not finish.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = [PlannedRun({"seed": i}, {**options, "seed_everything": i}, Path(folder), str(i)) for i in range(runs)]
        ended = Launcher(jobs, ["--threads", "1"], lambda line: None).run(plan)
        if set(ended.values()) != {FINISHED}:
            raise SystemExit(f"not all runs have finished: {ended}")


def experiment(data: str | None, epochs: int) -> dict[str, Any]:
    """Options of the runs: a perceptron on digits, or SmallAlexNet on CIFAR-10.

    Args:
        data: Folder of CIFAR-10.
        epochs: Of each run.
    """
    options: dict[str, Any] = {"data": "CIFAR10", "data.root": data, "model": "SmallAlexNet"}
    if data is None:
        options = {"data": "Digits", "model": "MLP", "model.width": 1024}
    return {**options, "trainer.max_epochs": epochs}


def main() -> None:
    """Measure, and print the table."""
    made = parser(__doc__, "5 epochs and 3 blocks instead of 30 and 7")
    made.add_argument("--runs", type=int, default=4)
    made.add_argument("--jobs", type=int, default=2)
    made.add_argument("--epochs", type=int)
    made.add_argument("--blocks", type=int)
    asked = made.parse_args()
    epochs, blocks = sized(asked, (30, 7), (5, 3), (1, 1))
    epochs, blocks = asked.epochs or epochs, asked.blocks or blocks
    options = experiment(asked.data, epochs)

    def in_order() -> None:
        launch(options, asked.runs, 1)

    def together() -> None:
        launch(options, asked.runs, asked.jobs)

    wanted = 2.0 if torch.accelerator.is_available() else 1.5
    what = f"{asked.runs} runs in order / {asked.jobs} at a time"
    ratio = compare(in_order, together, blocks, time.perf_counter, warm=not asked.rehearse)
    print(table([ratio.of(what, wanted, asked.runs)]))
    print(f"{epochs} epochs each; torch {torch.__version__}; {os.cpu_count()} cores; {time.strftime('%Y-%m-%d')}.")


if __name__ == "__main__":
    main()
