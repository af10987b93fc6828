"""An experiment as SLURM jobs: an array with one run per task, in as many waves as runs start from each other."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

from stratoscope.errors import Refused
from stratoscope.experiments.experiment import Experiment
from stratoscope.experiments.experiment_file import experiments_folder
from stratoscope.experiments.grid import PlannedRun
from stratoscope.files.atomic import replacing

MOST_AT_A_TIME = 32


def template() -> Path:
    """The job script that comes with the package."""
    return experiments_folder().parent / "slurm" / "array.sbatch"


def waves(runs: Sequence[PlannedRun]) -> list[list[int]]:
    """Numbers of the runs, so that each starts from runs of earlier waves only."""
    depth: dict[str, int] = {}
    for run in runs:  # those that others start from come first
        depth[run.name] = 1 + max((depth[name] for name in run.needs), default=-1)
    return [[i for i, run in enumerate(runs) if depth[run.name] == wave] for wave in range(1 + max(depth.values()))]


def job_script(experiment: Experiment, folder: Path, tasks: Sequence[int], command: Sequence[str], file: Path) -> str:
    """A job script, filled in.

    Args:
        experiment: The experiment.
        folder: Where its runs are.
        tasks: Numbers of the runs.
        command: The words after `stratoscope` that run a task, whose number comes last.
        file: The template: text with `$name`, `$folder`, `$tasks` and `$command`.

    Raises:
        Refused: If there is no such template, or it names something else.
    """
    array = ",".join(map(str, tasks)) + f"%{MOST_AT_A_TIME}"
    words = f"{shlex.quote(sys.executable)} -m stratoscope {shlex.join(command)}"
    name = re.sub(r"[^A-Za-z0-9_-]", "_", experiment.name)
    try:
        text = Template(file.read_text())
        return text.substitute(name=name, folder=shlex.quote(str(folder.resolve())), tasks=array, command=words)
    except OSError as error:
        raise Refused(f"--slurm: cannot read {file}: {error.strerror}") from error
    except (KeyError, ValueError) as error:
        raise Refused(
            f"--slurm: {file} has {error}; it can have $name, $folder, $tasks and $command ($$ for $)"
        ) from error


def submit(
    experiment: Experiment,
    runs: Sequence[PlannedRun],
    command: Sequence[str],
    report: Sequence[str],
    file: Path | None = None,
) -> list[str]:
    """Write the scripts of all waves and of the report beside the runs, and submit them.

    Args:
        experiment: The experiment.
        runs: Its runs.
        command: The words after `stratoscope` that run a task, whose number comes last.
        report: The words that write the report.
        file: A template of one's own.

    Returns:
        What was submitted, a line each.

    Raises:
        Refused: If sbatch is not there or refuses.
    """
    folder = runs[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    said: list[str] = []
    jobs: list[str] = []
    for wave, tasks in enumerate(waves(runs)):
        script = folder / f"wave{wave}.sbatch"
        with replacing(script) as part:
            part.write_text(job_script(experiment, folder, tasks, command, file or template()))
        # whatever has become of the wave before: each run looks itself whether those that it starts from have finished
        after = ["--dependency", f"afterany:{jobs[-1]}"] if jobs else []
        jobs.append(_sbatch(script, after))
        said.append(f"job {jobs[-1]}: {len(tasks)} runs, {script}")
    words = shlex.join([sys.executable, "-m", "stratoscope", *report])
    after = ["--dependency", f"afterany:{':'.join(jobs)}"]
    job = _sbatch(None, [*after, "--wrap", words, "--output", str(folder / "report.out")])
    return [*said, f"job {job}: the report"]


def _sbatch(script: Path | None, options: Sequence[str]) -> str:
    command = ["sbatch", "--parsable", *options, *([str(script)] if script else [])]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    except FileNotFoundError as error:
        raise Refused("--slurm: no sbatch on this machine; the scripts are written") from error
    except subprocess.SubprocessError as error:
        reason = " ".join(str(getattr(error, "stderr", "") or error).split())
        raise Refused(f"--slurm: sbatch: {reason}") from error
    return done.stdout.strip().split(";")[0]
