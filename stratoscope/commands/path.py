"""`stratoscope path RUN RUN`: the loss on a path or plane between stored solutions, in short."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from stratoscope.commands.parser import OneLineParser
from stratoscope.errors import Refused

# by how many solutions there are: one has a plane around it
KINDS = {1: "plane", 2: "straight", 3: "triangle", 4: "quadrilateral"}
OPTIONS = ("points", "low", "high", "batch_norm", "train_samples", "seed")


def parser(command: str = "path") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(
        f"stratoscope {command}",
        "Loss and accuracy between stored solutions, of training and test set: on the straight path between two runs, "
        "in the triangle of three, the quadrilateral of four, or a random plane around one. Short for validate "
        "--ckpt_path with the callback LossPath, whose options these are; those of validate, such as "
        "--trainer.accelerator, --run and --runs, go to it.",
    )
    made.add_argument("run", nargs="+", metavar="RUN", help="a run directory, such as runs/NAME, or a checkpoint")
    made.add_argument("--curved", action="store_true", help="between two runs: the arc, not the straight path")
    made.add_argument("--points", type=int, help="along the path, or along each edge or direction; 25")
    made.add_argument("--low", type=float, help="where the path begins; -1")
    made.add_argument("--high", type=float, help="where it ends; 2, in a plane 1")
    made.add_argument("--batch_norm", help="interpolated, or recomputed at every point")
    made.add_argument("--train_samples", type=int, help="size of the random part of the training set that is read")
    made.add_argument("--seed", type=int, help="decides that part, and the directions of a plane")
    return made


def path(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code.

    Raises:
        Refused: If there are too many runs, or one has no checkpoint.
    """
    line = validation(words)
    from stratoscope.fit.command import run_command  # which imports torch

    return run_command(line)


def validation(words: Sequence[str]) -> list[str]:
    """The command line that it is short for.

    Args:
        words: The command line.

    Raises:
        Refused: If there are too many runs, or one has no checkpoint.
    """
    mine, more = _sorted_out(words[1:])
    asked = parser().parse_intermixed_args(mine)
    from stratoscope.callbacks.instruments.own_files import distinct  # which imports Lightning

    ends = [_checkpoint(Path(run).expanduser()) for run in asked.run]
    if len(ends) not in KINDS:
        raise Refused(f"path: at most four runs, got {len(ends)}")
    if asked.curved and len(ends) != 2:
        raise Refused(f"path: --curved is for two runs, got {len(ends)}")
    kind = "curved" if asked.curved else KINDS[len(ends)]
    given = {name: getattr(asked, name) for name in OPTIONS if getattr(asked, name) is not None}
    others = {"to": list(map(str, ends[1:]))} if len(ends) > 1 else {}
    callback = {"class_path": "LossPath", "init_args": {"path": kind, **others, **given}}
    told = [f"{name.replace('_', '')}{value}" for name, value in given.items()]
    names = [re.sub(r"[^A-Za-z0-9.]+", "-", name) for name in [*distinct([str(end) for end in ends]), *told]]
    own = {"--run": "-".join([kind, *names]), "--runs": str(_folder(Path(asked.run[0]).expanduser()))}
    taken = {word.split("=")[0] for word in more}
    place = [word for option, value in own.items() if option not in taken for word in (option, value)]
    return ["validate", "--ckpt_path", str(ends[0]), "--trainer.callbacks", json.dumps([callback]), *place, *more]


def _sorted_out(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are the command's own, and those of validate: options that it does not know, with their values."""
    known = parser()._option_string_actions
    mine, more = list[str](), list[str]()
    waits = False  # for the value of an option of validate
    for word in words:
        if word.startswith("--"):
            theirs = word.split("=")[0] not in known
            waits = theirs and "=" not in word
        else:
            theirs, waits = waits, False
        (more if theirs else mine).append(word)
    return mine, more


def _checkpoint(run: Path) -> Path:
    """The checkpoint of a run.

    Raises:
        Refused: If there is none.
    """
    if run.is_file():
        return run
    last = run / "checkpoints" / "last.ckpt"
    if not last.is_file():
        raise Refused(f"path: there is no checkpoint {last}" if run.is_dir() else f"path: there is no run {run}")
    return last


def _folder(run: Path) -> Path:
    """Where the result goes: beside the run."""
    inside = run.parent.name == "checkpoints" and run.is_file()
    return run.parent.parent.parent if inside else run.parent
