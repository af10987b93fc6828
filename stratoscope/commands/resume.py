"""`stratoscope resume runs/NAME`: go on with a run, as it was begun."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from stratoscope.commands.parser import OneLineParser
from stratoscope.commands.table import TRAINING
from stratoscope.errors import Refused
from stratoscope.run.directory import RunDirectory
from stratoscope.run.masking import without_masks
from stratoscope.run.trust import check_run


def parser(command: str = "resume") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(f"stratoscope {command}", "Go on with a run that was interrupted, as if it had not been.")
    made.add_argument("run", metavar="RUN", help="Its directory, such as runs/NAME.")
    made.add_argument("--trust", action="store_true", help="Take its whole config, classes of any package too.")
    return made


def resume(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code.

    Raises:
        Refused: If that is no run, or none to be gone on with without trust.
    """
    asked = parser().parse_args(words[1:])
    again = resumed(Path(asked.run).expanduser(), asked.trust)
    from stratoscope.fit.command import run_command  # which imports torch

    return run_command(again, complete=True)


def resumed(path: Path, trusted: bool = False) -> list[str]:
    """The command line that goes on with a run.

    Args:
        path: Its directory.
        trusted: Whether its config may do whatever a config can, see `stratoscope.run.trust`.

    Raises:
        Refused: If that is no run, or none to be gone on with without trust.
    """
    directory = RunDirectory(str(path.parent), path.name)
    if not directory.begun:
        raise Refused(f"resume: there is no run {path}")
    asked = directory.record.get("asked") or {}
    if asked.get("command", "fit") not in TRAINING:
        raise Refused(f"resume: {path} is damaged: its command is {asked['command']}, not one of {', '.join(TRAINING)}")
    if not trusted:
        check_run(directory.config, path)
    checkpoint = ["--ckpt_path", asked["ckpt_path"]] if asked.get("ckpt_path") else []
    given = without_masks(directory.config)
    whole = given == directory.config  # or a key that was given has to come from elsewhere, such as the environment
    file = str(directory.config_file) if whole else yaml.safe_dump(given, sort_keys=False)
    config = ["--config", file, "--runs", str(path.parent), "--run", path.name]
    return [str(asked.get("command", "fit")), *config, *checkpoint]
