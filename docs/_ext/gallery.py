"""The gallery: a picture of each kind, made while the site is built by the commands that stand beside them."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from docs._ext.pictures import Pictures
from stratoscope.experiments.experiment_file import read_experiment

EXPERIMENT = Path(__file__).parents[1] / "gallery.yaml"
FIT = """
stratoscope fit --model MLP --model.width 64 --model.depth 2
  --data Digits --data.batch_size 16
  --data.corruption RandomSubset --data.corruption.n 300 --data.corruption+ RandomLabels
  --trainer.callbacks LinearProbes --trainer.callbacks.epochs '[0, 5, 10, 20]'
  --trainer.callbacks.measures '[neighbours, rank, collapse, control, similarity]'
  --trainer.callbacks+ OnlineProbes --trainer.max_epochs 20 --run random
"""
OF_A_RUN = {
    "separability.png": "`LinearProbes`: accuracy of every layer's probe, layers x epochs, a panel for each label kind",
    "measures.png": "Its measures: a panel for each, layers x epochs",
    "online_probes.png": "`OnlineProbes`: probes trained beside the network",
}
REPORT = "stratoscope report random"
REPRODUCE = "stratoscope reproduce gallery.yaml"
SAID = {
    "curves": "`curves`: a quantity by epoch, a line for each group of runs; shaded from the least to the largest seed",
    "points": "`points`: a quantity at the end of training, with its 95 % interval",
    "layers": "`layers`: a quantity by layer and epoch, a panel for each group of runs",
    "profile": "`profile`: a quantity by layer at one epoch",
    "lines": "`lines`: a column of a table over another, here the loss on the path between two solutions",
    "density": "`density`: the same with a logarithmic ordinate",
    "map": "`map`: contours of a column over two others, here the loss in a plane around a solution",
    "scatter": "`scatter`: a quantity over another, a point for each run, with 95 % intervals",
}


def gallery(pictures: Pictures) -> str:
    """All pictures with their commands, as Markdown.

    Args:
        pictures: Where they go: the commands are run in this folder.

    Raises:
        CalledProcessError: If a command fails.
    """
    shutil.rmtree(pictures.folder / "runs", ignore_errors=True)  # of an earlier build
    shutil.copy(EXPERIMENT, pictures.folder / EXPERIMENT.name)
    for command in (FIT, REPORT, REPRODUCE):
        run(command, pictures.folder)
    parts = ["## Of a run", _shell(FIT)]
    parts += _shown(pictures, pictures.folder / "runs" / "random", OF_A_RUN)
    page = pictures.path(pictures.folder / "runs" / "random" / "report.html")
    parts += ["All of it is one page, with its numbers under the mouse and its tables inside:", _shell(REPORT)]
    parts += [f"{{download}}`the page of this run <{page}>`"]
    experiment = read_experiment(str(EXPERIMENT))
    report = next(pictures.folder.glob("runs/*/full/report"))
    parts += ["## Of an experiment", _shell(REPRODUCE)]
    kinds = {figure.kind: name for name, figure in experiment.figures.items()}
    parts += _shown(pictures, report, {f"{kinds[kind]}.png": says for kind, says in SAID.items()})
    parts += [f"This is `{EXPERIMENT.name}`:", f"```yaml\n{EXPERIMENT.read_text(encoding='utf-8').strip()}\n```"]
    return "\n\n".join(parts)


def run(command: str, folder: Path) -> None:
    """Run a command line in a folder, without a network and on one thread.

    Args:
        command: That begins with `stratoscope`.
        folder: Where.

    Raises:
        CalledProcessError: If it fails.
    """
    words = [sys.executable, "-m", *shlex.split(command)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()


def _shown(pictures: Pictures, folder: Path, files: Mapping[str, str]) -> list[str]:
    """Each with what it shows above it, and as a link to itself."""
    parts = []
    for file, says in files.items():
        picture = pictures.show(folder / file, says.replace("`", ""))
        parts += [f"{says}:", f"[{picture}]({pictures.path(folder / file)})"]
    return parts


def _shell(command: str) -> str:
    return "```shell\n" + command.strip().replace("\n", " \\\n") + "\n```"
