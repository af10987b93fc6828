"""All runs of an experiment, then its report; for `stratoscope reproduce`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from stratoscope.errors import Refused
from stratoscope.experiments.calibration import expected_seconds
from stratoscope.experiments.experiment import Experiment
from stratoscope.experiments.grid import PlannedRun, chosen_scale, planned_runs, repetitions
from stratoscope.experiments.launcher import FINISHED, INTERRUPTED, Launcher
from stratoscope.experiments.plan_file import as_begun, write_plan
from stratoscope.experiments.report import write_report
from stratoscope.experiments.slurm import job_script, submit, template, waves
from stratoscope.fit.command import run_command
from stratoscope.fit.wandb_setup import group_of
from stratoscope.printable import printable
from stratoscope.run.masking import masked_words
from stratoscope.run.seeds import told_repetitions


def reproduced(experiment: Experiment, asked: argparse.Namespace, more: Sequence[str]) -> int:
    """Run an experiment, or go on with it.

    Args:
        experiment: The experiment.
        asked: The parsed words of the command.
        more: Options of `fit` for every run.

    Returns:
        The exit code: 0 if all runs have finished, 1 if one has failed, 143 if it was interrupted.

    Raises:
        Refused: If the input cannot be run.
    """
    experiment = as_begun(experiment, asked.name, asked.scale, asked.runs)
    runs = whole = planned_runs(experiment, asked.scale, asked.runs)
    for choice in asked.only:
        runs = _chosen(experiment, runs, choice)
    if not runs:
        raise Refused(f"reproduce: no run is left of {len(whole)}")
    logger = _wandb(experiment, asked.scale) if asked.wandb else []
    more = [*([] if "--threads" in more else ["--threads", "1"]), *logger, *more]
    jobs = asked.jobs or _jobs()
    slurm = asked.slurm or asked.slurm_template
    if slurm and asked.task is None and masked_words(more) != more:
        raise Refused("reproduce: a key would be written into the job script: give it in the environment")
    only = [word for choice in asked.only for word in ("--only", choice)]
    same = ["reproduce", asked.name, "--scale", asked.scale, "--runs", asked.runs, *only, *more, "--task"]
    script = Path(asked.slurm_template) if asked.slurm_template else template()
    if asked.dry_run:
        _print_plan(experiment, asked.scale, runs, more)
        for wave, tasks in enumerate(waves(runs)) if slurm else ():
            text = job_script(experiment, runs[0].folder, tasks, same, script)
            print(printable(f"\nwave{wave}.sbatch:\n{text.rstrip()}"))
        _print_times(runs, more, jobs)
        return 0
    if asked.task is not None:
        return _task(runs, asked.task, more)
    write_plan(experiment, asked.name, asked.scale, whole)
    if slurm:
        print(printable("\n".join(submit(experiment, runs, same, ["report", str(runs[0].folder)], script))))
        return 0
    ended = Launcher(jobs, more, lambda line: print(printable(line), flush=True)).run(runs)
    print(printable(write_report(runs[0].folder)))
    failed = [f"{name} ({state})" for name, state in ended.items() if state != FINISHED]
    if INTERRUPTED in ended.values():
        print("stratoscope: interrupted; the same command goes on", file=sys.stderr)
        return 143
    if failed:
        print(f"stratoscope: {len(failed)} of {len(runs)} runs have not finished: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


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


def _jobs() -> int:
    if torch.accelerator.is_available():
        return torch.accelerator.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _wandb(experiment: Experiment, scale: str) -> list[str]:
    options = {"group": group_of(experiment.name, scale), "job_type": scale}
    words = [word for name, value in options.items() for word in (f"--trainer.logger.{name}", value)]
    return ["--trainer.logger", "WandbLogger", *words]


def _task(runs: Sequence[PlannedRun], number: int, more: Sequence[str]) -> int:
    if not 0 <= number < len(runs):
        raise Refused(f"--task {number}: there are runs 0 to {len(runs) - 1}")
    finished = {run.name for run in runs if run.finished}
    for name in runs[number].needs:
        if name not in finished:
            raise Refused(f"--task {number}: {runs[number].name} starts from {name}, which has not finished")
    return run_command(runs[number].words(*more))


def _print_plan(experiment: Experiment, scale: str, runs: Sequence[PlannedRun], more: Sequence[str]) -> None:
    note = chosen_scale(experiment, scale).note
    console = _console()
    console.print(
        printable(
            f"{experiment.title}\nscale {scale}{f': {note}' if note else ''}; {len(runs)} runs in {runs[0].folder}"
        )
    )
    if differing := told_repetitions(repetitions(runs)):
        console.print(differing)
    table = Table(box=None, pad_edge=False)
    for column in ("run", *experiment.axes):
        table.add_column(column, overflow="fold")
    for run in runs:
        table.add_row(run.name, *(printable(label) for label in run.labels.values()))
    console.print(table)
    console.print(printable(f"the first: stratoscope {' '.join(masked_words(runs[0].words(*more)))}"))


def _print_times(runs: Sequence[PlannedRun], more: Sequence[str], jobs: int) -> None:
    """Print how long each run will take, as soon as that is known; it is not without data.

    Raises:
        Refused: If a run could not begin for another reason.
    """
    console = _console()
    console.print(
        "\nminutes, from a few steps of each network, one run alone, on this machine as busy as it is now; several at "
        "a time take longer than that where they share cores or memory:"
    )
    together = 0.0
    try:
        for name, seconds in expected_seconds(runs, more):
            console.print(f"{seconds / 60:8.1f}  {name}")
            together += seconds / 60
    except Refused as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        console.print(printable(f"they need the data: {error}"))
        return
    console.print(f"one after the other: about {together:.0f} min; {jobs} at a time: {together / jobs:.0f}")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
