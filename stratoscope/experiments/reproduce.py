"""`stratoscope reproduce <paper>/<figure>`: all runs of an experiment, then its report."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stratoscope.experiments.calibration import expected_seconds
from stratoscope.experiments.grid import PlannedRun, chosen_scale, planned_runs, repetitions
from stratoscope.experiments.launcher import FINISHED, INTERRUPTED, Launcher
from stratoscope.experiments.plan_file import as_begun, write_plan
from stratoscope.experiments.slurm import submit
from stratoscope.experiments.specification import FULL, Experiment, experiment_names, read_experiment
from stratoscope.free_options import FREE
from stratoscope.masking import masked_words
from stratoscope.one_line_parser import OneLineParser
from stratoscope.printable import printable
from stratoscope.refusal import Refused
from stratoscope.seeds import told_repetitions
from stratoscope.wandb_setup import group_of


def reproduce(words: Sequence[str]) -> int:
    """Run an experiment, or go on with it.

    Args:
        words: The command line after `reproduce`.

    Returns:
        The exit code: 0 if all runs have finished, 1 if one has failed, 143 if it was interrupted.

    Raises:
        Refused: If the input cannot be run.
    """
    asked, more = _parser().parse_known_args(list(words))
    if asked.name is None:
        print("\n".join(_listed()))
        return 0
    _check_free(more)
    experiment = as_begun(read_experiment(asked.name), asked.name, asked.scale, asked.runs)
    runs = whole = planned_runs(experiment, asked.scale, asked.runs)
    for choice in asked.only:
        runs = _chosen(experiment, runs, choice)
    if not runs:
        raise Refused(f"reproduce: no run is left of {len(whole)}")
    logger = _wandb(experiment, asked.scale) if asked.wandb else []
    more = [*([] if "--threads" in more else ["--threads", "1"]), *logger, *more]
    if asked.dry_run:
        _print_plan(experiment, asked.scale, runs, more, asked.jobs)
        return 0
    if asked.task is not None:
        return _task(runs, asked.task, more)
    slurm = asked.slurm or asked.slurm_template
    if slurm and masked_words(more) != more:
        raise Refused("reproduce: a key would be written into the job script: give it in the environment")
    write_plan(experiment, asked.name, asked.scale, whole)
    if slurm:
        only = [word for choice in asked.only for word in ("--only", choice)]
        same = [asked.name, "--scale", asked.scale, "--runs", asked.runs, *only, *more]
        template = Path(asked.slurm_template) if asked.slurm_template else None
        report = ["report", str(runs[0].folder)]
        print(printable("\n".join(submit(experiment, runs, ["reproduce", *same, "--task"], report, template))))
        return 0
    ended = Launcher(asked.jobs, more, lambda line: print(printable(line), flush=True)).run(runs)
    from stratoscope.report import write_report

    print(printable(write_report(runs[0].folder)))
    failed = [f"{name} ({state})" for name, state in ended.items() if state != FINISHED]
    if INTERRUPTED in ended.values():
        print("stratoscope: interrupted; the same command goes on", file=sys.stderr)
        return 143
    if failed:
        print(f"stratoscope: {len(failed)} of {len(runs)} runs have not finished: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _check_free(words: Sequence[str]) -> None:
    """Let those options of fit pass that change no result.

    Raises:
        Refused: If there is another.
    """
    for before, word in zip(["", *words], words, strict=False):
        value = before.startswith("--") and "=" not in before  # such as -1
        if word.startswith("--" if value else "-") and not word.startswith(FREE):
            others = "what else a run is belongs into the experiment's file"
            raise Refused(f"reproduce: no option {word}; of fit's there are {', '.join(FREE)}; {others}")
        if not word.startswith("-") and not value:
            raise Refused(f"reproduce: {word} is no option; options start with --")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        "stratoscope reproduce",
        description="Run an experiment, or go on with it, and write its report. Without a name: lists them. Options of "
        "fit, such as --data.root FOLDER, go to every run.",
    )
    parser.add_argument("name", nargs="?", help="<paper>/<figure>, or a file of your own")
    parser.add_argument("--scale", default=FULL, help="a smaller version of the experiment")
    only = "AXIS=LABEL,...: only these runs, and those that they start from; may be given for several axes"
    parser.add_argument("--only", action="append", default=[], help=only)
    parser.add_argument("--runs", default="runs", help="folder of all runs")
    jobs = "runs at a time on this machine; by default one for each core, or GPU: fewer where others are at work too"
    parser.add_argument("--jobs", type=_count, default=_jobs(), help=jobs)
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="print the plan with the expected time")
    parser.add_argument("--wandb", action="store_true", help="mirror every run to W&B, in one group")
    parser.add_argument("--slurm", action="store_true", help="submit an array job instead")
    parser.add_argument("--slurm_template", help="a job script of your own, like configs/slurm/array.sbatch")
    parser.add_argument("--task", type=int, help="run only this one, in this process (for array jobs)")
    return parser


def _chosen(experiment: Experiment, runs: Sequence[PlannedRun], choice: str) -> list[PlannedRun]:
    """The runs with some labels of an axis, and those that they start from.

    Raises:
        Refused: If there is no such axis or label.
    """
    axis, _, labels = choice.partition("=")
    known = {str(label) for label in experiment.axes.get(axis, [])}
    wanted = set(labels.split(","))
    if unknown := wanted - known:
        there = f"{axis} has {', '.join(sorted(known))}" if known else f"axes are {', '.join(experiment.axes)}"
        raise Refused(f"--only {choice}: no {', '.join(sorted(unknown)) or 'labels'}; {there}")
    names = {run.name for run in runs if str(run.labels[axis]) in wanted}
    for run in reversed(runs):  # those that others start from come first
        names |= set(run.needs) if run.name in names else set()
    return [run for run in runs if run.name in names]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


def _jobs() -> int:
    import torch

    if torch.accelerator.is_available():
        return torch.accelerator.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listed() -> list[str]:
    lines = []
    for name in experiment_names():
        experiment = read_experiment(name)
        lines.append(f"{name:28} {experiment.title} (scales: {', '.join([FULL, *experiment.scales])})")
    return lines


def _wandb(experiment: Experiment, scale: str) -> list[str]:
    options = {"group": group_of(experiment.name, scale), "job_type": scale}
    words = [word for name, value in options.items() for word in (f"--trainer.logger.{name}", value)]
    return ["--trainer.logger", "WandbLogger", *words]


def _task(runs: Sequence[PlannedRun], number: int, more: Sequence[str]) -> int:
    from stratoscope.cli import main

    if not 0 <= number < len(runs):
        raise Refused(f"--task {number}: there are runs 0 to {len(runs) - 1}")
    finished = {run.name for run in runs if run.finished}
    for name in runs[number].needs:
        if name not in finished:
            raise Refused(f"--task {number}: {runs[number].name} starts from {name}, which has not finished")
    main(runs[number].words(*more))
    return 0


def _print_plan(experiment: Experiment, scale: str, runs: Sequence[PlannedRun], more: Sequence[str], jobs: int) -> None:
    note = chosen_scale(experiment, scale).note
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(
        printable(
            f"{experiment.title}\nscale {scale}{f': {note}' if note else ''}; {len(runs)} runs in {runs[0].folder}"
        )
    )
    if differing := told_repetitions(repetitions(runs)):
        console.print(differing)
    expected = expected_seconds(runs, more)
    table = Table(box=None, pad_edge=False)
    for column in ("run", *experiment.axes, "minutes"):
        table.add_column(column, justify="right" if column == "minutes" else "left", overflow="fold")
    for run in runs:
        table.add_row(run.name, *(printable(label) for label in run.labels.values()), f"{expected[run.name] / 60:.1f}")
    console.print(table)
    together = sum(expected.values()) / 60
    console.print(f"one after the other: about {together:.0f} min; {jobs} at a time: {together / jobs:.0f}")
    console.print(
        "(from a few steps of each network, one run alone, on this machine as busy as it is now; several at a time "
        "take longer than that where they share cores or memory)"
    )
    console.print(printable(f"the first: stratoscope {' '.join(masked_words(runs[0].words(*more)))}"))
