"""`stratoscope reproduce <paper>/<figure>`: its words, and the list of what can be reproduced."""

import argparse
from collections.abc import Sequence

from stratoscope.commands.parser import OneLineParser
from stratoscope.errors import Refused
from stratoscope.experiments.experiment import FULL
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.run.free_options import FREE


def parser(command: str = "reproduce") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(
        f"stratoscope {command}",
        description="Run an experiment, or go on with it, and write its report. Without a name: lists them. Options of "
        "fit, such as --data.root FOLDER, go to every run.",
    )
    made.add_argument("name", nargs="?", help="<paper>/<figure>, or a file of your own")
    made.add_argument("--scale", default=FULL, help="a smaller version of the experiment")
    only = "AXIS=LABEL,...: only these runs, and those that they start from; may be given for several axes"
    made.add_argument("--only", action="append", default=[], help=only)
    made.add_argument("--runs", default="runs", metavar="FOLDER", help="folder of all runs")
    jobs = "runs at a time on this machine; by default one for each core, or GPU: fewer where others are at work too"
    made.add_argument("--jobs", type=_count, help=jobs)
    made.add_argument("--dry-run", "--dry_run", action="store_true", help="print the plan with the expected time")
    made.add_argument("--wandb", action="store_true", help="mirror every run to W&B, in one group")
    made.add_argument("--slurm", action="store_true", help="submit an array job instead")
    made.add_argument("--slurm_template", metavar="FILE", help="your job script, like configs/slurm/array.sbatch")
    made.add_argument("--task", type=int, help="run only this one, in this process (for array jobs)")
    return made


def reproduce(words: Sequence[str]) -> int:
    """Run an experiment, or go on with it; without a name, list all there are.

    Args:
        words: The command line.

    Returns:
        The exit code: 0 if all runs have finished, 1 if one has failed, 143 if it was interrupted.

    Raises:
        Refused: If the input cannot be run.
    """
    asked, more = parser().parse_known_args(words[1:])
    if asked.name is None:
        print("\n".join(_listed()))
        return 0
    _check_free(more)
    experiment = read_experiment(asked.name)
    from stratoscope.commands.reproduction import reproduced  # which imports torch

    return reproduced(experiment, asked, more)


def _check_free(words: Sequence[str]) -> None:
    """Let those options of fit pass that change no result.

    Raises:
        Refused: If there is another.
    """
    for before, word in zip(["", *words], words, strict=False):
        value = before.startswith("--") and "=" not in before  # such as -1
        if word.startswith("--" if value else "-") and not word.startswith(FREE):
            others = "what else a run is belongs into the experiment's file"
            raise Refused(f"reproduce: unknown option {word}; of fit's there are {', '.join(FREE)}; {others}")
        if not word.startswith("-") and not value:
            raise Refused(f"reproduce: unknown option {word}; options start with --")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


def _listed() -> list[str]:
    lines = []
    for name in experiment_names():
        experiment = read_experiment(name)
        lines.append(f"{name:28} {experiment.title} (scales: {', '.join([FULL, *experiment.scales])})")
    return lines
